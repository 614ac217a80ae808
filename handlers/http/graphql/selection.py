"""Which fields a document selects, wherever it writes them: in their place or in a fragment."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast

from graphql import GraphQLResolveInfo
from graphql.language import ast

Info = GraphQLResolveInfo
Fragments = Mapping[str, ast.FragmentDefinitionNode]

TO_SERVERS = frozenset({"edges", "node", "nodes"})
"""The fields by which a list leads to its servers."""


def fields(node: ast.SelectionSetNode | None, fragments: Fragments) -> Iterator[ast.FieldNode]:
    """Yield the fields in a pair of braces; no fragment may be missing or contain itself."""
    for one in node.selections if node else ():
        if isinstance(one, ast.FieldNode):
            yield one
        else:
            inside = fragments[one.name.value] if isinstance(one, ast.FragmentSpreadNode) else one
            yield from fields(cast(Any, inside).selection_set, fragments)


def asks_servers(info: Info, wanted: Collection[str]) -> bool:
    """Whether the field asks its server, or the servers of its list, for one of those `wanted`.

    One that `@skip` or `@include` leaves out counts, too.
    """
    return _asks(info.field_nodes, wanted, info.fragments)


def _asks(nodes: Iterable[ast.FieldNode], wanted: Collection[str], fragments: Fragments) -> bool:
    inside = [one for node in nodes for one in fields(node.selection_set, fragments)]
    further = [one for one in inside if one.name.value in TO_SERVERS]
    return any(one.name.value in wanted for one in inside) or (
        bool(further) and _asks(further, wanted, fragments)
    )
