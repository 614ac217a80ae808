"""What crosses the queues: a Batch on its way to a prober, Results on their way to the recorder.

Both travel as compact JSON that carries its version. Each is read strictly, once, at the border.
A message that can't be read is a WrongRequest as a whole; a single target or ping in it that can't
be read is set aside with its reason (`refused`), so that it doesn't hurt its neighbours.

A later version of Pinglet may only add to the end of a target's or ping's list, or raise VERSION
and read both: during a deploy messages of the old release are still on their way.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Self, TypeVar

from core.errors import WrongRequest
from core.schema import Ping, Probe, Target, Unobserved, iso, moment, read_json

VERSION = 1
MESSAGE_BYTES = 200_000
"""A message is never longer. SQS takes 262,144 bytes at least:
docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
REASON_LENGTH = 300  # characters; what is longer is cut
ID_LIMIT = 2**63  # a server's id fits a signed 64-bit column
ECHO_LIMIT = 1000  # more echoes in one ping are nobody's measurement
MS_LIMIT = 3_600_000.0  # an hour: no time-out lets an echo take longer

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Batch:
    """The slice of a round that one prober takes; pointless after `deadline`."""

    slot: datetime
    deadline: datetime
    targets: Sequence[Target]
    refused: Sequence[str] = ()  # why single targets of it couldn't be read; never sent

    def text(self) -> str:
        """Write it as a message."""
        return _write(
            slot=iso(self.slot),
            deadline=iso(self.deadline),
            targets=[astuple(target) for target in self.targets],
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a message. Raises WrongRequest."""
        body = _envelope(text, {"slot", "deadline", "targets"})
        targets, refused = _each(body["targets"], _target)
        return cls(_slot(body["slot"]), _moment(body, "deadline"), targets, refused)


@dataclass(frozen=True, slots=True)
class Results:
    """What probers found in a slot: pings, and why the other targets have none."""

    slot: datetime
    pings: Sequence[Ping]
    unobserved: Sequence[Unobserved]
    refused: Sequence[str] = ()  # why single entries of it couldn't be read; never sent

    def texts(self) -> Iterator[str]:
        """Write it as messages, as many as its length needs; at least one."""
        text = _write(
            slot=iso(self.slot),
            pings=[astuple(ping) for ping in self.pings],
            unobserved=[(lost.server_id, lost.reason[:REASON_LENGTH]) for lost in self.unobserved],
        )
        if len(text) <= MESSAGE_BYTES:  # the JSON is ASCII: its characters are its bytes
            yield text
            return
        for part in self._halves():
            yield from part.texts()

    def _halves(self) -> "Iterator[Results]":
        pings, lost = len(self.pings) // 2, len(self.unobserved) // 2
        yield Results(self.slot, self.pings[:pings], self.unobserved[:lost])
        yield Results(self.slot, self.pings[pings:], self.unobserved[lost:])

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a message. Raises WrongRequest."""
        body = _envelope(text, {"slot", "pings", "unobserved"})
        pings, refused_pings = _each(body["pings"], _ping)
        unobserved, refused = _each(body["unobserved"], _unobserved)
        return cls(_slot(body["slot"]), pings, unobserved, [*refused_pings, *refused])


def _write(**fields: object) -> str:
    return json.dumps({"version": VERSION, **fields}, separators=(",", ":"), allow_nan=False)


def _envelope(text: str, keys: set[str]) -> dict[str, Any]:
    try:
        body = read_json(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise WrongRequest("the message holds a lone surrogate") from None
    if not isinstance(body, dict):
        raise WrongRequest("a message is a JSON object")
    if body.get("version") is True or body.get("version") != VERSION:
        raise WrongRequest(f"the message's version is not {VERSION}, which this release reads")
    if set(body) != keys | {"version"}:
        raise WrongRequest(f"a message of this kind holds {', '.join(sorted(keys))}")
    return body


def _slot(value: object) -> datetime:
    slot = _moment({"slot": value}, "slot")
    if slot.second or slot.microsecond:
        raise WrongRequest("a slot begins with its minute")
    return slot


def _moment(body: dict[str, Any], field: str) -> datetime:
    if not isinstance(body[field], str):
        raise WrongRequest(f"{field} is a time such as 2018-01-02T07:01:00Z")
    return moment(body[field], field)


def _each(
    values: object, read: Callable[[Sequence[Any]], Read]
) -> tuple[list[Read], Sequence[str]]:
    """Read a list's entries one by one; return what could be read, and why the rest couldn't."""
    if not isinstance(values, list):
        raise WrongRequest("a message's entries are lists")
    found, refused = [], []
    for value in values:
        try:
            found.append(read(value if isinstance(value, list) else ()))
        except WrongRequest as error:
            refused.append(f"{str(value)[:REASON_LENGTH]!r}: {error}")
    return found, refused


def _target(value: Sequence[Any]) -> Target:
    match value:
        case [server_id, ip, probe, port, last_port]:
            return Target(
                _whole(server_id, 1, ID_LIMIT),
                _address(ip),
                _probe(probe, list(Probe)),
                _port(port),
                _port(last_port),
            )
    raise WrongRequest("a target is [id, ip, probe, port, last port]")


def _ping(value: Sequence[Any]) -> Ping:
    match value:
        case [server_id, ip, sent, received, mean, best, worst, probe, port]:
            echoes = _whole(sent, 1, ECHO_LIMIT + 1)
            return Ping(
                _whole(server_id, 1, ID_LIMIT),
                _address(ip),
                echoes,
                _whole(received, 0, echoes + 1),
                _time_ms(mean),
                _time_ms(best),
                _time_ms(worst),
                _probe(probe, [Probe.ICMP, Probe.TCP]),
                _port(port),
            )
    raise WrongRequest("a ping is [id, ip, sent, received, mean, best, worst, probe, port]")


def _unobserved(value: Sequence[Any]) -> Unobserved:
    match value:
        case [server_id, str() as reason]:
            return Unobserved(_whole(server_id, 1, ID_LIMIT), reason[:REASON_LENGTH])
    raise WrongRequest("an unobserved target is [id, reason]")


def _whole(value: object, low: int, end: int) -> int:
    # bool is an int in Python, but true is no number.
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < end:
        raise WrongRequest(f"expected a whole number from {low} to {end - 1}")
    return value


def _time_ms(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MS_LIMIT:
        raise WrongRequest(f"a time is a number of milliseconds from 0 to {MS_LIMIT:g}")
    return float(value)


def _address(value: object) -> str:
    if not isinstance(value, str) or not _is_literal(value):
        raise WrongRequest("an address is an IPv4 or IPv6 literal")
    return value


def _is_literal(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _probe(value: object, known: Sequence[Probe]) -> Probe:
    if not isinstance(value, str) or value not in known:
        raise WrongRequest(f"probe is one of {', '.join(known)}")
    return Probe(value)


def _port(value: object) -> int | None:
    return None if value is None else _whole(value, 1, 65_536)
