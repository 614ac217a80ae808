"""Literals are read as the standard library reads them, and nothing is ever looked up."""

import socket
from ipaddress import ip_address

import pytest

from core.probe.addresses import sockaddr_of, understand

LITERALS = """
1.2.3.4  1.2.3  1.2.3.4.5  01.2.3.4  1.2.3.256  1.2.3.-4  1.2.3.4/32  ::1  ::g  1::2::3  [::1]
::1/64  ::ffff:1.2.3.4  fe80::1%  1:2:3:4:5:6:7:8  1:2:3:4:5:6:7:8:9  0:0::1  FE80::A  \u0663.2.3.4
"""


@pytest.mark.parametrize("literal", LITERALS.split())
def test_literals_are_read_as_the_ipaddress_module_reads_them(literal: str) -> None:
    try:
        wanted = ip_address(literal)
    except ValueError:
        with pytest.raises(ValueError, match="no"):
            understand(literal)
        assert sockaddr_of(literal) is None
        return
    assert ip_address(understand(literal).address) == wanted
    assert (sockaddr_of(literal) is not None) == (wanted.version == 4)


def test_a_scope_is_a_number_or_an_interface() -> None:
    name = socket.if_indextoname(1)
    assert understand(f"fe80::1%{name}").sockaddr(80) == ("fe80::1", 80, 0, 1)
    assert understand("fe80::1%7").sockaddr(80) == ("fe80::1", 80, 0, 7)
    with pytest.raises(ValueError, match="interface"):
        understand("fe80::1%nosuchinterface")
