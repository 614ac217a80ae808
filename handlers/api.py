"""The name of the API function, and of the application, of releases before 2.0."""

from handlers.functions.api import handler
from handlers.http.app import create_app

__all__ = ["create_app", "handler"]
