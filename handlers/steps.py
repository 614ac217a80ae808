"""Long work, step by step, each in a transaction of its own."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sqlalchemy.orm import Session

from core.errors import CoreError, CutOff, RefusedLate, Unavailable
from infra.database import Database

log = logging.getLogger("pinglet.database")
T = TypeVar("T")


def each(
    database: Database,
    steps: Iterable[Callable[[Session], T]],
    told: Callable[[Sequence[T]], str],
) -> list[T]:
    """Do the steps in their order; return what they return.

    What ends the first is raised as it is. What ends a later one becomes RefusedLate, or CutOff
    where it isn't the caller's fault, with what those before returned and what is `told` of it.
    """
    done: list[T] = []
    for step in steps:
        try:
            done.append(database.write(step))
        except Exception as error:
            if not done:
                raise
            raise _ended(error, told(done), done) from error
    return done


def _ended(error: Exception, told: str, done: Sequence[T]) -> CoreError:
    if isinstance(error, Unavailable):
        log.error("a step of long work can't be done: %s", error.logged)
        return CutOff("the database went away", told, done)
    if isinstance(error, CoreError):
        return RefusedLate(error, told, done)
    log.error("a step of long work failed", exc_info=error)
    return CutOff("Pinglet failed; its log says why", told, done)
