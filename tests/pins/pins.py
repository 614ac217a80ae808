"""The pins: what is kept under which name, and how it is looked at."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from graphql import build_client_schema, get_introspection_query, print_schema

from tests.pins import commands, replies, world
from tests.pins.world import KINDS, NOW, Headers, Place, World, stopped

Look = Callable[[World, str], str]
"""Return what is to be kept, looking at a database of the kind named."""


def pretty(value: object) -> str:
    """Write JSON so that a diff of it can be read."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


# What describes itself


def openapi(made: World, kind: str) -> str:
    """The OpenAPI document."""
    document = made.open_to_all(kind).client.get("/api/v1/openapi.json").get_json()
    document["info"]["version"] = "<version>"
    # From 3.13 on Python itself takes the indent out of docstrings.
    text = re.sub(r"\\n +", r"\\n", pretty(document))
    return re.sub("pinglet_session_[0-9a-f]{8}", "pinglet_session_<instance>", text)


def graphql(made: World, kind: str) -> str:
    """The GraphQL schema, asked for as the explorer asks."""
    place = made.open_to_all(kind)
    query = {"query": get_introspection_query()}
    answer = place.client.post("/graphql", json=query).get_json()
    return print_schema(build_client_schema(answer["data"])) + "\n"


def metrics(made: World, kind: str) -> str:
    """Names, help and types of the metrics."""
    with stopped(NOW):
        text = made.open_to_all(kind).client.get("/api/v1/metrics").text
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))


def settings(_made: World, _kind: str) -> str:
    """What can be set."""
    lines = [" | ".join(setting) for setting in world.settings()]
    return re.sub(r"sqlite:///\S*/instance/", "sqlite:///.../instance/", "\n".join(lines)) + "\n"


# The command line


def helps(made: World, _kind: str) -> str:
    """Every --help."""
    return _shown(_answers([], f"sqlite:///{made.folder}/nothing.db")) + "\n".join(_probe_usages())


def usages(made: World, kind: str) -> str:
    """Good usage and wrong."""
    place, _ = made.guarded(kind)
    told = _answers(commands.USAGES, place.url)
    place.restore()
    return _shown(told)


def _answers(asked: list[tuple[str, str]], url: str) -> Any:
    done = world.run(
        "tests.pins.commands", stdin=json.dumps(asked), database_url=url, FLASK_APP="handlers.local"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _shown(told: list[Any]) -> str:
    return replies.normal("".join(_usage(*one) for one in told))


def _usage(words: str, given: str, code: int, out: str, err: str) -> str:
    asked = "".join(f"< {line}\n" for line in given.splitlines())
    said = "".join(f"! {line}\n" for line in err.splitlines())
    return f"$ flask {words}\n{asked}{out}{said}exit code {code}\n\n"


def _probe_usages() -> Iterator[str]:
    for words in commands.PROBE_USAGES:
        done = world.run("core.probe", *words.split(), stdin="127.0.0.1\n")
        said = "".join(f"! {line}\n" for line in done.stderr.splitlines())
        yield f"$ python -m core.probe {words}\n{done.stdout}{said}exit code {done.returncode}\n"


# Tables


def tables(made: World, kind: str) -> str:
    """The tables as the migrations make them."""
    place = made.open_to_all(kind)
    return _sqlite_tables(place) if kind == "sqlite" else _postgres_tables(place)


def _sqlite_tables(place: Place) -> str:
    with closing(sqlite3.connect(place.url.removeprefix("sqlite:///"))) as connection:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY tbl_name, type DESC, name"
        )
        return "".join(f"{sql};\n\n" for (sql,) in rows)


POSTGRES = {
    "columns": """SELECT table_name, column_name, data_type, character_maximum_length, is_nullable,
        column_default, is_identity FROM information_schema.columns WHERE table_schema = 'public'
        ORDER BY table_name, ordinal_position""",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
        ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 2",
    "options": """SELECT relname, reloptions::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL ORDER BY 1""",
}


def _postgres_tables(place: Place) -> str:
    told = []
    with closing(world.postgres_connection(place.url)) as connection:
        cursor = connection.cursor()
        for what, query in POSTGRES.items():
            cursor.execute(query)
            rows = [" | ".join(str(value) for value in row) for row in cursor.fetchall()]
            told += [f"-- {what}", *rows, ""]
    return "\n".join(told)


# Exports


def exported(made: World, kind: str, form: str) -> str:
    """Every page of the export."""
    with stopped(NOW):
        return "".join(pages(made.open_to_all(kind), form))


def pages(place: Place, form: str, shown: Headers | None = None) -> Iterator[str]:
    """Walk the export."""
    where: str | None = f"/api/v1/export?format={form}"
    while where:
        answer = place.client.get(where, headers=shown)
        assert answer.status_code == 200, answer.text
        yield answer.text
        link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("Link", ""))
        where = link and link[1]


def kept_json(made: World, kind: str) -> str:
    """The JSON, an item a line."""
    return re.sub(r'(\}|\]),(?=[{["])', r"\1,\n", exported(made, kind, "json")) + "\n"


def kept_csv(made: World, kind: str) -> str:
    """The CSV as it is."""
    return exported(made, kind, "csv").replace("\r\n", "\\r\n")


# Messages, and what functions log


def messages(_made: World, _kind: str) -> str:
    """The bytes of what crosses the queues; long ones by their hash."""
    texts = [*world.batch_texts(), *world.results_texts()]
    return "".join(f"{_short(text)}\n" for text in texts)


