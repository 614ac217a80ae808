"""The name of the command line's function of releases before 2.0."""

from handlers.functions.manage import handler

__all__ = ["handler"]
