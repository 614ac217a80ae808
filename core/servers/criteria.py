"""Whom a rule or a maintenance is for: servers of some tags, of some names, or all."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Annotated

from msgspec import Meta
from msgspec.structs import force_setattr

from core.reading import Request
from core.servers.records import Tags

Glob = Annotated[
    str,
    Meta(
        description="A server's name, in which * stands for any characters and ? for one",
        min_length=1,
        max_length=255,
        examples=["eu-*"],
    ),
]
Globs = Annotated[tuple[Glob, ...], Meta(max_length=20)]


class Criteria(Request, frozen=True):
    """Any of these tags, and any of these names; what is empty asks for nothing."""

    tags: Tags = ()
    names: Globs = ()

    def __post_init__(self) -> None:
        """Keep tags as servers keep them: in lower case."""
        force_setattr(self, "tags", tuple(sorted({tag.lower() for tag in self.tags})))

    def match(self, name: str, tags: Collection[str]) -> bool:
        """Whether a server of that name and these tags is meant."""
        if self.tags and not set(self.tags) & set(tags):
            return False
        return not self.names or any(fnmatchcase(name, one) for one in self.names)

    @property
    def is_everyone(self) -> bool:
        """Whether every server is meant, whatever it is called."""
        return not self.tags and not self.names

    @property
    def weight(self) -> int:
        """How much is named: names and tags weigh more than names, names more than tags."""
        return 2 * bool(self.names) + bool(self.tags)
