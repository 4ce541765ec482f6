"""Graphs of named parts that refer to each other: rules of a grammar, schemas with references.

All functions are iterative, and linear in the size of the graph.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

_Name = TypeVar("_Name", bound=Hashable)

Graph = Mapping[_Name, Sequence[_Name]]
"""The names that each name refers to; every name that occurs is a key."""


def components(graph: Graph[_Name]) -> Iterator[list[_Name]]:
    """Yields the strongly connected components, each after all that it refers to.

    Args:
        graph: The references.

    Source: R. Tarjan, Depth-first search and linear graph algorithms, 1972.
    """
    order: dict[_Name, int] = {}
    lowest: dict[_Name, int] = {}
    pending: dict[_Name, None] = {}
    for root in graph:
        path = [] if root in order else [(root, iter(graph[root]))]
        while path:
            name, following = path[-1]
            if name not in order:
                order[name] = lowest[name] = len(order)
                pending[name] = None
            if (target := next((n for n in following if n not in order), None)) is not None:
                path.append((target, iter(graph[target])))
                continue
            path.pop()
            lowest[name] = min(lowest[n] for n in (name, *graph[name]) if n in pending)
            if lowest[name] == order[name]:
                yield list(_taken(pending, name))


def _taken(pending: dict[_Name, None], name: _Name) -> Iterator[_Name]:
    """Removes the names from `name` on."""
    while name in pending:
        yield pending.popitem()[0]


def longest_chain(graph: Graph[_Name], lengths: Mapping[_Name, int]) -> int:
    """Bounds the length of a chain of references in which no name occurs twice.

    Names that refer to each other in a circle count as one chain of all of them.

    Args:
        graph: The references.
        lengths: The length of each name.
    """
    longest: dict[_Name, int] = {}
    for component in components(graph):
        members = set(component)
        behind = (longest[n] for name in component for n in graph[name] if n not in members)
        length = sum(lengths[name] for name in component) + max(behind, default=0)
        longest.update(dict.fromkeys(component, length))
    return max(longest.values(), default=0)


def sizes_written_out(graph: Graph[_Name], sizes: Mapping[_Name, int]) -> dict[_Name, int]:
    """Sizes of the names with every reference replaced by its target.

    A reference back to a name that is being written out counts nothing.

    Args:
        graph: The references.
        sizes: The size of each name without its references.
    """
    written: dict[_Name, int] = {}
    for root in graph:
        path = [(root, iter(graph[root]))]
        while path:
            name, following = path[-1]
            written.setdefault(name, 0)
            if (target := next((n for n in following if n not in written), None)) is not None:
                path.append((target, iter(graph[target])))
                continue
            path.pop()
            if not written[name]:
                written[name] = sizes[name] + sum(written[n] for n in graph[name])
    return written
