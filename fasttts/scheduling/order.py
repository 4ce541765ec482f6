"""In which order steps start.

Depth-first order of the tree keeps siblings together and their parents in the order of the step
before, so that a shared prefix is in use, and its blocks alive, while its children run. Source:
FastTTS, arXiv 2509.00195, section 4.3 (dynamic prefix-aware scheduling). search-and-learn instead
repeats the list of survivors: first every first child, then every second one.
"""

from collections.abc import Iterable

from fasttts.tree import Node


def in_order(nodes: Iterable[Node], *, prefix_order: bool) -> list[Node]:
    """`nodes` in the order in which they start."""
    if prefix_order:
        return sorted(nodes, key=lambda node: node.path)
    return sorted(nodes, key=lambda node: (node.path[-1], node.path))