def _short(text: str) -> str:
    if len(text) < 3_000:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:300]}... {len(text)} bytes, sha256 {digest}"


def functions(made: World, kind: str) -> str:
    """What the functions log, reply and send."""
    place = made.open_to_all(kind)
    done = world.run(
        "tests.pins.lambdas",
        stdin=json.dumps(list(events())),
        database_url=place.url,
        PINGLET_BATCH_QUEUE_URL="https://sqs.eu-central-1.amazonaws.com/123456789012/batches",
        PINGLET_RESULT_QUEUE_URL="https://sqs.eu-central-1.amazonaws.com/123456789012/results",
        PINGLET_BATCH_SIZE="2",
        PINGLET_ECHO_GAP_S="0",
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="eu-central-1",
    )
    place.restore()
    assert done.returncode == 0, done.stderr
    return normal_lines(done.stdout)


def normal_lines(text: str) -> str:
    """Return it without when it was logged, and how long it took."""
    text = re.sub(r'"time": "[^"]*"', '"time": "<time>"', text)
    text = re.sub(r'("(?:Timestamp|billed_ms)": )[0-9]+', r"\1<number>", text)
    text = re.sub(r',4,4,[0-9.e-]+,[0-9.e-]+,[0-9.e-]+,"', ',4,4,<ms>,<ms>,<ms>,"', text)
    return re.sub(
        r'"error": "Traceback.*?(\w+(?:Error|Request)[^"\\]*)"', r'"error": "... \1"', text
    )


def events() -> Iterator[tuple[str, object, str]]:
    """Yield what is called, with what, and when."""
    now = NOW.isoformat()
    later = (NOW.replace(second=59)).isoformat()
    yield "handlers.worker.schedule", {"time": "2026-01-20T12:00:00Z"}, now
    yield "handlers.worker.schedule", {"time": "2026-01-20T11:00:00Z"}, now
    yield "handlers.worker.schedule", {"time": "2026-01-21T12:00:00Z"}, now
    yield "handlers.worker.schedule", {}, now
    batch = _message(
        slot="2026-01-20T12:00:00Z",
        deadline="2026-01-20T12:00:50Z",
        targets=[[2, "127.0.0.2", "tcp", 1, None], [3, "x", "icmp", None, None], [4], 5],
    )
    yield "handlers.prober.probe", _sqs(batch), now
    yield "handlers.prober.probe", _sqs(batch), later
    yield "handlers.prober.probe", _sqs("nonsense", "{}", batch.replace('1,"s', '2,"s')), now
    yield "handlers.prober.probe", {"Records": [{"body": "x"}]}, now
    yield "handlers.prober.probe", {}, now
    yield "handlers.worker.record", _sqs(*_results()), later
    yield "handlers.worker.record", _sqs(*_results()), later
    yield "handlers.worker.record", _sqs("{", _message(slot="x", pings=[], unobserved=[])), now
    yield "handlers.worker.record", {}, now
    yield "handlers.worker.tidy", {}, "2026-01-25T00:10:00+00:00"
    yield "handlers.api.handler", _get("/api/v1/me"), now
    yield "handlers.api.handler", _get("/nothing"), now
    yield "handlers.api.handler", {"version": "2.0"}, now


def _results() -> Iterator[str]:
    slot = "2026-01-20T12:00:00Z"
    pings = [
        [1, "127.0.0.1", 4, 4, 1.5, 1, 2, "icmp", None],
        [2, "127.0.0.2", 4, 0, None, None, None, "tcp", 1],
        [99, "127.0.0.2", 4, 0, None, None, None, "tcp", 1],
        [1, "127.0.0.1", 4, 5, 1.5, 1, 2, "icmp", None],
        [1],
    ]
    unobserved = [[3, "our network"], [4, 5]]
    yield _message(slot=slot, pings=pings, unobserved=unobserved)
    yield _message(slot="2026-01-21T12:00:00Z", pings=[], unobserved=[])


def _message(**words: object) -> str:
    return json.dumps({"version": 1, **words}, separators=(",", ":"))


def _sqs(*texts: str) -> dict[str, Any]:
    records = [{"messageId": str(number), "body": text} for number, text in enumerate(texts)]
    return {"Records": records}


def _get(path: str) -> dict[str, Any]:
    context = {"http": {"method": "GET", "sourceIp": "127.0.0.1"}}
    headers = {"host": "127.0.0.1"}
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": False,
    }


ALIKE: Mapping[str, Look] = {
    "openapi.json": openapi,
    "schema.graphql": graphql,
    "metrics.txt": metrics,
    "settings.txt": settings,
    "help.txt": helps,
    "usage.txt": usages,
    "export.json": kept_json,
    "export.csv": kept_csv,
    "messages.txt": messages,
    "functions.txt": functions,
    **{
        f"replies/{area}.txt": partial(replies.table, area=area)
        for area in (*replies.AREAS, "every")
    },
}
"""What is the same on both databases."""

NO_DATABASE = {
    "messages.txt",
    "settings.txt",
    "help.txt",
    "openapi.json",
    "schema.graphql",
    "replies/pages.txt",
    "replies/every.txt",
}
"""Of these, what doesn't depend on the kind; or hardly, and would take long."""


def looks() -> Iterator[tuple[str, str, Look]]:
    """Yield each file with the kind of database it is compared on, and how."""
    for name, look in ALIKE.items():
        for kind in KINDS[:1] if name in NO_DATABASE else KINDS:
            yield name, kind, look
    for kind in KINDS:
        yield f"tables-{kind}.txt", kind, tables
