"""Replies leave compressed where the caller takes them so and it is worth it."""

import zlib

from flask import Flask, Response, request

WORTH_IT = 2_000  # bytes: below, headers and CPU cost more than the body saves
GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib's word for "with gzip's header" (zlib.h, deflateInit2)
LEVEL = 5
TEXTS = (
    "application/json",
    "application/problem+json",
    "application/graphql-response+json",
    "application/openmetrics-text",
    "image/svg+xml",
)


def register(app: Flask) -> None:
    """Compress this application's replies."""
    app.after_request(_compress)


def packed(octets: bytes) -> bytes:
    """Return them as gzip."""
    zipper = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    return zipper.compress(octets) + zipper.flush()


def is_worth_it(kind: str, octets: bytes) -> bool:
    """Whether something of this kind (a media type) is much shorter as gzip."""
    return (kind in TEXTS or kind.startswith("text/")) and len(octets) > WORTH_IT


def _compress(response: Response) -> Response:
    # The ETags are weak, so one serves both forms (RFC 9110, 8.8.1); caches must tell them apart.
    if response.is_streamed or response.direct_passthrough or response.content_encoding:
        return response
    if not is_worth_it(response.mimetype or "", response.get_data()):
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"] > 0:
        response.set_data(packed(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
    return response
