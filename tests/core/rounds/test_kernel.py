"""What the kernel says of its clocks."""

import time
from pathlib import Path

import pytest

from core.rounds import kernel
from core.rounds.kernel import look


def test_one_start_of_the_machine_has_one_name_and_its_clock_only_goes_on() -> None:
    before, now, after = time.monotonic(), look(), look()
    assert now.boot_id == after.boot_id != ""
    assert before <= now.uptime_s <= after.uptime_s
    assert now.synchronised == after.synchronised


def test_where_the_machine_does_not_name_its_start_nobody_knows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernel, "BOOT_ID", tmp_path / "none")
    assert look().boot_id == ""


def test_a_library_that_can_not_ask_the_kernel_knows_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel.ctypes, "CDLL", lambda _name: object())
    assert not look().synchronised
