"""What a document may ask for, decided before anything is executed, and before it is validated.

A document's fields are counted as they would be executed: with fragments in their places. Each
fragment is measured once, so those that multiply each other cost nothing to refuse.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    InlineFragmentNode,
    NamedTypeNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    value_from_ast_untyped,
)
from graphql import parse as parse_document

from core.clock import utc_now
from core.errors import WrongRequest
from core.history.records import length
from core.reading import moment
from handlers.http.graphql.resolvers import SCHEMA

MAX_LENGTH = 20_000
"""Characters of a document; what is long, such as many servers, is sent as a variable."""
MAX_TOKENS = 4_000
MAX_FRAGMENTS = 30
MAX_DEPTH = 15
"""The deepest of ours is 6; the query by which tools read the schema needs 13."""
MAX_FIELDS = 500
MAX_ALIASES = 30
MAX_BREADTH = 60
"""Fields in one pair of braces."""
MAX_COST = 100_000
"""In values shown, or what takes about as long: some seconds on a small machine."""
MAX_ITEMS = 1_000
"""Servers in one bulk mutation."""

LARGEST = 2**31  # of GraphQL's Int (spec.graphql.org, 3.5.1); 1e999 and 9999... are literals, too
LISTED_COST = 35  # a server in a list: its last 24 hours are read, whatever is asked of it
RAW_COST = 20  # of a window that reaches to now up to three days are raw rows still
DAY = length("1d")
DAY_COST = 6  # a day is unpacked in the time of so many values
KEPT_DAYS = 400  # as the settings have it; there are seldom more
STORED_COST = 10  # a server of many is looked up by its name, and written with its schedule
PEOPLE = 1_000  # how many tokens or users a list is taken to hold: it has no pages


class Size(NamedTuple):
    """What a part of a document adds up to."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    breadth: int = 0
    cost: int = 0


BOUNDS = Size(MAX_DEPTH, MAX_FIELDS, MAX_ALIASES, MAX_BREADTH, MAX_COST)


def parse(query: str) -> DocumentNode:
    """Parse a document. Raises WrongRequest."""
    if len(query) > MAX_LENGTH:
        raise WrongRequest(
            f"a document is at most {MAX_LENGTH:,} characters long: send long values as variables",
            "query",
        )
    try:
        document = parse_document(query, max_tokens=MAX_TOKENS, allow_empty_selection_sets=False)
    except GraphQLError as error:
        raise WrongRequest(f"the document is no GraphQL: {error.message}", "query") from None
    except RecursionError:
        raise WrongRequest("the document is nested too deep", "query") from None
    if sum(isinstance(one, FragmentDefinitionNode) for one in document.definitions) > MAX_FRAGMENTS:
        raise WrongRequest(f"a document has at most {MAX_FRAGMENTS} fragments", "query")
    return document


