"""Long work, step by step, each in a transaction of its own."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sqlalchemy.orm import Session

from core.errors import CutOff, Unavailable
from infra.database import Database

T = TypeVar("T")


def each(
    database: Database,
    steps: Iterable[Callable[[Session], T]],
    told: Callable[[Sequence[T]], str],
) -> list[T]:
    """Do the steps in their order; return what they return.

    Raises Unavailable where the database can't serve the first; CutOff where it went away after
    some, with what these returned and what is `told` of it.
    """
    done: list[T] = []
    for step in steps:
        try:
            done.append(database.write(step))
        except Unavailable as error:
            if not done:
                raise
            raise CutOff(told(done), done) from error
    return done
