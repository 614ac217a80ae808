"""API Gateway, load balancers, function URLs: the application as a function."""

from functools import cache
from typing import Any

from handlers.functions import gateway
from handlers.http.app import create_app
from infra import logs

warm_app = cache(create_app)  # the first event builds it, the warm container keeps it


def handler(event: object, context: object) -> dict[str, Any]:
    """Answer one event of API Gateway, a load balancer or a function URL."""
    logs.configure(context)
    return gateway.answer(warm_app, event, context)
