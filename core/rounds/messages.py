"""What crosses the queues: a Batch on its way to a prober, Results on their way to the recorder.

Both travel as compact JSON that carries its version. Each is read once, at the border. A message
that can't be read is a WrongRequest as a whole; a single target or ping in it that can't be read is
set aside with its reason (`refused`), so that it doesn't hurt its neighbours.

During a deploy messages of the old release are read by the new one, and the other way round. So a
later version may only add to the end of a target's or ping's list, or new keys to a message: what a
reader doesn't know it ignores, what is missing at a list's end takes its default. v0.1.0 ignored
nothing: it refuses a longer list, and a message with another key. Anything else raises VERSION.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Literal, Self, TypeVar

from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder
from msgspec.structs import astuple, replace

from core.checks.records import Ping, Probe, Target, Unobserved
from core.errors import WrongRequest
from core.reading import iso, moment, read_json
from core.refusals import refusal
from core.slots import is_slot

VERSION = 1
MESSAGE_BYTES = 200_000
"""A message is never longer. SQS takes 262,144 bytes at least:
docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
FIRST_LENGTHS: dict[type[Struct], int] = {Target: 5, Ping: 9, Unobserved: 2}
"""So many items v0.1.0 writes and reads."""
DETAIL_LENGTH = 300  # characters; what is longer is cut

Body = TypeVar("Body")
Read = TypeVar("Read", bound=Struct)
Found = TypeVar("Found", Ping, Unobserved)


class Batch(Struct, frozen=True):
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
            targets=[_written(target) for target in self.targets],
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a message. Raises WrongRequest."""
        body = _decode(_BATCH, text)
        targets, refused = _each(body.targets, _target)
        return cls(_slot(body.slot), moment(body.deadline, "deadline"), targets, refused)


class Results(Struct, frozen=True):
    """What probers found in a slot: pings, and why the other targets have none."""

    slot: datetime
    pings: Sequence[Ping]
    unobserved: Sequence[Unobserved]
    refused: Sequence[str] = ()  # why single entries of it couldn't be read; never sent
    heard: Mapping[str, bool] = {}
    """Whether each witness that was asked answered."""

    def texts(self) -> Iterator[str]:
        """Write it as messages, as many as its length needs; at least one."""
        # An older release reads no further key: where nobody was asked there is none.
        heard = {"heard": self.heard} if self.heard else {}
        text = _write(
            **heard,
            slot=iso(self.slot),
            pings=[_written(_cut(ping)) for ping in self.pings],
            unobserved=[_written(_cut(lost)) for lost in self.unobserved],
        )
        if len(text) <= MESSAGE_BYTES:  # the JSON is ASCII: its characters are its bytes
            yield text
            return
        for part in self._halves():
            yield from part.texts()

    def _halves(self) -> "Iterator[Results]":
        pings, lost = len(self.pings) // 2, len(self.unobserved) // 2
        for half in (slice(pings), slice(lost)), (slice(pings, None), slice(lost, None)):
            yield replace(self, pings=self.pings[half[0]], unobserved=self.unobserved[half[1]])

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a message. Raises WrongRequest."""
        body = _decode(_RESULTS, text)
        pings, refused_pings = _each(body.pings, _ping)
        unobserved, refused = _each(body.unobserved, _unobserved)
        for ip in body.heard:
            _check_address(ip)
        every = [*refused_pings, *refused]
        return cls(_slot(body.slot), pings, unobserved, every, body.heard)


class _Envelope(Struct):
    """What every message holds. Its entries stay as they came, to be read one by one."""

    version: Literal[1]
    slot: str


class _SentBatch(_Envelope):
    deadline: str
    targets: list[Raw]


class _SentResults(_Envelope):
    pings: list[Raw]
    unobserved: list[Raw]
    heard: dict[str, bool] = {}


_BATCH, _RESULTS = Decoder(_SentBatch), Decoder(_SentResults)
_TARGET, _PING, _UNOBSERVED = Decoder(Target), Decoder(Ping), Decoder(Unobserved)


def _write(**fields: object) -> str:
    # Not by msgspec: it leaves text as UTF-8, and half of this is counted in characters.
    return json.dumps({"version": VERSION, **fields}, separators=(",", ":"), allow_nan=False)


def _decode(decoder: Decoder[Body], text: str) -> Body:
    """Read an envelope: strict JSON, only that of a key that appears twice the last value counts.

    No two readers can disagree over that: each queue has one, and only our writers.
    """
    try:
        return decoder.decode(text)
    except (DecodeError, UnicodeEncodeError, RecursionError) as error:
        octets = text.encode("utf-8", "surrogatepass")
        why = _why(error, decoder.type, octets, "the message")
        raise WrongRequest(f"not a message of version {VERSION}: {why}") from None


def _why(error: Exception, shape: type, octets: bytes, what: str) -> WrongRequest:
    """Return in our words why `octets` couldn't be decoded."""
    try:
        value = read_json(octets)
    except WrongRequest as reason:
        return reason
    if not isinstance(error, ValidationError):
        return WrongRequest("not valid JSON")
    return refusal(error, shape, value, what)


def _slot(text: str) -> datetime:
    slot = moment(text, "slot")
    if not is_slot(slot):
        raise WrongRequest("slot must be a whole minute", got=text)
    return slot


def _each(entries: Sequence[Raw], read: Callable[[Raw], Read]) -> tuple[list[Read], list[str]]:
    """Read entries one by one; return what could be read, and why the rest couldn't."""
    found, refused = [], []
    for entry in entries:
        try:
            found.append(read(entry))
        except WrongRequest as error:
            refused.append(f"{bytes(entry).decode()[:DETAIL_LENGTH]!r}: {error}")
    return found, refused


def _entry(decoder: Decoder[Body], entry: Raw) -> Body:
    try:
        return decoder.decode(entry)
    except ValidationError as error:
        raise _why(error, decoder.type, bytes(entry), "the entry") from None


def _target(entry: Raw) -> Target:
    target = _entry(_TARGET, entry)
    _check_address(target.ip)
    return target


def _ping(entry: Raw) -> Ping:
    ping = _entry(_PING, entry)
    _check_address(ping.ip)
    if ping.received > ping.sent:
        raise WrongRequest(f"received must be at most {ping.sent}", got=ping.received)
    if ping.probe is Probe.AUTO:
        raise WrongRequest("probe must be icmp or tcp", got=ping.probe)
    return _cut(ping)


def _unobserved(entry: Raw) -> Unobserved:
    return _cut(_entry(_UNOBSERVED, entry))


def _cut(found: Found) -> Found:
    if len(found.detail) <= DETAIL_LENGTH:
        return found
    return replace(found, detail=found.detail[:DETAIL_LENGTH])


def _written(entry: Target | Ping | Unobserved) -> tuple[object, ...]:
    """An entry as its list: no longer than version 1 has always known it, where that says all."""
    values = astuple(entry)
    grown = len(values) - FIRST_LENGTHS[type(entry)]
    return values if values[-grown:] != entry.__struct_defaults__[-grown:] else values[:-grown]


def _check_address(ip: str) -> None:
    try:
        ip_address(ip)
    except ValueError:
        raise WrongRequest("ip must be an IPv4 or IPv6 address", got=ip) from None
