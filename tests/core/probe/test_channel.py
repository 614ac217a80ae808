"""One ICMP socket: it hears what is ours."""

from core.probe.channel import Channel
from core.probe.packets import ECHO, V4
from core.probe.system import HERE
from tests.core.probe.engine import need_root


def test_another_pingers_replies_do_not_fill_our_buffer() -> None:
    need_root()
    ours, strangers = Channel(V4, HERE.kernel_clocks), Channel(V4, HERE.kernel_clocks)
    try:
        for pinger in (strangers, ours):  # loopback keeps the order
            pinger.sock.sendto(pinger.request.write(1, 2), ("127.0.0.1", 0))
        ours.sock.settimeout(50)
        first = ours.sock.recv(2048)
        assert ECHO.unpack_from(first, 20)[3] == ours.identifier != strangers.identifier
    finally:
        ours.close()
        strangers.close()
