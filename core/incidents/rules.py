"""Rules: when bad is bad enough, for whom, and how grave it is. Pure."""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, field
from msgspec.structs import force_setattr

from core.errors import WrongRequest
from core.incidents.judge import MOST
from core.incidents.when import Measure, OneKind, When, measure
from core.reading import NAME_LENGTH, Record, Request, kept_name, plain_text
from core.servers.criteria import Criteria

CLEAR = 2
"""Slots in a row that aren't bad and resolve an incident, where nothing else is said."""
AT_ONCE = (
    "with down 1 a single slot without an answer opens an incident, also soon after its resolve: "
    "a server that loses one now and then opens it again and again"
)


class Severity(StrEnum):
    """How grave an incident is."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Say(Request, frozen=True):
    """Whom to tell of an incident, and after how many minutes."""

    channel: Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
    after_m: Annotated[int, Meta(ge=0, le=10_080)] = 0


class Rule(Request, frozen=True, kw_only=True):
    """What opens an incident, and `clear` slots in a row that aren't bad resolve it."""

    name: Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
    whom: Criteria = field(default=Criteria(), name="for")
    when: OneKind
    clear: Annotated[int, Meta(ge=1, le=MOST)] | None = None
    say: Annotated[tuple[Say, ...], Meta(max_length=20)] = ()
    remind_m: Annotated[int, Meta(ge=1, le=43_200)] | None = 240
    severity: Severity = Severity.CRITICAL

    def __post_init__(self) -> None:
        """Say what wasn't said. Raises WrongRequest for what would open by old bad slots alone."""
        force_setattr(self, "name", _kept(self.name))
        least = self.when.least_clear
        if self.clear is None:
            force_setattr(self, "clear", max(CLEAR, least))
        elif self.clear < least:
            raise WrongRequest(
                f"clear must be at least {least}: with down {self.when.down} of {self.when.span} "
                "and fewer good slots, the bad ones from before would open the incident again",
                "clear",
                got=self.clear,
            )

    @property
    def measure(self) -> Measure:
        """What it takes to be bad, and to be good again."""
        return measure(self.when, self.clear or CLEAR)

    @property
    def terms(self) -> str:
        """What of it an incident is judged by, as JSON: one that is open keeps it."""
        return msgspec.json.encode((self.when, self.clear)).decode()


class RuleListed(Rule, frozen=True, kw_only=True):
    """A rule as it is kept; `hints` say what whoever made it may not expect."""

    id: int
    made: datetime
    changed: datetime
    hints: list[str]


class RuleList(Record, frozen=True):
    """Every rule that somebody made, the oldest first."""

    rules: list[RuleListed]


class Rules:
    """The rules that somebody made, and which of them hold for whom."""

    def __init__(self, made: Mapping[int, Rule]) -> None:
        """`made` are the rules by id; a lower one is older."""
        self._made = sorted(made.items(), key=lambda one: (-one[1].whom.weight, one[0]))
        self.ask_tags = any(rule.whom.tags for rule in made.values())

    def of(self, name: str, tags: Collection[str]) -> dict[int, Rule]:
        """Return the rules that hold for a server, by id: of each kind the one that names most.

        Names and tags are more than names, and names more than tags; of equals the oldest holds.
        The default rule does where none of these looks at who is down.
        """
        found: dict[str, int] = {}
        for rule_id, rule in self._made:
            if rule.when.kind not in found and rule.whom.match(name, tags):
                found[rule.when.kind] = rule_id
        held = {rule_id: rule for rule_id, rule in self._made if rule_id in found.values()}
        return held if "down" in found else {DEFAULT_ID: DEFAULT, **held}

    def numbers(self, kind: str) -> list[float]:
        """Return what stands beside a kind's name in the rules of that kind."""
        return [getattr(rule.when, kind) for _, rule in self._made if rule.when.kind == kind]


@lru_cache(maxsize=1_024)
def measure_by(terms: str) -> Measure:
    """Return what a rule of these `terms` takes to be bad, and to be good again."""
    when, clear = msgspec.json.decode(terms, type=tuple[When, int])
    return measure(when, clear)


def hints(rule: Rule) -> list[str]:
    """Return what whoever makes a rule may not expect."""
    return [AT_ONCE] if rule.when.down == 1 else []


def _kept(name: str) -> str:
    try:
        return kept_name(plain_text(name, "name", NAME_LENGTH), "name", NAME_LENGTH)
    except WrongRequest as error:
        raise error.at("name") from None


DEFAULT = Rule(name="default", when=When(down=2, span=3))
"""Holds from the first start on, for whoever no other rule looks at: two of three due slots."""
DEFAULT_ID = 0
