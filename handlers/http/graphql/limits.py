"""What a document may ask for, decided before it is validated, and so before anything is executed.

Fields are counted as they would be executed: with fragments in their places. Each fragment is
measured once, so that those that multiply each other are refused as soon as others.
docs/graphql.md has the limits, the costs, and how ariadne's cost validator compares.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from graphql import GraphQLError, GraphQLObjectType, get_named_type, value_from_ast_untyped
from graphql import parse as parse_document
from graphql.language import ast

from core.clock import utc_now
from core.errors import WrongRequest
from core.history.records import length
from core.reading import moment
from handlers.http.graphql import sentences
from handlers.http.graphql.resolvers import OF_DAY, SCHEMA
from handlers.http.graphql.selection import Fragments, fields

Words = Mapping[str, Any]

MAX_LENGTH = 20_000
MAX_TOKENS = 4_000
MAX_FRAGMENTS = 30
MAX_ITEMS = 1_000  # servers in one bulk mutation
LARGEST = 2**31  # of GraphQL's Int (spec.graphql.org, 3.5.1); 1e999 and 9999... are literals, too
DAY = length("1d")


class Size(NamedTuple):
    """What a part of a document adds up to."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    breadth: int = 0  # fields in one pair of braces
    cost: int = 0  # in values shown, or what takes about as long
    shared: int = 0  # likewise, but read once, however many fields of a list ask for it


LIMITS = Size(depth=15, fields=500, aliases=30, breadth=60, cost=100_000)
"""Our documents have at most 6 levels; the one by which tools read the schema has 13. A cost of
100,000 is 2 s of processor time, 20 us each, where benchmarks/costs.py weighed the histories."""
COSTLY = 5_000
"""What costs more takes a turn of its caller's (handlers/turns.py): a tenth of a second."""
SENTENCES = (
    "is {:,} levels deep",
    "has {:,} fields",
    "has {:,} aliases",
    "has {:,} fields in one pair of braces",
    "costs {:,}",
)


def parse(query: str) -> ast.DocumentNode:
    """Parse a document. Raises WrongRequest."""
    if len(query) > MAX_LENGTH:
        limit = f"the limit is {MAX_LENGTH:,}: send long values as variables"
        raise WrongRequest(f"the document has {len(query):,} characters; {limit}", "query")
    try:
        document = parse_document(query, max_tokens=MAX_TOKENS, allow_empty_selection_sets=False)
    except GraphQLError as error:
        told = sentences.of_syntax(error)
        raise WrongRequest(f"not a valid GraphQL document: {told}", "query") from None
    fragments = sum(isinstance(one, ast.FragmentDefinitionNode) for one in document.definitions)
    _hold("has {:,} fragments", fragments, MAX_FRAGMENTS)
    return document


def check(
    document: ast.DocumentNode, operation: ast.OperationDefinitionNode, variables: Mapping[str, Any]
) -> int:
    """Refuse what is too deep, wide, long or costly; return what it costs. Raises WrongRequest."""
    size = measure(document, operation, variables)
    for sentence, found, limit in zip(SENTENCES, size, LIMITS, strict=False):
        _hold(sentence, found, limit)
    return size.cost


def measure(
    document: ast.DocumentNode, operation: ast.OperationDefinitionNode, variables: Mapping[str, Any]
) -> Size:
    """Return what a document adds up to. Raises WrongRequest.

    All of a document counts, also what isn't executed: all of it is validated.
    """
    defaults = {
        one.variable.name.value: value_from_ast_untyped(one.default_value)
        for one in operation.variable_definitions or ()
        if one.default_value
    }
    try:
        return _Measure(document, defaults | dict(variables)).everything()
    except (RecursionError, OverflowError):
        raise WrongRequest("the document is too large", "query") from None


def _hold(sentence: str, found: int, limit: int) -> None:
    if found > limit:
        what = f"the document {sentence.format(found)}"
        raise WrongRequest(f"{what}; the limit is {limit:,}", "query")


def root_fields(document: ast.DocumentNode, operation: ast.OperationDefinitionNode) -> set[str]:
    """Return the names of the fields that an operation calls, those in fragments, too."""
    return {one.name.value for one in fields(operation.selection_set, _fragments(document))}


