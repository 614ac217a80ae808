"""How long is waited: bounds add up, or don't, and one thread does what can't be bounded."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.settings import Settings
from infra import patience
from infra.patience import LEAST_S, Patience

SETTINGS = Settings(
    request_timeout_s=4, statement_timeout_s=30, job_timeout_s=600, connect_timeout_s=10
)


def test_the_waits_of_a_request_have_one_bound_together() -> None:
    given = patience.of_request(SETTINGS)
    assert given.left_s == 4
    given.spend(3)
    assert given.left_s == 1
    assert not given.is_spent
    given.spend(3)
    assert given.left_s == LEAST_S, "a rollback is always waited for"
    assert given.is_spent


@pytest.mark.parametrize(
    ("given", "each_s"),
    [
        (patience.of_steps(SETTINGS), 4),
        (patience.of_job(SETTINGS), 600),
        (patience.current(SETTINGS), 30),
    ],
)
def test_steps_jobs_and_rounds_have_a_bound_for_each_wait(given: Patience, each_s: float) -> None:
    for _ in range(3):
        given.spend(each_s)
        assert given.left_s == each_s
        assert not given.is_spent


def test_a_statement_that_may_take_less_than_a_request_still_does() -> None:
    assert patience.of_request(Settings(statement_timeout_s=1)).left_s == 1


def test_what_is_said_holds_within_and_no_longer() -> None:
    with patience.of(Patience(1)):
        with patience.of(Patience(2)):
            assert patience.current(SETTINGS).left_s == 2
        assert patience.current(SETTINGS).left_s == 1
    assert patience.current(SETTINGS).left_s == 30


def test_waiting_for_room_is_no_hanging() -> None:
    given = patience.of_request(SETTINGS)
    given.spend_room(9)
    assert (given.left_s, given.room_s) == (4, 1)


def test_who_waits_for_the_same_waits_in_one_thread_and_can_give_up() -> None:
    begun, hangs = threading.Semaphore(0), threading.Event()

    def work() -> str:
        begun.release()
        hangs.wait(250)
        return "done"

    for _ in range(3):
        with pytest.raises(TimeoutError):
            patience.within(0.01, "work", work)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(patience.within, 250, "work", work)
        hangs.set()
        assert waiting.result(250) == "done"
    assert begun.acquire(blocking=False)
    assert patience.within(250, "work", work) == "done", "later it is done anew"


def test_what_fails_in_its_thread_fails_for_whoever_waits() -> None:
    with pytest.raises(ZeroDivisionError):
        patience.within(250, "fails", lambda: 1 // 0)
