"""Turns: how much costly work one process does at once, so that no caller stops the others.

What waits holds a thread of the server, so few may wait; whoever comes after is refused at once.
A function on AWS Lambda has one request at a time: there every turn is free.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from core.errors import Busy


@dataclass(slots=True)
class Turns:
    """The turns of one process. Each number has one for all callers, and one for each."""

    at_once: int = 2
    each_at_once: int = 1
    waiting: int = 4
    each_waiting: int = 2
    patience_s: float = 2.0
    _at_work: Counter[str] = field(default_factory=Counter)
    _in_line: Counter[str] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """Work in a turn of `caller`'s. Raises Busy where none comes up in time."""
        with self._changed:
            if self._in_line or not self._is_free(caller):  # nobody passes those who wait
                self._wait(caller)
            self._at_work[caller] += 1
        try:
            yield
        finally:
            with self._changed:
                _less(self._at_work, caller)
                self._changed.notify_all()

    def _wait(self, caller: str) -> None:
        if self._in_line.total() >= self.waiting or self._in_line[caller] >= self.each_waiting:
            raise Busy
        self._in_line[caller] += 1
        try:
            if not self._changed.wait_for(lambda: self._is_free(caller), self.patience_s):
                raise Busy
        finally:
            _less(self._in_line, caller)

    def _is_free(self, caller: str) -> bool:
        has_room = self._at_work.total() < self.at_once
        return has_room and self._at_work[caller] < self.each_at_once


def _less(counted: Counter[str], caller: str) -> None:
    """Count one less; who has none is forgotten."""
    counted[caller] -= 1
    if not counted[caller]:
        del counted[caller]