def _fragments(document: ast.DocumentNode) -> Fragments:
    found = (one for one in document.definitions if isinstance(one, ast.FragmentDefinitionNode))
    return {one.name.value: one for one in found}


class _Measure:
    """Adds a document's parts up. What the schema doesn't know costs 1: it is refused next."""

    def __init__(self, document: ast.DocumentNode, values: dict[str, Any]) -> None:
        self.document, self.values = document, values  # not typed: nothing is validated yet
        self.fragments = _fragments(document)
        self.measured: dict[str, Size | None] = {}

    def everything(self) -> Size:
        """Measure all operations, and fragments that none of them uses."""
        sizes = [self.fragment(name)._replace(cost=0, shared=0) for name in self.fragments]
        for one in self.document.definitions:
            if isinstance(one, ast.OperationDefinitionNode):
                sizes.append(self.braces(one.selection_set, SCHEMA.get_root_type(one.operation)))
        return _sum(sizes)

    def braces(self, node: ast.SelectionSetNode | None, kind: object) -> Size:
        """Measure what stands in a pair of braces and is asked of that type."""
        selections = node.selections if node else ()
        size = _sum([self.selection(one, kind) for one in selections])
        return size._replace(breadth=max(size.breadth, len(selections)))

    def selection(self, node: ast.SelectionNode, kind: object) -> Size:
        """Measure a field or a fragment."""
        if isinstance(node, ast.FragmentSpreadNode):
            return self.fragment(node.name.value)
        if isinstance(node, ast.FieldNode):
            return self.field(node, kind)
        # It counts as a level: a chain of them is nothing that anybody needs, but has no end.
        inline = cast(ast.InlineFragmentNode, node)
        size = self.braces(inline.selection_set, _type(inline.type_condition) or kind)
        return size._replace(depth=size.depth + 1)

    def fragment(self, name: str) -> Size:
        """Measure a fragment, once."""
        if name not in self.fragments:
            raise WrongRequest(f"the document has no fragment {name!r}", "query")
        if name not in self.measured:
            self.measured[name] = None
            node = self.fragments[name]
            self.measured[name] = self.braces(node.selection_set, _type(node.type_condition))
        size = self.measured[name]
        if size is None:
            raise WrongRequest(f"the fragment {name!r} contains itself", "query")
        return size

    def field(self, node: ast.FieldNode, kind: object) -> Size:
        """Measure a field with its fields."""
        known = kind.fields.get(node.name.value) if isinstance(kind, GraphQLObjectType) else None
        size = self.braces(node.selection_set, known and get_named_type(known.type))
        name = f"{kind}.{node.name.value}"
        if kind is SCHEMA.query_type:  # a list begins here: what it shares is its own
            size = size._replace(cost=size.cost + size.shared, shared=0)
        weigh = COSTS.get(name)
        cost = weigh(self.words(node), size.cost) if weigh else 1 + size.cost
        shared = max(SHARED.get(name, 0), size.shared)
        aliases = size.aliases + bool(node.alias)
        return Size(size.depth + 1, size.fields + 1, aliases, size.breadth, cost, shared)

    def words(self, node: ast.FieldNode) -> Words:
        """What a field is given."""
        given = node.arguments or ()
        return {one.name.value: value_from_ast_untyped(one.value, self.values) for one in given}


def _type(node: ast.NamedTypeNode | None) -> object:
    return SCHEMA.get_type(node.name.value) if node else None


def _sum(parts: list[Size]) -> Size:
    depths, numbers, aliases, breadths, costs, shared = zip(Size(), *parts, strict=True)
    return Size(max(depths), sum(numbers), sum(aliases), max(breadths), sum(costs), max(shared))


def _whole(value: object, default: int) -> int:
    """A number as far as it can be one; what GraphQL's Int can't be is refused next."""
    if not isinstance(value, int | float) or not abs(value) < LARGEST:
        return default
    return max(1, int(value))


