"""The tree's bookkeeping, and that its integrity check notices what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.decoding.sampling import child_seed, root_seed
from fasttts.tree import Limits, Node, SearchTree

LIMITS = Limits(max_tokens=9, at_max_tokens="length", num_steps=1, at_step_end="step")


def grow(tree: SearchTree, parent: Node | None, num_tokens: int) -> Node:
    siblings = parent.children if parent else tree.roots
    node = tree.new_node(parent, len(siblings), LIMITS)
    tree.attach(node)
    node.token_ids += range(num_tokens)
    node.text, node.steps = f"<{node.path}>", (f"{node.path}",)
    node.finish_reason = "step"
    return node


def small_tree() -> tuple[SearchTree, Node]:
    tree = SearchTree([1, 2, 3], seed=5)
    root = grow(tree, None, 4)
    grow(tree, None, 2)
    child = grow(tree, root, 3)
    grow(tree, child, 1)
    return tree, child


def test_paths_seeds_and_texts() -> None:
    tree, child = small_tree()
    assert [node.path for node in tree] == [(0,), (0, 0), (0, 0, 0), (1,)]
    assert len(tree) == 4
    assert child.depth == 2
    assert child.path_text() == "<(0,)><(0, 0)>"
    assert child.path_steps() == ("(0,)", "(0, 0)")
    assert child.num_prefix_tokens == 7
    assert child.num_path_tokens(3) == 7
    assert tree.token_ids_before(child) == [1, 2, 3, 0, 1, 2, 3, 0, 1, 2]
    assert tree.roots[1].seed == root_seed(5, 1)
    assert tree.new_node(child, 0, LIMITS).seed == tree.roots[0].seed
    assert tree.new_node(child, 1, LIMITS).seed == child_seed(child.seed, 2, 1)
    tree.check_integrity()


def test_scores_of_a_path_need_every_node() -> None:
    _, child = small_tree()
    assert child.parent is not None
    child.scores_S = (0.5,)
    assert child.path_scores() is None
    child.parent.scores_S = (0.25,)
    assert child.path_scores() == (0.25, 0.5)


@pytest.mark.parametrize("damage", ["path", "tokens", "scores", "running", "count"])
def test_the_integrity_check_notices(damage: str) -> None:
    tree, child = small_tree()
    if damage == "path":
        child.path = (0, 1)
    elif damage == "tokens":
        child.token_ids.append(1)
    elif damage == "scores":
        child.scores_S = (0.5, 0.5)
    elif damage == "running":
        child.finish_reason = None
    else:
        child.children.pop()
    with pytest.raises((AssertionError, IndexError)):
        tree.check_integrity()


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 5)), max_size=30))
def test_any_growth_keeps_the_tree_whole(chunk: list[tuple[int, int]]) -> None:
    tree = SearchTree([9], seed=1)
    nodes: list[Node] = []
    for choice, num_tokens in chunk:
        parent = nodes[choice % len(nodes)] if nodes and choice else None
        nodes.append(grow(tree, parent, num_tokens))
    tree.check_integrity()
    assert sorted(n.path for n in nodes) == [n.path for n in tree]
    assert len({n.seed for n in nodes if n.path[-1] != 0}) == sum(n.path[-1] != 0 for n in nodes)
