"""Scores of labelled steps: ranking, calibration, intervals; and examples from labels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError
from fasttts.prm import (
    LabelCost,
    LabeledRollout,
    LabeledStep,
    LabelRecord,
    hold_out,
    judge_scores,
)
from fasttts.prm.examples import make_examples
from fasttts.prm.quality import area_under_curve
from fasttts.verifiers.prompt_formats import StepPrompt

SHARES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
STEPS = st.lists(st.tuples(SHARES, SHARES, st.integers(0, 3)), min_size=1, max_size=30)


def area_of_pairs(scores: list[float], labels: list[float]) -> float | None:
    """The definition: over all pairs of a right and a wrong continuation."""
    won = total = 0.0
    for (a, right), (b, other) in itertools.product(zip(scores, labels, strict=True), repeat=2):
        weight = right * (1.0 - other)
        total += weight
        won += weight * (0.5 if a == b else a > b)
    return won / total if total else None


@given(STEPS)
def test_the_area_is_the_share_of_pairs(steps: list[tuple[float, float, int]]) -> None:
    scores, labels = [s for s, _, _ in steps], [y for _, y, _ in steps]
    found = area_under_curve(np.asarray(scores), np.asarray(labels))
    expected = area_of_pairs(scores, labels)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert found == pytest.approx(expected)


@given(STEPS)
def test_what_is_judged_is_consistent(steps: list[tuple[float, float, int]]) -> None:
    scores, labels, problems = map(list, zip(*steps, strict=True))
    found = judge_scores(scores, labels, problems)
    assert found.num_steps == sum(b.num_steps for b in found.bins) == len(steps)
    assert found.num_problems == len(set(problems))
    assert 0.0 <= found.calibration_error <= math.sqrt(found.brier) + 1e-9
    if found.low is not None and found.high is not None:
        assert 0.0 <= found.low <= found.high <= 1.0
    again = judge_scores(scores, labels, problems)
    assert again == found


def test_perfect_and_reversed_scores_are_told_apart() -> None:
    labels = [0.0, 1.0] * 20
    problems = [number // 4 for number in range(40)]
    right = judge_scores(labels, labels, problems)
    assert (right.auc, right.within, right.brier, right.calibration_error) == (1.0, 1.0, 0.0, 0.0)
    assert right.is_proven
    wrong = judge_scores([1.0 - label for label in labels], labels, problems)
    assert (wrong.auc, wrong.within, wrong.brier) == (0.0, 0.0, 1.0)
    assert not wrong.is_proven
    flat = judge_scores([0.5] * 40, labels, problems)
    assert (flat.auc, flat.calibration_error) == (0.5, 0.0)


def test_problems_of_different_difficulty_rank_steps_between_them_alone() -> None:
    """An area over all steps may come from problems; the one within a problem does not."""
    scores = [0.9, 0.9, 0.1, 0.1]
    found = judge_scores(scores, [1.0, 1.0, 0.0, 0.0], ["easy", "easy", "hard", "hard"])
    assert (found.auc, found.within) == (1.0, None)
    mixed = judge_scores(scores, [1.0, 0.0, 1.0, 0.0], ["easy", "easy", "hard", "hard"])
    assert mixed.within == 0.5


def test_without_steps_there_is_nothing_to_judge() -> None:
    with pytest.raises(ConfigurationError, match="no labelled steps"):
        judge_scores([], [], [])


class ByCharacter:
    """A prompt format whose tokens are characters; a step ends with a zero."""

    covers_steps = True
    choices = None

    def prompt(self, problem: str, steps: tuple[str, ...]) -> StepPrompt:
        token_ids = [ord(character) for character in problem]
        positions = []
        for step in steps:
            token_ids += [*map(ord, step), 0]
            positions.append(len(token_ids) - 1)
        return StepPrompt(token_ids=tuple(token_ids), positions=tuple(positions))


def record(index: int, text: str, *rollouts: tuple[tuple[str, float | None], ...]) -> LabelRecord:
    return LabelRecord(
        index=index,
        problem=str(index),
        text=text,
        rollouts=tuple(
            LabeledRollout(
                steps=tuple(
                    LabeledStep(
                        text=step,
                        num_right=int(soft is None or soft > 0.0),
                        num_continuations=2,
                        soft=soft,
                        hard=soft is None or soft > 0.0,
                    )
                    for step, soft in steps
                ),
                answer=None,
                is_right=True,
            )
            for steps in rollouts
        ),
        num_prefixes=1,
        error=None,
        run=LabelCost(elapsed_s=0.0, generated_tokens=0),
    )


def test_examples_are_different_rollouts_cut_to_their_steps() -> None:
    twice = (("a", 0.5), ("bc", 0.0))
    records = [record(0, "p", twice, twice, (("a", 0.5),)), record(1, "q", ())]
    found = make_examples(records, ByCharacter(), target="soft", max_length=100)
    assert [(e.token_ids, e.positions, e.targets) for e in found] == [
        ((112, 97, 0, 98, 99, 0), (2, 5), (0.5, 0.0)),
        ((112, 97, 0), (2,), (0.5,)),
    ]
    (cut,) = make_examples(records, ByCharacter(), target="hard", max_length=5)
    assert (cut.token_ids, cut.targets) == ((112, 97, 0), (1.0,))
    with pytest.raises(ConfigurationError, match="--max-length"):
        make_examples(records, ByCharacter(), target="soft", max_length=2)
    with pytest.raises(ConfigurationError, match="--max-tokens"):
        make_examples([record(2, "r", ())], ByCharacter(), target="soft", max_length=2)


def test_soft_labels_that_are_not_there_are_asked_for_in_vain() -> None:
    records = [record(0, "p", (("a", None),))]
    assert make_examples(records, ByCharacter(), target="hard", max_length=9)
    with pytest.raises(ConfigurationError, match="hard labels alone"):
        make_examples(records, ByCharacter(), target="soft", max_length=9)


def test_problems_held_out_are_others_whatever_their_number() -> None:
    records = [record(i, f"problem {i // 2}", (("a", 1.0),)) for i in range(40)]
    for share in (0.001, 0.1, 0.5, 0.999):
        kept, held_out = hold_out(records, share, seed=1)
        assert kept
        assert held_out
        assert not {r.text for r in kept} & {r.text for r in held_out}
        assert sorted([*kept, *held_out], key=lambda r: r.index) == records
        assert len({r.text for r in held_out}) == min(19, max(1, round(share * 20)))
    assert hold_out(records, 0.5, seed=1) != hold_out(records, 0.5, seed=2)
    with pytest.raises(ConfigurationError, match="one problem alone"):
        hold_out(records[:2], 0.5, seed=0)
