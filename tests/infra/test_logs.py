"""Logs of functions: a line of JSON each, with metrics that CloudWatch understands."""

import json
import logging
from typing import Any

from infra import logs
from infra.logs import JsonLines


def line_of(*message: object, extra: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return what a logging call is written as."""
    record = logging.getLogger("pinglet.test").makeRecord(
        "pinglet.test", logging.INFO, "file", 1, str(message[0]), message[1:], None, extra=extra
    )
    record.__dict__.update(more)
    written = JsonLines("pinglet-prod-record").format(record)
    assert "\n" not in written
    line: dict[str, Any] = json.loads(written)
    return line


def test_a_record_is_one_line_of_json() -> None:
    line = line_of("a %s\nof two lines", "message")
    assert line["message"] == "a message\nof two lines"
    assert (line["level"], line["logger"]) == ("INFO", "pinglet.test")


def test_the_id_of_the_request_stands_in_the_line() -> None:
    assert line_of("x", aws_request_id="1-2-3")["request_id"] == "1-2-3"


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("of this value")
    except ValueError as error:
        line = line_of("failed", exc_info=(ValueError, error, error.__traceback__))
    assert "ValueError: of this value" in line["error"]


def test_figures_are_metrics_in_cloudwatchs_embedded_format() -> None:
    line = line_of("recorded", extra=logs.figures(observed=7, lag_s=3.5, billed_ms=12))
    assert (line["observed"], line["lag_s"], line["billed_ms"]) == (7, 3.5, 12)
    assert line["function"] == "pinglet-prod-record"
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["function"]]
    assert directive["Namespace"] == "Pinglet"
    assert directive["Metrics"] == [
        {"Name": "observed", "Unit": "Count"},
        {"Name": "lag_s", "Unit": "Seconds"},
        {"Name": "billed_ms", "Unit": "Milliseconds"},
    ]
    assert isinstance(line["_aws"]["Timestamp"], int)


def test_what_json_does_not_know_is_written_as_text() -> None:
    assert line_of("x", extra={"fields": {"what": {1}}})["what"] == "{1}"
