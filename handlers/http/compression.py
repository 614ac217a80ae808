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
)


def register(app: Flask) -> None:
    """Compress this application's replies."""
    app.after_request(_compress)


def _compress(response: Response) -> Response:
    # The ETags are weak, so one serves both forms (RFC 9110, 8.8.1); caches must tell them apart.
    if not _is_worth_it(response):
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"] > 0:
        zipper = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW)
        response.set_data(zipper.compress(response.get_data()) + zipper.flush())
        response.headers["Content-Encoding"] = "gzip"
    return response


def _is_worth_it(response: Response) -> bool:
    if response.is_streamed or response.direct_passthrough or response.content_encoding:
        return False
    kind = response.mimetype or ""
    if kind not in TEXTS and not kind.startswith("text/"):
        return False
    return len(response.get_data()) > WORTH_IT
