"""The record of a search: complete, consistent with the counts, and without effect."""

import collections
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fasttts import Budget, FastTTS, RecordedNode, SchedulingConfig, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN
from fasttts.engine.result_cache import ResultCache
from tests.searches import UNTIMED, marked_generator

PROBLEM = "What is 12 times 12?"
SEARCHES = ("beam_search", "dvts", "best_of_n", "self_consistency", "none")


def searched(scheduling: SchedulingConfig = UNTIMED, **options: Any) -> SearchResult:
    generator = FakeGenerator(mean_step_tokens=8)
    with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
        return engine.search(PROBLEM, **{"n": 8, **options})


def num_sequences(nodes: Iterable[RecordedNode]) -> list[int]:
    """Sequences in each iteration, by the nodes."""
    at = collections.Counter(
        i for node in nodes for start, end in node.ran for i in range(start, end)
    )
    return [at[iteration] for iteration in range(max(at) + 1)]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("slots", [3, 64])
def test_every_token_and_every_slot_is_in_the_record(search: str, slots: int) -> None:
    result = searched(UNTIMED.model_copy(update={"slots": slots}), search=search)
    nodes, usage = result.record.nodes, result.usage
    in_tree = [node for node in nodes if node.fate != "wasted"]
    assert result.record.num_slots == slots
    assert sum(node.num_tokens for node in nodes) == usage.generated_tokens
    assert sum(node.num_tokens for node in in_tree) == usage.required_tokens
    assert sum(node.num_tokens_ahead for node in in_tree) == usage.speculated_tokens
    assert len(in_tree) == usage.num_nodes
    occupancy = zip(result.occupancy.required, result.occupancy.speculative, strict=True)
    assert num_sequences(nodes) == [sum(both) for both in occupancy]
    for node in nodes:
        assert sum(end - start for start, end in node.ran) == node.num_tokens


def test_nodes_are_in_order_and_their_fates_are_those_of_the_tree() -> None:
    result = searched()
    nodes = result.record.nodes
    assert [node.path for node in nodes] == sorted(node.path for node in nodes)
    tree = {node.path: node for node in nodes if node.fate != "wasted"}
    parents = {path[:-1] for path in tree if path[:-1]}
    for path, node in tree.items():
        assert (node.fate == "continued") == (path in parents)
        assert (node.fate == "answer") == (path in {each.path for each in result.candidates})
        assert node.decided_at is not None
        assert node.num_tokens_ahead == sum(
            min(end, node.decided_at) - start for start, end in node.ran if start < node.decided_at
        )
    wasted = [node for node in nodes if node.fate == "wasted"]
    assert wasted
    assert {node.decided_at for node in wasted} == {None}
    assert any(node.finish_reason is None and node.steps for node in wasted)


def test_steps_and_scores_are_those_of_the_candidates() -> None:
    result = searched()
    tree = {node.path: node for node in result.record.nodes if node.fate != "wasted"}
    for candidate in result.candidates:
        path = [candidate.path[: depth + 1] for depth in range(len(candidate.path))]
        assert tuple(step for each in path for step in tree[each].steps) == candidate.steps
        assert tree[candidate.path].score == candidate.score


def test_without_speculation_nothing_runs_ahead() -> None:
    nodes = searched(PLAIN).record.nodes
    assert {node.fate for node in nodes} == {"continued", "answer", "pruned"}
    assert {node.num_tokens_ahead for node in nodes} == {0}


def test_the_record_depends_on_the_schedule_and_nothing_else_does() -> None:
    fast, plain = searched(), searched(PLAIN)
    assert fast.record != plain.record
    assert (fast.text, fast.candidates, fast.votes) == (plain.text, plain.candidates, plain.votes)
    trees = [
        [(n.path, [s.text for s in n.steps], n.finish_reason, n.num_tokens) for n in nodes]
        for nodes in ([n for n in r.record.nodes if n.fate != "wasted"] for r in (fast, plain))
    ]
    assert trees[0] == trees[1]


def test_early_stop_and_budgets_leave_their_marks() -> None:
    fates = collections.Counter(node.fate for node in searched(n=64).record.nodes)
    assert fates["dominated"] > 0
    cut = searched(budget=Budget(tokens=60, grace_tokens=0))
    assert cut.stop_reason == "tokens"
    fates = collections.Counter(node.fate for node in cut.record.nodes)
    assert fates["running"] > 0
    assert fates["wasted"] > 0


def test_a_generator_that_is_late_is_recorded_too() -> None:
    with FastTTS(marked_generator(is_late=True), FakeVerifier(), scheduling=UNTIMED) as engine:
        result = engine.search(PROBLEM, n=8)
    nodes, usage = result.record.nodes, result.usage
    assert sum(node.num_tokens for node in nodes) == usage.generated_tokens
    assert max(end for node in nodes for _, end in node.ran) <= usage.num_iterations


def test_votes_name_answers_and_their_candidates() -> None:
    result = searched(search="best_of_n", selection="majority")
    assert result.votes[0].answer == result.answer
    assert result.votes[0].paths[0] == result.candidates[0].path
    assert [vote.weight for vote in result.votes] == [len(vote.paths) for vote in result.votes]
    assert searched(search="best_of_n", selection="best").votes == ()


def test_json_has_all_of_it_and_a_version() -> None:
    result = searched()
    document = result.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["version"] == 1
    assert len(document["record"]["nodes"]) == len(result.record.nodes)
    assert SearchResult.from_dict(document) == result
    assert SearchResult.from_json(result.to_json()) == result
    del document["record"], document["votes"], document["version"]
    older = SearchResult.from_dict(document)
    assert older.record.nodes == ()
    assert older.candidates == result.candidates


def test_a_cached_result_has_its_record(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        cache = ResultCache(tmp_path)
        with FastTTS(FakeGenerator(), FakeVerifier(), cache=cache) as engine:
            found.append(engine.search(PROBLEM, n=4))
    assert found[1].usage.is_cached
    assert found[0].record == found[1].record
    assert found[0].record.problem == PROBLEM
