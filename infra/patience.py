"""How long the work at hand waits for what it calls: the database, AWS, a resolver.

A request has one answer to give, so all its waits together have a bound. A round, a command and
a step of a long job have one for each wait.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any, TypeVar

from core.settings import Settings

T = TypeVar("T")
LEAST_S = 0.2
"""What is always waited, also when all is spent: a rollback, a connection that is at hand."""
BRIEF_S = 0.3


class Patience:
    """What is left of it. One work's own: not for two threads at once."""

    def __init__(self, each_s: float, all_s: float = inf, room_s: float = 0.0) -> None:
        """Wait `each_s` at most, and `all_s` in all; `room_s` while the server has no room."""
        self._each_s = each_s
        self._left_s = all_s
        self.room_s = room_s

    @property
    def left_s(self) -> float:
        """How long the next wait may take."""
        return max(LEAST_S, min(self._each_s, self._left_s))

    @property
    def is_spent(self) -> bool:
        """Whether nothing more should be begun."""
        return self._left_s <= 0

    def spend(self, waited_s: float) -> None:
        """Note a wait."""
        self._left_s -= waited_s

    def spend_room(self, waited_s: float) -> None:
        """Note a wait for a server that answers, if only that it has no room yet."""
        self.room_s -= waited_s

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Whatever happens within is a wait."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.spend(time.monotonic() - began)


def and_a_little(wait_s: float) -> float:
    """Return how long our own end waits: the answer that `wait_s` is over should still arrive."""
    return wait_s * 1.1 + 0.1


CURRENT: ContextVar[Patience | None] = ContextVar("patience", default=None)


def current(settings: Settings) -> Patience:
    """Return that of the work at hand; of a round or a command where nothing else was said."""
    said = CURRENT.get()
    return said or Patience(settings.statement_timeout_s, room_s=settings.connect_timeout_s)


@contextmanager
def of(patience: Patience) -> Iterator[None]:
    """Within, nothing waits longer than `patience` allows."""
    before = CURRENT.set(patience)
    try:
        yield
    finally:
        CURRENT.reset(before)


def of_request(settings: Settings) -> Patience:
    """Return the patience of a request: one bound for everything it waits for."""
    each_s = min(settings.request_timeout_s, settings.statement_timeout_s)
    return Patience(each_s, settings.request_timeout_s, settings.connect_timeout_s)


def of_steps(settings: Settings) -> Patience:
    """Return that of a request which works step by step: what hangs is noticed as soon."""
    each_s = min(settings.request_timeout_s, settings.statement_timeout_s)
    return Patience(each_s, room_s=settings.connect_timeout_s)


def of_job(settings: Settings) -> Patience:
    """Return that of a long job: migrations, a step of the night's work."""
    each_s = max(settings.job_timeout_s, settings.statement_timeout_s)
    return Patience(each_s, room_s=settings.connect_timeout_s)


def brief() -> Patience:
    """Return that of something which would rather stay undone than keep anybody waiting."""
    return Patience(BRIEF_S, BRIEF_S)


# What can't be told how long it may take


LOCK = threading.Lock()
UNDER_WAY: dict[Hashable, "Future[Any]"] = {}


def within(timeout_s: float, what: Hashable, work: Callable[[], T]) -> T:
    """Return what `work` returns. Raises TimeoutError, and what it raises.

    It is done in a thread, which a time-out doesn't end; who asks for the same meanwhile waits for
    the same, so there is one thread for each thing, however many ask.
    """
    with LOCK:
        asked: Future[T] | None = UNDER_WAY.get(what)
        if asked is None:
            asked = Future()
            threading.Thread(target=_do, args=(asked, what, work), daemon=True).start()
            UNDER_WAY[what] = asked  # once it has begun: whoever asks for it waits for its end
    return asked.result(timeout_s)


def _do(asked: "Future[T]", what: Hashable, work: Callable[[], T]) -> None:
    try:
        done = work()
    except BaseException as error:  # pylint: disable=broad-exception-caught
        # It belongs to whoever waits, in another thread.
        _forget(what)
        asked.set_exception(error)
    else:
        _forget(what)
        asked.set_result(done)


def _forget(what: Hashable) -> None:
    # Before the answer is given: who asks later asks anew.
    with LOCK:
        del UNDER_WAY[what]