def check(
    document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> None:
    """Refuse what is too deep, wide, long or costly. Raises WrongRequest.

    All of a document counts, also what isn't executed: all of it is validated.
    """
    try:
        size = _Measure(document, _values(operation, variables)).everything()
    except (RecursionError, ValueError, OverflowError) as error:
        raise WrongRequest(f"the document can't be measured: {error}", "query") from None
    for name, found, bound in zip(Size._fields, size, BOUNDS, strict=True):
        if found > bound:
            raise WrongRequest(f"the document's {name} is {found:,}, more than {bound:,}", "query")


def root_fields(document: DocumentNode, operation: OperationDefinitionNode) -> set[str]:
    """Return the names of the fields that an operation calls, those in fragments, too."""
    return set(_names(operation.selection_set, _fragments(document)))


def _names(
    selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> Iterator[str]:
    for one in selections.selections:
        if isinstance(one, FieldNode):
            yield one.name.value
        elif isinstance(one, FragmentSpreadNode):
            yield from _names(fragments[one.name.value].selection_set, fragments)
        else:
            yield from _names(cast(Any, one).selection_set, fragments)


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    found = (one for one in document.definitions if isinstance(one, FragmentDefinitionNode))
    return {one.name.value: one for one in found}


def _values(operation: OperationDefinitionNode, given: Mapping[str, Any]) -> dict[str, Any]:
    """The variables as they will be, without their types: a document isn't validated yet."""
    defaults = {
        one.variable.name.value: value_from_ast_untyped(one.default_value)
        for one in operation.variable_definitions or ()
        if one.default_value
    }
    return defaults | dict(given)


class _Measure:
    """Adds a document's parts up. What the schema doesn't know costs 1: it is refused next."""

    def __init__(self, document: DocumentNode, values: Mapping[str, Any]) -> None:
        self.document = document
        self.fragments = _fragments(document)
        self.values = dict(values)
        self.measured: dict[str, Size | None] = {}

    def everything(self) -> Size:
        """Measure all operations, and fragments that none of them uses."""
        found = [self.fragment(name)._replace(cost=0) for name in self.fragments]
        operations = (
            one for one in self.document.definitions if isinstance(one, OperationDefinitionNode)
        )
        return _sum([*found, *map(self.operation, operations)])

    def operation(self, node: OperationDefinitionNode) -> Size:
        """Measure an operation."""
        return self.selections(node.selection_set, SCHEMA.get_root_type(node.operation))

    def selections(self, node: SelectionSetNode | None, kind: object) -> Size:
        """Measure what stands in a pair of braces and is asked of that type."""
        if node is None:
            return Size()
        size = _sum([self.selection(one, kind) for one in node.selections])
        return size._replace(breadth=max(size.breadth, len(node.selections)))

    def selection(self, node: SelectionNode, kind: object) -> Size:
        """Measure a field or a fragment."""
        if isinstance(node, FragmentSpreadNode):
            return self.fragment(node.name.value)
        if isinstance(node, FieldNode):
            return self.field(node, kind)
        # It counts as a level: a chain of them is nothing that anybody needs, but has no end.
        inline = cast(InlineFragmentNode, node)
        size = self.selections(inline.selection_set, _type(inline.type_condition) or kind)
        return size._replace(depth=size.depth + 1)

    def field(self, node: FieldNode, kind: object) -> Size:
        """Measure a field with its fields."""
        known = kind.fields.get(node.name.value) if isinstance(kind, GraphQLObjectType) else None
        inside = self.selections(node.selection_set, known and get_named_type(known.type))
        return Size(
            depth=inside.depth + 1,
            fields=inside.fields + 1,
            aliases=inside.aliases + bool(node.alias),
            breadth=inside.breadth,
            cost=self.cost(node, kind, inside.cost),
        )

    def fragment(self, name: str) -> Size:
        """Measure a fragment, once."""
        if name not in self.fragments:
            raise WrongRequest(f"there is no fragment {name!r}", "query")
        if name not in self.measured:
            self.measured[name] = None
            node = self.fragments[name]
            self.measured[name] = self.selections(node.selection_set, _type(node.type_condition))
        size = self.measured[name]
        if size is None:
            raise WrongRequest(f"the fragment {name!r} contains itself", "query")
        return size

    def cost(self, node: FieldNode, kind: object, inside: int) -> int:
        """What a field costs, given what its fields cost."""
        weigh = COSTS.get(f"{kind}.{node.name.value}")
        if weigh is None:
            return 1 + inside
        given = node.arguments or ()
        words = {one.name.value: value_from_ast_untyped(one.value, self.values) for one in given}
        return weigh(words, inside)


def _type(node: NamedTypeNode | None) -> object:
    return SCHEMA.get_type(node.name.value) if node else None


def _sum(parts: list[Size]) -> Size:
    if not parts:
        return Size()
    depths, fields, aliases, breadths, costs = zip(*parts, strict=True)
    return Size(max(depths), sum(fields), sum(aliases), max(breadths), sum(costs))


Words = Mapping[str, Any]


def _servers(words: Words, inside: int) -> int:
    return _whole(words.get("first"), 100) * (LISTED_COST + inside)


def _pings(words: Words, inside: int) -> int:
    # Two days of raw rows are looked through, and a value of many is quickly shown. Of a server
    # that is pinged once a day a page is as many days as it has pings.
    limit = _whole(words.get("limit"), 60)
    return 100 + DAY_COST * min(limit, _days(words, KEPT_DAYS * DAY)) + limit * (1 + inside) // 4


def _series(words: Words, inside: int) -> int:
    points = _whole(words.get("points"), 300) * (1 + inside) // 4
    return RAW_COST + DAY_COST * _days(words, DAY) + points


def _summary(words: Words, inside: int) -> int:
    try:
        window = length(str(words.get("window", "24h")))
    except (ValueError, KeyError):
        window = DAY  # it will be refused
    return RAW_COST + DAY_COST * _days(words, window) + inside


def _items(words: Words, inside: int) -> int:
    items = words.get("servers")
    if isinstance(items, list) and len(items) > MAX_ITEMS:
        raise WrongRequest(f"at most {MAX_ITEMS:,} servers at once", "servers")
    return (len(items) if isinstance(items, list) else 1) * (STORED_COST + inside)


def _seconds(_words: Words, inside: int) -> int:
    return 21_000 + inside  # its echoes may be waited for: a document has room for four such pings


def _password(_words: Words, inside: int) -> int:
    return 9_500 + inside  # a hash takes long on purpose


def _people(_words: Words, inside: int) -> int:
    return PEOPLE * (1 + inside)


def _half_hours(_words: Words, _inside: int) -> int:
    return 12  # 48 values, quickly shown


COSTS: Mapping[str, Callable[[Words, int], int]] = {
    "Query.servers": _servers,
    "Query.tokens": _people,
    "Query.users": _people,
    "Server.meansMs": _half_hours,
    "Server.strip": _half_hours,
    "Server.pings": _pings,
    "Server.series": _series,
    "Server.summary": _summary,
    "Mutation.putServers": _items,
    "Mutation.pingNow": _seconds,
    "Mutation.changePassword": _password,
    "Mutation.createUser": _password,
    "Mutation.changeUser": _password,
}
"""What isn't here costs 1 and its fields."""


def _whole(value: object, default: int) -> int:
    """A number as far as it can be one; what GraphQL's Int can't be is refused next."""
    if not isinstance(value, int | float) or not abs(value) < LARGEST:
        return default
    return max(1, int(value))


def _days(words: Words, default: timedelta) -> int:
    """How many days a window touches."""
    now = utc_now()
    until = _time(words.get("until")) or now
    since = _time(words.get("since"))
    window = until - since if since else default
    return max(window // DAY, 0) + 2


def _time(value: object) -> Any:
    try:
        return moment(value, "") if isinstance(value, str) else None
    except WrongRequest:
        return None  # it will be refused
