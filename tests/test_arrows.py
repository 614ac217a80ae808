"""The arrows of the design: who may import whom. Read from the code, nothing is run."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "core": {"core"},
    "infra": {"core", "infra"},
    "handlers": {"core", "infra", "handlers"},
}
FILES = sorted(file.relative_to(ROOT) for room in ROOMS for file in (ROOT / room).rglob("*.py"))

# Inside core, from the bottom up. What isn't named here stands beside servers and pings.
CORE_BELOW = {
    "core.errors": set(),
    "core.addresses": set(),
    "core.clock": set(),
    "core.probe": {"core.probe"},
    "core.settings": {"core.errors", "core.addresses"},
    "core.schema": {"core.errors"},
    "core.messages": {"core.errors", "core.schema"},
    "core.estimate": {"core.errors", "core.schema", "core.settings"},
    "core.models": {"core.errors", "core.schema"},
    "core.slots": {"core.schema"},
    "core.rounds": {
        *("core.errors", "core.addresses", "core.clock", "core.settings", "core.schema"),
        *("core.probe", "core.messages"),
    },
}
CORE_GROUND = {
    *("core.errors", "core.addresses", "core.clock", "core.settings", "core.schema"),
    "core.models",
    "core.slots",
}
CORE_EXTRA = {
    "core.pings": {"core.days"},
    "core.fleet": {"core.servers"},
    "core.gauges": {"core.days", "core.fleet"},
    "core.transfer": {"core.days", "core.fleet", "core.servers"},
}
NOT_FOR_CORE = {"flask", "werkzeug", "click", "boto3", "botocore", "serverless_wsgi", "pg8000"}
NOT_FOR_PROBE = NOT_FOR_CORE | {"sqlalchemy", "msgspec", "argon2"}

VIEWS = {
    f"handlers.{name}"
    for name in (
        *("contract", "rest", "auth", "people", "graphql", "dashboard"),
        *("health", "metrics", "openapi", "ping_now", "transfer"),
    )
}
BEHIND_VIEWS = {
    "handlers.auth",
    "handlers.browser",
    "handlers.shapes",
    "handlers.routes",
    "handlers.health",
    "handlers.people_calls",
    "handlers.ping_now",
    "handlers.server_calls",
}
NO_VIEWS = {
    *("handlers.worker", "handlers.prober", "handlers.manage", "handlers.demo", "handlers.queues"),
}

# Loaded when first needed, because most processes never need it, or have none (Windows).
LATE = {
    "core/probe/__init__.py": {"core.probe.aloop"},
    "core/probe/tcp.py": {"resource"},
    "core/rounds.py": {"asyncio"},
    "handlers/manage.py": {"rich"},
    "handlers/routes.py": {"a name made up while running"},
    "infra/aws.py": {"boto3", "botocore"},
    "infra/migrations/__init__.py": {"alembic"},
}


class Import(NamedTuple):
    """One module that a file imports; `late` if a function does it, not the file itself."""

    module: str
    late: bool


def imports(source: str, file: Path) -> Iterator[Import]:
    """Yield what `source` imports; `from core import pings` is core.pings."""
    tree = ast.parse(source)
    in_functions = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        late = id(node) in in_functions
        if isinstance(node, ast.Import):
            yield from (Import(name.name, late) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively: nobody can grep for that"
            assert node.module is not None
            for name in node.names:
                yield Import(_which(node.module, name.name), late)
        elif _imports_by_name(node):
            yield Import("a name made up while running", late)


def _which(package: str, name: str) -> str:
    folder = ROOT / package.replace(".", "/")
    is_module = (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()
    return f"{package}.{name}" if is_module or package in ROOMS else package


def _imports_by_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "__import__",
        "import_module",
        "importlib.import_module",
        "import_string",
    )


def module_of(file: Path) -> str:
    """Return a file's module; for a file of core.probe that is core.probe, which is one."""
    name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    return "core.probe" if name.startswith("core.probe") else name


def complaints(source: str, file: Path) -> list[str]:
    """Return what is wrong with the imports of a file that holds `source`."""
    found = list(imports(source, file))
    ours = {each.module for each in found if each.module.split(".")[0] in (*ROOMS, "tests")}
    told = [f"{file}: {module} is above it" for module in sorted(ours - _allowed(file, ours))]
    theirs = {each.module.split(".")[0] for each in found}
    told += [f"{file}: knows {module}" for module in sorted(theirs & _unknown_to(file))]
    granted = LATE.get(file.as_posix(), set())
    for each in found:
        if each.late and not granted & {each.module, each.module.split(".")[0]}:
            told.append(f"{file}: a function imports {each.module}")
    return told


