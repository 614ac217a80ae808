"""What functions say: one JSON object a line, and metrics in the same line.

A line that carries figures is in CloudWatch's embedded metric format: CloudWatch makes metrics of
it without being asked, so nothing waits for a call and no right is needed. aws-lambda-powertools
does the same, but its logger and metrics take as long to import as half the prober's budget allows.
Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from functools import cache
from typing import Any

NAMESPACE = "Pinglet"
TOKEN = re.compile(r"pinglet_[\w-]{43}")
UNITS = {"ms": "Milliseconds", "s": "Seconds"}  # by how a metric's name ends; else Count


def without_tokens(line: str) -> str:
    """Return a line of a log without the tokens in it: people put them into addresses, too."""
    return TOKEN.sub("pinglet_...", line)


class JsonLines(logging.Formatter):
    """One record, one line: time, level, logger, message, and what the record carries besides."""

    def __init__(self, function: str = "", end: str = "") -> None:
        """`function` is the dimension of every metric; `end` ends a line."""
        super().__init__()
        self.function = function
        self.end = end

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as a line of JSON."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = getattr(record, "aws_request_id", None)  # put there by Lambda's runtime
        if request_id:
            line["request_id"] = request_id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        metrics = getattr(record, "metrics", {})
        if metrics:
            line |= self._embedded(metrics, record.created)
        written = json.dumps(line | getattr(record, "fields", {}), default=str)
        return without_tokens(written) + self.end

    def _embedded(self, metrics: dict[str, float], created_s: float) -> dict[str, Any]:
        described = [
            {"Name": name, "Unit": UNITS.get(name.rpartition("_")[2], "Count")} for name in metrics
        ]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": described}
        embedded = {"Timestamp": int(created_s * 1000), "CloudWatchMetrics": [directive]}
        return {"_aws": embedded, "function": self.function, **metrics}


def figures(**metrics: float) -> dict[str, Any]:
    """Return `extra` for a logging call: each value becomes a metric of this function.

    >>> log.info("scheduled", extra=figures(rounds=1, due=100))
    """
    return {"metrics": metrics}


def configure(context: object) -> None:
    """Have every log record of this process written as JSON; `context` is Lambda's."""
    _configure(str(getattr(context, "function_name", "")))


@cache
def _configure(function: str) -> None:
    """Lambda's runtime has a handler on the root logger, which keeps records apart; it stays.

    Handlers of others (a test's, a terminal's) are left alone.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stdout))
        root.handlers[0].setFormatter(JsonLines(function))
    for handler in root.handlers:
        if type(handler).__module__.startswith("awslambdaric"):
            handler.setFormatter(JsonLines(function, end="\n"))  # it ends no line itself
    root.setLevel(logging.INFO)
    for talkative in ("alembic", "botocore"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
