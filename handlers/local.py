"""FLASK_APP of releases before 2.0."""

from handlers.cli.app import create_app

__all__ = ["create_app"]
