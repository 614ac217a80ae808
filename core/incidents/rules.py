"""Rules: when bad is bad enough, for whom, and how grave it is."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field
from msgspec.structs import force_setattr

from core.errors import WrongRequest
from core.incidents.criteria import Criteria
from core.incidents.judge import MOST
from core.incidents.when import Measure, When, measure
from core.reading import NAME_LENGTH, Request, kept_name, plain_text

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
    when: When
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
    def hints(self) -> list[str]:
        """What whoever makes it may not expect."""
        return [AT_ONCE] if self.when.down == 1 else []


def _kept(name: str) -> str:
    try:
        return kept_name(plain_text(name, "name", NAME_LENGTH), "name", NAME_LENGTH)
    except WrongRequest as error:
        raise error.at("name") from None


DEFAULT = Rule(name="default", when=When(down=2, span=3))
"""Holds for every server from the first start on: two of three due slots."""