def _allowed(file: Path, wanted: set[str]) -> set[str]:
    module, room = module_of(file), file.parts[0]
    if room == "core":
        below = CORE_BELOW.get(module, CORE_GROUND | CORE_EXTRA.get(module, set()))
        return {name for name in wanted if _simple(name) in below or name == "core"}
    allowed = {name for name in wanted if name.split(".")[0] in ROOMS[room]}
    if module in NO_VIEWS:
        allowed -= VIEWS | {"handlers.api"}
    if module in VIEWS | BEHIND_VIEWS:
        allowed -= (VIEWS | {"handlers.api"}) - BEHIND_VIEWS
    return allowed


def _simple(module: str) -> str:
    return "core.probe" if module.startswith("core.probe.") else module


def _unknown_to(file: Path) -> set[str]:
    if module_of(file) == "core.probe":
        return NOT_FOR_PROBE
    return NOT_FOR_CORE if file.parts[0] == "core" else set()


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_follow_the_arrows(file: Path) -> None:
    assert complaints((ROOT / file).read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/pings.py", "from infra.database import Database"),
        ("core/pings.py", "import handlers.api"),
        ("core/pings.py", "from core import servers"),
        ("core/pings.py", "import core.servers as s"),
        ("core/servers.py", "from core.pings import record"),
        ("core/accounts.py", "from core import servers"),
        ("core/servers.py", "from core import rounds"),
        ("core/days.py", "from core import pings"),
        ("core/errors.py", "from core.settings import Settings"),
        ("core/addresses.py", "from core.errors import CoreError"),
        ("core/settings.py", "from core.schema import Probe"),
        ("core/schema.py", "from core.models import Server"),
        ("core/models.py", "from core.servers import create"),
        ("core/rounds.py", "from core.models import Ping"),
        ("core/rounds.py", "from core import servers"),
        ("core/probe/tcp.py", "from core.settings import Settings"),
        ("core/probe/tcp.py", "from core.rounds import pace"),
        ("core/probe/tcp.py", "from core import addresses"),
        ("core/probe/tcp.py", "import sqlalchemy"),
        ("core/servers.py", "from flask import request"),
        ("core/servers.py", "import boto3.session"),
        ("core/servers.py", "import serverless_wsgi"),
        ("core/new.py", "from core import pings"),
        ("infra/database.py", "from handlers import worker"),
        ("infra/migrations/env.py", "import handlers"),
        ("handlers/worker.py", "from handlers import auth"),
        ("handlers/worker.py", "from handlers.contract import register"),
        ("handlers/prober.py", "from handlers import rest"),
        ("handlers/manage.py", "from handlers.api import create_app"),
        ("handlers/contract.py", "from handlers import rest"),
        ("handlers/people.py", "from handlers import contract"),
        ("handlers/rest.py", "from handlers.api import MAX_BODY"),
        ("handlers/auth.py", "from handlers import people"),
        ("handlers/api.py", "from tests.conftest import settings"),
        ("core/servers.py", "def f():\n    import json"),
        ("core/servers.py", "class A:\n    async def f(self):\n        from core import schema"),
        ("handlers/api.py", "def f():\n    import boto3"),
        ("infra/database.py", "def f():\n    from alembic import command"),
        ("core/servers.py", "f = lambda: __import__('flask')"),
        ("handlers/api.py", "def f():\n    importlib.import_module('x')"),
    ],
)
def test_an_arrow_the_wrong_way_is_seen(path: str, source: str) -> None:
    assert len(complaints(source, Path(path))) >= 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/settings.py", "from core.errors import SettingsError"),
        ("core/settings.py", "from core.addresses import AddressRules"),
        ("core/servers.py", "from core import models, schema, settings, errors, clock"),
        ("core/pings.py", "from core import days"),
        ("core/rounds.py", "from core import probe\nfrom core.probe import Echo"),
        ("core/probe/tcp.py", "from core.probe.signature import Echo\nimport socket"),
        ("infra/database.py", "from core.errors import CoreError\nfrom infra import migrations"),
        ("infra/aws.py", "def queue():\n    import boto3"),
        ("handlers/local.py", "from handlers import api, manage, worker"),
        ("handlers/contract.py", "from handlers import auth\nfrom infra.database import Database"),
    ],
)
def test_an_arrow_the_right_way_is_let_through(path: str, source: str) -> None:
    assert complaints(source, Path(path)) == []


def test_every_room_is_looked_at() -> None:
    assert {file.parts[0] for file in FILES} == set(ROOMS)
    assert Path("core/probe/tcp.py") in FILES
