"""Files that the pages load: packed once, and kept by browsers for a year.

An address holds a hash of what is there, so it never means anything else. A file of ours has that
of the whole folder: modules name their neighbours by relative addresses, which then lie under the
same hash. Any file that is put into the folder is one of them.
"""

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from flask import Response, abort, g, request

from handlers.http import browser, compression
from handlers.http.routes import PUBLIC, Routes
from handlers.instance import Instance

ROUTES = Routes()
FOLDER = Path(__file__).parent / "static"
FOR_A_YEAR = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"
"""Kept, too, but asked for each time, and answered by 304 where nothing has changed."""
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""Said here, since a system's own table may say something else."""
HASH_LENGTH = 16

Stamp = tuple[Path, int, int]
"""A file as it is now: when it was changed last, and how long it is."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file in memory; `packed` where that is worth it."""

    octets: bytes
    packed: bytes | None
    kind: str


def address(name: str) -> str:
    """Return where a browser finds a file of ours."""
    if "hash_of_ours" not in g:  # the folder is looked at once for a page
        g.hash_of_ours = _hash_of_ours()
    return browser.address(f"/static/{g.hash_of_ours}/{name}")


def hash_of(file: Path) -> str:
    """Return the hash of what a file holds."""
    return _hash(_stamp(file))


def answer(file: Path, asked: str, now: str) -> Response:
    """Return a file, asked for by the hash in its address; `now` that is the right one.

    Another one is that of another release: while both are running, each may be asked for the
    other's. The file as it is here will do, but nobody may keep it under that address.
    """
    stamp = _stamp(file)
    asset = _asset(stamp)
    response = Response(asset.octets, mimetype=asset.kind)
    if asset.packed is not None:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"] > 0:
            response.set_data(asset.packed)
            response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = FOR_A_YEAR if asked == now else ASKED_AGAIN
    response.set_etag(_hash(stamp), weak=True)  # the same for both forms
    response.make_conditional(request)
    return response


@ROUTES("GET", "/static/<hash_there>/<name>", may=PUBLIC)
def static(_here: Instance, hash_there: str, name: str) -> Response:
    """Return a file of ours that the pages load."""
    if name not in {file.name for file in _ours()}:
        abort(404)
    return answer(FOLDER / name, hash_there, _hash_of_ours())


@ROUTES("GET", "/static/<name>", may=PUBLIC)
def static_now(here: Instance, name: str) -> Response:
    """Return such a file by its name alone."""
    return static(here, "", name)


def _ours() -> Sequence[Path]:
    return sorted(file for file in FOLDER.iterdir() if file.is_file())


def _hash_of_ours() -> str:
    return _hash_of_all(tuple(map(_stamp, _ours())))


def _stamp(file: Path) -> Stamp:
    told = file.stat()
    return file, told.st_mtime_ns, told.st_size


@lru_cache(maxsize=4)
def _hash_of_all(files: Sequence[Stamp]) -> str:
    whole = "\n".join(f"{file.name} {_hash((file, *told))}" for file, *told in files)
    return sha256(whole.encode()).hexdigest()[:HASH_LENGTH]


@lru_cache(maxsize=64)
def _hash(stamp: Stamp) -> str:
    return sha256(stamp[0].read_bytes()).hexdigest()[:HASH_LENGTH]


@lru_cache(maxsize=64)
def _asset(stamp: Stamp) -> Asset:
    file = stamp[0]
    octets = file.read_bytes()
    guessed = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    kind = KINDS.get(file.suffix, guessed)
    is_packed = compression.is_worth_it(kind, octets)
    return Asset(octets, compression.packed(octets) if is_packed else None, kind)
