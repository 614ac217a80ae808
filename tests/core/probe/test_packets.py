"""ICMP as bytes: requests with their checksum, filters that let in what is ours."""

import sys

import pytest

from core.probe.packets import ECHO, V4, V6, EchoRequest, Protocol, identifier_filter, only


@pytest.mark.parametrize("index", [0, 1, 0xFFFF, 0x10000, 0xFFFFFFFF])
@pytest.mark.parametrize("token", [0, 1, 0xFFFFFFFFFFFFFFFF, 0x0123456789ABCDEF])
def test_the_checksum_is_that_of_rfc_1071(index: int, token: int) -> None:
    packet = EchoRequest(V4, 0xBEEF).write(index, token)
    assert ECHO.unpack(packet)[3:] == (0xBEEF, index & 0xFFFF, index, token)
    total = sum(int.from_bytes(packet[at : at + 2], "big") for at in range(0, len(packet), 2))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    assert total == 0xFFFF


def test_the_icmp_filters_let_in_three_types() -> None:
    assert int.from_bytes(only((0, 3, 11), 32), sys.byteorder) == 0xFFFFFFFF ^ (
        1 | 1 << 3 | 1 << 11
    )
    assert len(only((1, 3, 129), 256)) == 32


def run_filter(program: list[tuple[int, int, int, int]], packet: bytes) -> bool:
    """Whether a classic BPF program takes a packet (the few instructions ours uses)."""
    accumulator = index = at = 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        try:
            match code:
                case 0xB1:
                    index = (packet[operand] & 15) * 4
                case 0x01:
                    index = operand
                case 0x50:
                    accumulator = packet[index + operand]
                case 0x48:
                    two = packet[index + operand], packet[index + operand + 1]
                    accumulator = two[0] << 8 | two[1]
                case 0x54:
                    accumulator &= operand
                case 0x64:
                    accumulator <<= operand
                case 0x0C:
                    accumulator += index
                case 0x07:
                    index = accumulator
                case 0x05:
                    at += operand
                case 0x15:
                    at += if_true if accumulator == operand else if_false
                case 0x06:
                    return operand > 0
        except IndexError:
            return False


def ipv4(message: bytes, options: int = 0) -> bytes:
    """An IPv4 packet with so many words of options."""
    return bytes([0x45 + options]) + bytes(19 + 4 * options) + message


@pytest.mark.parametrize("options", [0, 3])
def test_the_socket_filter_takes_only_what_is_about_our_identifier(options: int) -> None:
    program = identifier_filter(V4, 0x1234)
    ours, theirs = bytes([0, 0, 0, 0, 0x12, 0x34]), bytes([0, 0, 0, 0, 0x12, 0x35])
    assert run_filter(program, ipv4(ours, options))
    assert not run_filter(program, ipv4(theirs, options))
    for kind in (3, 11):
        error = bytes([kind]) + bytes(7)
        assert run_filter(program, ipv4(error + ipv4(ours, options), options))
        assert not run_filter(program, ipv4(error + ipv4(theirs, options), options))
        assert not run_filter(program, ipv4(error + ipv4(ours, options)[:-1], options))
    assert not run_filter(program, ipv4(bytes([8]) + ours[1:], options))


def test_the_socket_filter_of_ipv6_does_the_same() -> None:
    program = identifier_filter(V6, 0x1234)
    ours, theirs = bytes([129, 0, 0, 0, 0x12, 0x34]), bytes([129, 0, 0, 0, 0x12, 0x35])
    assert run_filter(program, ours)
    assert not run_filter(program, theirs)
    for kind in (1, 3):
        assert run_filter(program, bytes([kind]) + bytes(47) + ours)
        assert not run_filter(program, bytes([kind]) + bytes(47) + theirs)


def test_a_request_is_written_into_the_same_buffer_again_and_again() -> None:
    request = EchoRequest(V6, 0xBEEF)
    first = request.write(1, 2)
    assert first[0] == 128
    assert request.write(0x10003, 4) is first
    assert ECHO.unpack(first)[3:] == (0xBEEF, 3, 0x10003, 4)


@pytest.mark.parametrize(
    ("protocol", "kind", "code", "said"),
    [
        (V4, 3, 1, "host unreachable"),
        (V4, 3, 77, "unreachable (code 77)"),
        (V4, 11, 1, "time exceeded"),
        (V6, 1, 0, "no route"),
        (V6, 3, 1, "time exceeded"),
    ],
)
def test_an_icmp_error_is_told_in_words_with_who_sent_it(
    protocol: Protocol, kind: int, code: int, said: str
) -> None:
    assert protocol.reason(kind, code, "192.0.2.9") == f"{said}, says 192.0.2.9"
