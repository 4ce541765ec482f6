"""Where two trees of one search differ first."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node
from fasttts.types import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first node, in breadth-first order, that two trees do not share.

    Attributes:
        path: Its position.
        kind: "tokens": other tokens, or another end; "score": the same tokens scored otherwise;
            "missing": one of the trees has no such node, though all before are equal.
        num_nodes: Nodes of the first tree.
        token: Index in the node of the first other token; None for other kinds.
        scores: Both scores of the node's steps; None for other kinds.
    """

    path: Path
    kind: Literal["tokens", "score", "missing"]
    num_nodes: int
    token: int | None = None
    scores: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def first_difference(expected: SearchRun, found: SearchRun) -> Difference | None:
    """Compares two trees; None where they are equal. A step that was given up has no score."""
    one, other = ({node.path: node for node in run.tree} for run in (expected, found))
    for path in sorted(one.keys() | other.keys(), key=lambda path: (len(path), path)):
        found_here = _difference(path, one.get(path), other.get(path), len(one))
        if found_here is not None:
            return found_here
    return None


def tree_digest(run: SearchRun) -> str:
    """A short hash of a tree with its scores, to compare those of two processes."""
    nodes = [
        (node.path, node.seed, node.token_ids, node.finish_reason, node.scores_S)
        for node in run.tree
    ]
    return hashlib.sha256(repr(nodes).encode()).hexdigest()[:16]


def _difference(
    path: Path, one: Node | None, other: Node | None, num_nodes: int
) -> Difference | None:
    if one is None or other is None:
        return Difference(path=path, kind="missing", num_nodes=num_nodes)
    if (one.token_ids, one.finish_reason) != (other.token_ids, other.finish_reason):
        pairs = zip(one.token_ids, other.token_ids, strict=False)
        shorter = min(len(one.token_ids), len(other.token_ids))
        token = next((index for index, (a, b) in enumerate(pairs) if a != b), shorter)
        return Difference(path=path, kind="tokens", num_nodes=num_nodes, token=token)
    if one.scores_S is not None and other.scores_S is not None and one.scores_S != other.scores_S:
        scores = (one.scores_S, other.scores_S)
        return Difference(path=path, kind="score", num_nodes=num_nodes, scores=scores)
    return None
