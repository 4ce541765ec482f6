"""The choice among candidates, by every rule and every aggregation."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import FastTTS
from fasttts.answers.extraction import AnswerReader, Extractor
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import Aggregation, SearchConfig, Selection
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.search import make_policy
from fasttts.search.aggregation import (
    aggregate,
    best_aggregate,
    count_votes,
    make_ranking,
    on_grid,
    rank,
)
from fasttts.search.consistency import SelfConsistency
from fasttts.tree import Beam
from fasttts.types import Candidate, FinishReason, Vote

SELECTIONS: Sequence[Selection] = get_args(Selection)
AGGREGATIONS: Sequence[Aggregation] = get_args(Aggregation)


def candidate(
    index: int,
    answer: str | None,
    score: float | None,
    reason: FinishReason = "stop",
    *,
    is_announced: bool = True,
) -> Candidate:
    return Candidate(
        path=(index,),
        text=f"text {index}",
        steps=(),
        score=score,
        answer=answer,
        finish_reason=reason,
        num_tokens=1,
        is_announced=is_announced,
    )


def beam(index: int, answer: str | None, *, is_announced: bool = True) -> Beam:
    return Beam(
        path=(index,), score=0.0, is_answer_ended=True, answer=answer, is_announced=is_announced
    )


CANDIDATES = [
    candidate(0, "1", 0.5),
    candidate(1, "2", 0.9),
    candidate(2, "1", 0.6),
    candidate(3, None, 0.95),
    candidate(4, "2", 0.1, "length"),
    candidate(5, "3", 0.9),
]

scores = st.one_of(st.none(), st.integers(0, 10_000).map(lambda n: n / 10_000))
answers = st.sampled_from([None, "", "1", "1.0", "2", "2 cm", "2 kg", "50%", "0.5", "50", "word"])
reasons = st.sampled_from(["stop", "stop", "length"])


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[Candidate]:
    drawn = draw(st.lists(st.tuples(answers, scores, reasons), min_size=1, max_size=10))
    return [candidate(index, *each) for index, each in enumerate(drawn)]


@pytest.mark.parametrize(
    ("selection", "order"),
    [
        ("best", [3, 1, 5, 2, 0, 4]),
        ("majority", [2, 0, 1, 5, 3, 4]),
        ("weighted", [2, 0, 1, 5, 3, 4]),
    ],
)
def test_rank(selection: Selection, order: list[int]) -> None:
    ranked = rank(CANDIDATES, selection)
    assert [c.path[0] for c in ranked] == order


@pytest.mark.parametrize("selection", SELECTIONS)
@given(candidates=candidate_lists(), random=st.randoms())
def test_the_order_of_arrival_makes_no_difference(
    selection: Selection, candidates: list[Candidate], random: object
) -> None:
    arrived = list(candidates)
    random.shuffle(arrived)
    assert rank(arrived, selection) == rank(candidates, selection)


@pytest.mark.parametrize("selection", SELECTIONS)
@given(candidates=candidate_lists())
def test_ranking_loses_nobody_and_prefers_the_complete(
    selection: Selection, candidates: list[Candidate]
) -> None:
    ranked = rank(candidates, selection)
    assert sorted(c.path for c in ranked) == [c.path for c in candidates]
    assert [c.is_complete for c in ranked] == sorted((c.is_complete for c in ranked), reverse=True)


@given(candidates=candidate_lists())
def test_the_best_has_the_highest_score_and_the_smallest_path(candidates: list[Candidate]) -> None:
    best = rank(candidates, "best")[0]
    rivals = [c for c in candidates if c.is_complete == best.is_complete]
    assert (-(best.score or 0), best.path) == min((-(c.score or 0), c.path) for c in rivals)


def test_weighted_votes_may_overrule_the_majority() -> None:
    votes = [candidate(0, "1", 0.2), candidate(1, "1", 0.2), candidate(2, "2", 0.9)]
    assert rank(votes, "weighted")[0].answer == "2"
    assert rank(votes, "majority")[0].answer == "1"


def test_votes_work_without_scores() -> None:
    votes = [candidate(0, "1", None), candidate(1, "2", None), candidate(2, "2", None)]
    assert rank(votes, "majority")[0].path == (1,)


def test_an_empty_box_is_no_vote() -> None:
    votes = [candidate(0, "", 0.2), candidate(1, "", 0.2), candidate(2, "2", 0.1)]
    assert rank(votes, "majority")[0].path == (2,)


@pytest.mark.parametrize("selection", ["majority", "weighted"])
def test_one_announced_answer_overrules_all_last_numbers(selection: Selection) -> None:
    guesses = [candidate(index, "7", 0.9, is_announced=False) for index in range(3)]
    votes = [*guesses, candidate(3, "5", 0.1)]
    ranking = make_ranking(votes, selection)
    assert ranking.candidates[0].answer == "5"
    weight = 1.0 if selection == "majority" else 0.1
    assert ranking.votes == (Vote(answer="5", weight=weight, paths=((3,),)),)
    assert (ranking.is_guessed, ranking.warning) == (False, None)


def test_a_last_number_adds_nothing_to_an_announced_answer() -> None:
    votes = [
        *(candidate(index, "5", 0.9, is_announced=False) for index in range(3)),
        candidate(3, "5", 0.1),
        candidate(4, "6", 0.1),
        candidate(5, "6", 0.1),
    ]
    assert rank(votes, "majority")[0].answer == "6"


def test_last_numbers_vote_where_no_answer_is_announced() -> None:
    votes = [
        candidate(index, answer, 0.5, is_announced=False) for index, answer in enumerate("566")
    ]
    ranking = make_ranking([*votes, candidate(3, None, 0.9), candidate(4, "", 0.9)], "majority")
    assert ranking.candidates[0].path == (1,)
    assert ranking.is_guessed
    assert "last numbers" in str(ranking.warning)


@pytest.mark.parametrize("selection", ["majority", "weighted"])
def test_a_vote_without_an_answer_says_so(selection: Selection) -> None:
    votes = [candidate(0, None, 0.1), candidate(1, "", 0.2), candidate(2, "5", 0.3, "length")]
    ranking = make_ranking(votes, selection)
    assert ranking.is_undecided
    assert "none of 3 candidates has an answer" in str(ranking.warning)
    assert ranking.candidates[0].path == (1,)
    assert make_ranking(votes, "best").warning is None
    assert make_ranking([*votes, candidate(3, "5", 0.0)], selection).warning is None


def test_votes_of_beams_follow_the_same_rule() -> None:
    guesses = [beam(index, "7", is_announced=False) for index in range(3)]
    assert count_votes([*guesses, beam(3, None)]) == ({"7": 3}, False)
    assert count_votes([*guesses, beam(3, "5"), beam(4, "5")]) == ({"5": 2}, True)
    assert count_votes([]) == ({}, False)


def test_agreement_waits_for_announced_answers() -> None:
    """Any number of last numbers would be overruled by the one answer that may still come."""
    policy = SelfConsistency(n=6, wave_size=5, stopping="agreement", confidence=0.95)
    guesses = [beam(index, "7", is_announced=False) for index in range(5)]
    assert policy.expand(guesses, [])
    assert not policy.expand([beam(index, "7") for index in range(5)], [])
    mixed = [*guesses[:2], *(beam(index, "7") for index in (2, 3)), beam(4, "8")]
    assert policy.expand(mixed, [])


def test_ties_go_to_the_score_then_to_the_path() -> None:
    votes = [candidate(0, "1", 0.2), candidate(1, "2", 0.4), candidate(2, "3", 0.4)]
    assert [c.path[0] for c in rank(votes, "majority")] == [1, 2, 0]


@pytest.mark.parametrize(
    ("rule", "score"), [("last", 0.5), ("min", 0.2), ("prod", 0.08), ("mean", 0.5), ("model", 0.5)]
)
def test_aggregation(rule: Aggregation, score: float) -> None:
    assert aggregate([0.8, 0.2, 0.5], rule) == score


def test_a_model_that_aggregates_reads_each_path_as_one_step() -> None:
    asked: list[tuple[str, ...]] = []

    def score(problem: str, steps: Sequence[str]) -> float:
        asked.append(tuple(steps))
        return 1 / (1 + len(steps[-1]))

    generator, config = FakeGenerator(), SearchConfig(n=4, beam_width=2, aggregation="model")
    with FastTTS(generator, FakeVerifier(score)) as engine:
        for search in ("beam_search", "best_of_n"):
            result = engine.search("two", config=config, search=search)
            for each in result.candidates:
                whole = each.text.strip()
                assert each.score == each.steps[-1].score == on_grid(1 / (1 + len(whole)))
    assert asked
    assert all(len(steps) == 1 for steps in asked)


@pytest.mark.parametrize("rule", AGGREGATIONS)
@given(
    scores_S=st.lists(st.floats(0, 1), max_size=12),
    further_S=st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_no_further_steps_beat_the_best_aggregate(
    rule: Aggregation, scores_S: list[float], further_S: list[float]
) -> None:
    total = aggregate([*scores_S, *further_S], rule)
    assert 0 <= total <= best_aggregate(scores_S, rule, len(further_S)) <= 1
    assert aggregate([], rule) == 0
    assert total == round(total, 4)


@pytest.mark.parametrize(("end", "answer"), [("<think>\n", None), ("</think>\n", "5"), ("", "5")])
def test_a_prompt_that_opens_thoughts_leaves_a_text_in_them(end: str, answer: str | None) -> None:
    generator = FakeGenerator()
    tokenizer, policy = generator.tokenizer, make_policy(SearchConfig(search="best_of_n", n=2))

    def reader(extract: Extractor | None) -> AnswerReader:
        request = SearchRequest(
            prompt_token_ids=tokenizer.encode(f"1 + 4? {end}"),
            problem="1 + 4?",
            config=SearchConfig(search="best_of_n", n=2),
            uses_verifier=False,
            extract=extract,
        )
        run = SearchRun(request, policy, tokenizer, max_model_len=100, priority=0)
        return run.beams.reader

    assert reader(None)(r"\boxed{5}") == answer
    assert reader(str.strip)(r"\boxed{5}") == ("" if answer is None else r"\boxed{5}")
    assert reader(None)(r"\boxed{6}</think>\boxed{5}") == "5"
