"""Witnesses to be asked."""

from pathlib import Path

import pytest

from core.rounds import gateway
from core.settings import Settings

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
NEIGHBOURS = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
DEFAULT = "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
BETTER = "wlan0\t00000000\t0100000A\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
DOWN = "eth1\t00000000\t0100000A\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as the kernel writes its routes."""
    file = tmp_path / "route"
    monkeypatch.setattr(gateway, "ROUTES", file)
    return file


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("", None),
        (NEIGHBOURS, None),
        (DOWN, None),
        (NEIGHBOURS + DEFAULT, "192.0.2.1"),
        (DEFAULT + BETTER + DOWN, "10.0.0.1"),
    ],
)
def test_the_gateway_is_read_where_there_is_one(
    routes: Path, lines: str, found: str | None
) -> None:
    routes.write_text(HEAD + lines)
    assert gateway.default_gateway() == found
    assert gateway.witnesses(Settings()) == ((found,) if found else ())


def test_a_machine_that_tells_no_routes_has_no_witness(routes: Path) -> None:
    assert not routes.exists()
    assert gateway.witnesses(Settings()) == ()


def test_witnesses_that_are_set_are_asked(routes: Path) -> None:
    routes.write_text(HEAD + DEFAULT)
    assert gateway.witnesses(Settings(witnesses=("192.0.2.9",))) == ("192.0.2.9",)
    assert gateway.witnesses(Settings(witnesses=())) == ()