def _days(words: Words, default: str = "24h") -> int:
    """How many days a window touches."""
    until = _read(moment, words.get("until"), "until") or utc_now()
    since = _read(moment, words.get("since"), "since")
    window = _read(length, words.get("window", default)) or DAY
    return max((until - since if since else window) // DAY, 0) + 2


def _read(read: Callable[..., Any], *words: object) -> Any:
    try:
        return read(*words)
    except (TypeError, ValueError, KeyError, WrongRequest):
        return None  # left out, or refused next


def _items(words: Words) -> int:
    servers = words.get("servers")
    items = len(servers) if isinstance(servers, list) else 1
    if items > MAX_ITEMS:
        raise WrongRequest(f"{items:,} servers at once; the limit is {MAX_ITEMS:,}", "servers")
    return items


def _pings(words: Words, inside: int) -> int:
    # Two days of raw rows are looked through, and a value of many is quickly shown. Of a server
    # that is pinged once a day a page is as many days as it has pings. 400 days are kept.
    limit = _whole(words.get("limit"), 60)
    return 100 + 6 * min(limit, _days(words, "400d")) + limit * (1 + inside) // 4


def _series(words: Words, inside: int) -> int:
    return 100 + 6 * _days(words) + _whole(words.get("points"), 300) * (1 + inside) // 4


def _summary(words: Words, inside: int) -> int:
    # Of up to three days, raw rows are added up by the database; of more, each day is unpacked.
    days = _days(words)
    return inside + (45 if days <= 5 else 100 + 15 * days)


COSTS: Mapping[str, Callable[[Words, int], int]] = {
    "Query.servers": lambda words, inside: _whole(words.get("first"), 100) * (10 + inside),
    "Query.incidents": lambda words, inside: _whole(words.get("first"), 100) * (1 + inside),
    # A timeline is taken to have 100 lines.
    "IncidentTold.timeline": lambda _, inside: 100 * (1 + inside),
    # Each with tags, names and days, 20 of each at most.
    "Query.maintenances": lambda words, inside: _whole(words.get("first"), 100) * (5 + inside),
    # Ranges are taken to be 100; as many as there are are matched with each server.
    "Server.maintenance": lambda _, inside: 50 + 100 * (1 + inside) // 4,
    "IncidentTold.members": lambda _, inside: 1_000 * (1 + inside),
    # 200 at most.
    # However many servers there are and however many days: no document has room for two.
    "Query.testRule": lambda _, inside: 60_000 + inside,
    "Query.rules": lambda _, inside: 200 * (1 + inside),
    "Query.events": lambda words, inside: _whole(words.get("first"), 100) * (1 + inside),
    "Query.tokens": lambda words, inside: _whole(words.get("first"), 100) * (1 + inside),
    # A list without pages is taken to hold 1,000.
    "Query.users": lambda _, inside: 1_000 * (1 + inside),
    "Server.pings": _pings,
    "Server.series": _series,
    "Server.summary": _summary,
    # 48 values, quickly shown; of the last, 192.
    "Server.meansMs": lambda *_: 12,
    "Server.strip": lambda *_: 12,
    "Server.stripCounts": lambda *_: 48,
    # 20 at most.
    "Server.tags": lambda *_: 6,
    # Each is looked up by its name, and written with its schedule.
    "Mutation.putServers": lambda words, inside: _items(words) * (10 + inside),
    # Its echoes may be waited for: a document has room for four such pings.
    "Mutation.pingNow": lambda _, inside: 21_000 + inside,
    # A hash takes long on purpose.
    "Mutation.changePassword": lambda _, inside: 9_500 + inside,
    "Mutation.createUser": lambda _, inside: 9_500 + inside,
    "Mutation.changeUser": lambda _, inside: 9_500 + inside,
}
"""What a field costs, given its arguments and what its fields cost. Others: 1 and their fields.

Histories weigh what `python -m benchmarks.costs` measures, the more of both databases."""

SHARED: Mapping[str, int] = {f"Server.{name}": 30 for name in OF_DAY}
"""What a field costs beside that, though only once for all of a list's fields that cost it.

The last 24 hours are read for the first that asks for them; listing a server is weighed above its
time, so the two together weigh what they take."""
