"""What watches every test for secrets that show can see one itself."""

import gzip
import logging

import pytest
from flask import Response

from core.accounts import tokens
from tests import leaks, people

TOKEN = tokens.PREFIX + "A" * 43
SHOWN = [people.PASSWORD, TOKEN, people.password_hash(), *leaks.PLANTED.values()]


@pytest.mark.parametrize("secret", SHOWN, ids=lambda secret: secret[:12])
def test_a_reply_that_shows_a_secret_is_found(secret: str) -> None:
    assert leaks.leaks_of(Response(f"it is {secret}.", 400)) == [f"it is {secret}."]
    assert leaks.leaks_of(Response(headers={"Location": f"/?{secret}"})) == [f"/?{secret}"]
    packed = Response(gzip.compress(secret.encode()), headers={"Content-Encoding": "gzip"})
    assert leaks.leaks_of(packed) == [secret]
    assert leaks.leaks_of(Response("it is a secret")) == []


def test_only_who_makes_a_token_gets_to_see_it() -> None:
    made = f'{{"data":{{"createToken":{{"status":"CREATED","token":{{"token":"{TOKEN}"}}}}}}}}'
    assert leaks.leaks_of(Response(made)) == []
    assert leaks.leaks_of(Response(made.replace("createToken", "tokens"))) != []
    shown = Response(TOKEN, 201, {"Set-Cookie": f"pinglet_session={TOKEN}"})
    assert leaks.leaks_of(shown, "POST /api/v1/tokens") == []
    assert leaks.leaks_of(shown, "POST /api/v1/users") == [TOKEN]
    shown.status_code = 200
    assert leaks.leaks_of(shown, "POST /api/v1/tokens") == [TOKEN]


@pytest.mark.parametrize("secret", SHOWN, ids=lambda secret: secret[:12])
def test_a_line_or_a_traceback_that_shows_a_secret_is_found(secret: str) -> None:
    error = ValueError(secret)
    records = [
        logging.LogRecord("x", logging.INFO, "file", 1, "%s", (secret,), None),
        logging.LogRecord("x", logging.INFO, "file", 1, "failed", (), (ValueError, error, None)),
        logging.makeLogRecord({"msg": "failed", "fields": {"reason": secret}}),
        logging.LogRecord("x", logging.INFO, "file", 1, "nothing", (), None),
    ]
    assert len(leaks.lines_that_leak(records)) == 3
