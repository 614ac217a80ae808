"""The one loop under asyncio. Apart from loop.py, for asyncio takes long to load."""

import asyncio
from collections.abc import Callable

from core.probe.loop import BURST, NAP_S, Sweep


class _Turner:
    """Turns a sweep from within an asyncio loop: one reader, one timer, no task per anything."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self.over: asyncio.Future[None] = self._loop.create_future()

    def news(self) -> None:
        """Something came: let more of it gather, if that does no harm."""
        if self._sweep.unhurried and self._sweep.in_flight > BURST:
            self._loop.remove_reader(self._sweep.poller.fileno())
            self._set_timer(NAP_S, self._after_nap)
        else:
            self.turn()

    def _after_nap(self) -> None:
        self._loop.add_reader(self._sweep.poller.fileno(), self.news)
        self.turn()

    def _set_timer(self, wait_s: float, act: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait_s, act)

    def turn(self) -> None:
        """Do what can be done now, and be called again when there's more."""
        if self.over.done():
            return
        try:
            wait_s = self._sweep.turn(0.0)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self.over.set_exception(error)  # it belongs to whoever awaits the sweep
            return
        if wait_s is None:
            self.over.set_result(None)
        else:
            self._set_timer(min(wait_s, 60.0), self.turn)

    def stop(self) -> None:
        """Turn no more."""
        if self._timer is not None:
            self._timer.cancel()


async def drive_async(sweep: Sweep) -> None:
    """The same under a running asyncio loop, a few events a turn, so that others get theirs."""
    if sweep.poller.fileno() < 0:
        await _drive_in_thread(sweep)
        return
    sweep.events_a_turn = 64
    turner, loop = _Turner(sweep), asyncio.get_running_loop()
    with sweep:
        fd = sweep.poller.fileno()
        loop.add_reader(fd, turner.news)
        try:
            turner.turn()
            await turner.over
        finally:
            loop.remove_reader(fd)
            turner.stop()


async def _drive_in_thread(sweep: Sweep) -> None:
    """Where asyncio can't watch the poller: a thread, told to stop when we are cancelled."""
    stop = False

    def run() -> None:
        with sweep:
            wait_s: float | None = 0.0
            while wait_s is not None and not stop:
                wait_s = sweep.turn(min(wait_s, 0.02))

    thread = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        stop = True
        await thread  # at most one short wait: its sockets are closed when we go on
        raise
