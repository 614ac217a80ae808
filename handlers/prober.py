"""The name of the prober's function of releases before 2.0."""

from handlers.functions.probe import probe

__all__ = ["probe"]
