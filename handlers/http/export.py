"""Export and import, in pages that any instance takes. Loaded at first use."""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Response, request

from core.clock import utc_now
from core.export import give as export_give
from core.export import take as export_take
from core.export import take_list
from core.export.records import Exported, ExportQuery, Imported, ImportQuery
from core.reading import read_json
from core.servers import lists
from handlers import steps
from handlers.http import browser, routes
from handlers.http.routes import CSV
from handlers.instance import Instance


def give(here: Instance, wanted: ExportQuery) -> Response:
    """Export servers, schedules and pings, a page at a time."""
    is_csv = wanted.format == "csv" if wanted.format else _accepts_csv()
    response, after = (_plain_page if is_csv else _page)(here, wanted.after)
    response.vary.add("Accept")
    if after:
        query = urlencode({"format": "csv" if is_csv else "json", "after": after})
        response.headers["Link"] = f'<{browser.address("/api/v1/export")}?{query}>; rel="next"'
    return response


def _accepts_csv() -> bool:
    return request.accept_mimetypes.best_match([routes.JSON, CSV], routes.JSON) == CSV


def _page(here: Instance, after: str) -> tuple[Response, str | None]:
    with here.database.reading() as session:
        page = export_give.page(session, after)
    return routes.reply(page), page.next


def _plain_page(here: Instance, after: str) -> tuple[Response, str | None]:
    """The servers alone, for spreadsheets."""
    with here.database.reading() as session:
        octets, further = export_give.plain_page(session, after, utc_now())
    response = Response(octets, mimetype=CSV)
    response.headers["Content-Disposition"] = 'attachment; filename="pinglet.csv"'
    return response, further


def take(here: Instance, wanted: ImportQuery) -> Imported:
    """Import a page of an export; what is here already stays as it is."""
    body = request.get_data()
    is_csv = wanted.format == "csv" if wanted.format else request.mimetype == CSV
    # A page of JSON with its days, whatever it was called: as a list it would lose them.
    begins = body.lstrip()[:1]
    if begins == b"[" or (is_csv and begins != b"{"):
        return _take_list(here, body)
    return take_page(here, Exported.of(read_json(body)))


def take_page(here: Instance, page: Exported) -> Imported:
    """Check a page as a whole, then add what is new of it step by step."""
    with here.database.reading() as session:
        parts = export_take.steps(session, page, here.settings, utc_now())
    return _sum(steps.each(here.database, parts, _told))


def _sum(done: Sequence[Imported]) -> Imported:
    return sum(done, Imported(servers=0, schedules=0, pings=0))


def _told(done: Sequence[Imported]) -> str:
    so_far = _sum(done)
    figures = f"{so_far.servers:,}, their pings: {so_far.pings:,}"
    return f"servers imported so far: {figures}; what is here stays when all is sent again"


def _take_list(here: Instance, body: bytes) -> Imported:
    take_list.refuse_pings(body)
    entries = lists.read(body)
    with here.database.reading() as session:
        parts = take_list.steps(session, entries, here.settings, utc_now(), skip=True)
    return _sum_of_list(steps.each(here.database, parts, lambda done: _told([_sum_of_list(done)])))


def _sum_of_list(done: Sequence[Counter[str]]) -> Imported:
    new = sum(outcomes["CREATED"] for outcomes in done)
    return Imported(servers=new, schedules=new, pings=0)
