"""ICMP and ICMPv6 as bytes: echo requests, and what comes back for them.

Sources: RFC 792 (ICMP), RFC 4443 (ICMPv6), RFC 1071 (checksum), and the Linux headers named
beside each constant that Python's socket module lacks.
"""

import socket
import struct
from array import array
from dataclasses import dataclass

ECHO = struct.Struct("!BBHHHIQ")  # type, code, checksum, identifier, sequence, index, token
CHANGING = struct.Struct("!HHHIQ")  # the same without type and code
ECHO_SIZE = ECHO.size
HEADER_SIZE = 8  # all that an ICMP error must quote of the packet behind the IP header

SOL_RAW = 255
ICMP_FILTER = 1  # linux/icmp.h: the raw socket option; a bit set is a type kept out
ICMP6_FILTER = 1  # linux/icmpv6.h
SO_ATTACH_FILTER = 26  # asm-generic/socket.h


@dataclass(frozen=True, slots=True)
class Protocol:
    """What differs between the two versions of ICMP."""

    family: int
    number: int
    request: int
    reply: int
    unreachable: int
    expired: int
    reasons: dict[tuple[int, int], str]

    @property
    def heard(self) -> tuple[int, int, int]:
        """The types worth receiving."""
        return self.reply, self.unreachable, self.expired

    def reason(self, kind: int, code: int, source: str) -> str:
        """An ICMP error in words."""
        generic = "time exceeded" if kind == self.expired else f"unreachable (code {code})"
        return f"{self.reasons.get((kind, code), generic)}, says {source}"


V4 = Protocol(
    socket.AF_INET,
    number=1,
    request=8,
    reply=0,
    unreachable=3,
    expired=11,
    reasons={
        (3, 0): "network unreachable",
        (3, 1): "host unreachable",
        (3, 2): "protocol unreachable",
        (3, 3): "port unreachable",
        (3, 9): "network prohibited",
        (3, 10): "host prohibited",
        (3, 13): "filtered",
        (11, 0): "time to live exceeded",
    },
)
V6 = Protocol(
    socket.AF_INET6,
    number=58,
    request=128,
    reply=129,
    unreachable=1,
    expired=3,
    reasons={
        (1, 0): "no route",
        (1, 1): "prohibited",
        (1, 3): "address unreachable",
        (1, 4): "port unreachable",
        (1, 5): "source address refused",
        (1, 6): "route rejected",
        (3, 0): "hop limit exceeded",
    },
)


class EchoRequest:
    """An echo request, written again and again into the same buffer."""

    def __init__(self, protocol: Protocol, identifier: int) -> None:
        self.packet = bytearray(ECHO_SIZE)
        self.packet[0] = protocol.request
        self._identifier = identifier
        self._base = (protocol.request << 8) + identifier

    def write(self, index: int, token: int) -> bytearray:
        """Return the packet for that index (32 bits; the low 16 are the sequence) and token (64).

        The checksum is the complement of the sum of all 16-bit words modulo 65535, and as
        2**16 is 1 modulo 65535, the longer fields can be added as they are (RFC 1071).
        """
        sequence = index & 0xFFFF
        checksum = 0xFFFF - (self._base + sequence + index + token) % 0xFFFF
        packet = self.packet
        CHANGING.pack_into(packet, 2, checksum, self._identifier, sequence, index, token)
        return packet


def only(types: tuple[int, ...], bits: int) -> bytes:
    """The value of ICMP_FILTER (32 bits) or ICMP6_FILTER (256) that lets in only these types.

    An array of native 32-bit words in which a set bit keeps a type out.
    """
    words = array("I", [0xFFFFFFFF] * (bits // 32))
    for kind in types:
        words[kind // 32] &= ~(1 << kind % 32) & 0xFFFFFFFF
    return words.tobytes()


def identifier_filter(protocol: Protocol, identifier: int) -> list[tuple[int, int, int, int]]:
    """A classic BPF program for a raw socket: only messages about our own identifier.

    Every raw ICMP socket receives every reply to anybody on this machine; without the filter
    another pinger's replies would fill our receive buffer. Each instruction is (code, jump if
    true, jump if false, operand), as in linux/filter.h. X is where the ICMP message begins; a
    load beyond the packet's end drops it.
    """
    if protocol is V4:
        head = [(0xB1, 0, 0, 0)]  # X = 4 * (byte 0 & 15): a raw IPv4 socket sees the IP header
        # The quoted packet's IP header has its own length, so X moves to the quoted message.
        skip = [(0x50, 0, 0, 8), (0x54, 0, 0, 15), (0x64, 0, 0, 2), (0x0C, 0, 0, 0)]
        skip += [(0x07, 0, 0, 0), (0x48, 0, 0, 8 + 4)]  # A = [X+8]; &15; <<2; +X; X = A; A = id
    else:
        head = [(0x01, 0, 0, 0)]  # X = 0: a raw IPv6 socket sees the ICMPv6 message alone
        skip = [(0x48, 0, 0, 8 + 40 + 4)]
    beyond = len(skip) + 2  # from the first jump to the comparison, from the last to the refusal
    return [
        *head,
        (0x50, 0, 0, 0),  # A = the type
        (0x15, 0, 2, protocol.reply),  # an echo reply?
        (0x48, 0, 0, 4),  # A = its identifier
        (0x05, 0, 0, beyond),  # compare it
        (0x15, 1, 0, protocol.unreachable),
        (0x15, 0, beyond, protocol.expired),
        *skip,  # A = the quoted identifier
        (0x15, 0, 1, identifier),
        (0x06, 0, 0, 0xFFFFFFFF),  # take it all
        (0x06, 0, 0, 0),  # take nothing
    ]
