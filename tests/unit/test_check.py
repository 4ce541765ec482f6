"""What a check measures, on fake models: each measurement by itself, then all within a limit."""

import itertools
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.check import Check, CheckProblem, Deadline, Report, make_report, word_problems
from fasttts.check.lengths import length_quantile
from fasttts.check.quality import Graded, accuracy, separation, solvable, tied_share
from fasttts.check.sampling import Sampler, sampling_order
from fasttts.check.scoring import score_all
from fasttts.check.speed import NUM_SEQUENCES, Speed, fitting_batch, measure_speed, rate
from fasttts.check.step_rules import SENTENCE, compare_rules, split_steps, suiting_rule
from fasttts.check.template import examine_template
from fasttts.config import SearchConfig, search_config
from fasttts.decoding.patterns import compile_pattern
from fasttts.errors import ConfigurationError
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.types import Candidate, FinishReason, Message
from tests.searches import UNTIMED

CONFIG = SearchConfig(search="best_of_n", n=1)
PROBLEMS = word_problems(0, 4)


class Clock:
    """Time that passes only as a test says, or by a fixed amount whenever somebody looks."""

    def __init__(self, tick_s: float = 0.0) -> None:
        self.now_s = 0.0
        self._tick_s = tick_s

    def __call__(self) -> float:
        self.now_s += self._tick_s
        return self.now_s


def fake_engine(generator: FakeGenerator | None = None, *, verifies: bool = True) -> FastTTS:
    verifier = FakeVerifier() if verifies else None
    return FastTTS(generator or FakeGenerator(), verifier, scheduling=UNTIMED)


# --- problems -------------------------------------------------------------------------------------


def test_word_problems_are_seeded_and_different() -> None:
    problems = word_problems(3, 40)
    assert problems[:5] == word_problems(3, 5)
    assert problems != word_problems(4, 40)
    assert len({problem.text for problem in problems}) == 40


def test_answers_of_word_problems_are_right() -> None:
    """Two kinds of story, solved again from their texts."""
    numbers = [[int(n) for n in re.findall(r"\d+", p.text)] for p in word_problems(0, 12)]
    answers = [int(p.answer or "") for p in word_problems(0, 12)]
    count, price, note = numbers[1]
    assert answers[1] == note - count * price
    pages, days, left = numbers[7]
    assert answers[7] == pages * days + left
    assert all(int(p.answer or "") > 0 for p in word_problems(1, 200))


# --- template -------------------------------------------------------------------------------------


class Selective(FakeTokenizer):
    """A template that leaves tools out and refuses system messages."""

    def encode_chat(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        if messages[0]["role"] == "system":
            raise ConfigurationError("no system message, please")
        return super().encode_chat(messages)


class Thinking(FakeTokenizer):
    def encode_chat(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        return [*super().encode_chat(messages, tools), *self.encode("<think>\n")]


def test_the_template_is_examined_by_rendering() -> None:
    generator = FakeGenerator()
    found = examine_template(generator)
    assert (found.system, found.tools, found.tool_replies) == ("rendered",) * 3
    assert not found.opens_thoughts
    generator.tokenizer = Selective()
    found = examine_template(generator)
    assert (found.system, found.tools) == ("refused", "ignored")
    generator.tokenizer = Thinking()
    assert examine_template(generator).opens_thoughts


# --- speed ----------------------------------------------------------------------------------------


def speed(num_sequences: float, tokens_per_s: float) -> Speed:
    return Speed(
        wanted=int(num_sequences),
        num_sequences=num_sequences,
        num_tokens=int(tokens_per_s * 10),
        seconds=10.0,
    )


@pytest.mark.parametrize(
    ("num_sequences", "expected"), [(1, 10), (16, 80), (4, 80**0.5 * 10**0.5), (64, 80), (1000, 80)]
)
def test_rates_between_and_beyond_measured_ones(num_sequences: int, expected: float) -> None:
    assert rate([speed(1, 10), speed(16, 80)], num_sequences) == pytest.approx(expected)


def test_no_rate_without_a_measurement() -> None:
    assert rate([], 4) is None
    assert fitting_batch([], 100, 10.0, 64) == 1


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1.0, 1), (25.6, 1), (51.3, 16), (102.5, 32), (1000.0, 64)]
)
def test_the_batch_that_ends_in_time(seconds: float, expected: int) -> None:
    speeds = [speed(1, 10), speed(16, 80)]
    assert fitting_batch(speeds, 256, seconds, 64) == expected


def test_speed_counts_the_tokens_of_the_engine() -> None:
    with fake_engine() as engine:
        found = measure_speed(engine, 16, Deadline(30.0))
        assert found is not None
        assert found.num_tokens == engine.usage.generated_tokens > 16
        assert 1 < found.num_sequences <= 16
        assert not found.is_cut


def test_no_speed_without_time() -> None:
    with fake_engine() as engine:
        assert measure_speed(engine, 16, Deadline(0.0)) is None
        assert engine.usage.generated_tokens == 0


# --- samples --------------------------------------------------------------------------------------


def test_siblings_are_drawn_in_small_groups() -> None:
    assert sampling_order(2, 3) == [0, 0, 0, 1, 1, 1]
    assert sampling_order(2, 6) == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1]


def test_samples_are_those_of_a_search() -> None:
    with fake_engine() as engine:
        order = sampling_order(4, 2)
        found = list(Sampler(engine, PROBLEMS, CONFIG, None).sample(order, 3, Deadline(60.0)))
        again = list(Sampler(engine, PROBLEMS, CONFIG, None).sample(order, 8, Deadline(60.0)))
    assert sorted(sample.problem for sample in found) == sorted(order)
    assert {sample.text for sample in found} == {sample.text for sample in again}
    assert {sample.ending for sample in found} == {"stop"}
    assert all(sample.is_announced and sample.num_tokens > 0 for sample in found)


def test_a_sample_that_is_cut_says_so() -> None:
    with fake_engine() as engine:
        config = search_config(CONFIG, max_tokens=2)
        found = list(Sampler(engine, PROBLEMS, config, None).sample([0] * 4, 4, Deadline(60.0)))
    assert "length" in {sample.ending for sample in found}


def test_samples_in_flight_at_the_deadline_are_kept_as_far_as_they_came() -> None:
    """Every look at the clock takes some time; answers of this model have no end."""
    generator = FakeGenerator(
        lambda prompt: "a" * 100_000, max_model_len=200_000, num_blocks=50_000
    )
    with fake_engine(generator) as engine:
        config = search_config(CONFIG, max_tokens=100_000, max_step_tokens=100_000)
        deadline = Deadline(0.6, Clock(tick_s=0.05))
        sampler = Sampler(engine, PROBLEMS, config, None)
        found = list(sampler.sample([0, 1, 2, 3], 2, deadline))
    assert [(sample.problem, sample.ending) for sample in found] == [(0, "time"), (1, "time")]
    assert all(set(sample.text) <= {"a"} for sample in found)


# --- steps ----------------------------------------------------------------------------------------

LINES = "\n".join(f"This is line number {n} of all." for n in range(6))
PARAGRAPHS = LINES.replace("\n", "\n\n")
SENTENCES = LINES.replace("\n", " ")
ONE = "word " * 60


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PARAGRAPHS, "a blank line"),
        (LINES, "a line"),
        (SENTENCES, "a sentence"),
        (ONE, "48 tokens"),
    ],
)
def test_the_first_rule_that_suits_is_proposed(text: str, name: str) -> None:
    found = suiting_rule(compare_rules([text] * 4, FakeTokenizer(), SearchConfig()))
    assert found is not None
    assert found.name == name
    assert 3 <= found.num_steps <= 15
    config = search_config(**found.options)
    assert len(split_steps(text, config, FakeTokenizer())) == found.num_steps


def test_short_answers_have_no_rule() -> None:
    rules = compare_rules(["42"] * 4, FakeTokenizer(), SearchConfig())
    assert suiting_rule(rules) is None
    assert rules[0].single_share == 1.0
    assert compare_rules([" "], FakeTokenizer(), SearchConfig()) == []


def test_thoughts_are_a_rule_where_answers_have_them() -> None:
    text = f"<think>{PARAGRAPHS}</think>The answer is 6."
    names = [rule.name for rule in compare_rules([text], FakeTokenizer(), SearchConfig())]
    assert names[:2] == ["a blank line", "thoughts alone"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"step_tokens": 32}, ["32 tokens", "a blank line", "a line"]),
        ({"step_pattern": "END"}, ["the pattern END", "a blank line", "a line"]),
        ({"step_separator": "\n"}, ["the separator '\\n'", "a blank line", "a line"]),
    ],
)
def test_the_measured_rule_comes_first(options: dict[str, Any], names: list[str]) -> None:
    config = SearchConfig(**options)
    rules = compare_rules([PARAGRAPHS], FakeTokenizer(), config)
    assert [rule.name for rule in rules][:3] == names
    assert rules[0].options == {}
    assert all(search_config(config, **rule.options) for rule in rules)


def test_steps_that_are_cut_are_counted() -> None:
    config = SearchConfig(max_step_tokens=20)
    assert compare_rules([PARAGRAPHS], FakeTokenizer(), config)[0].cut_share == 1.0


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("It is 5. So", [9]),
        ("It is 3.5 now", []),
        ("1. First", []),
        ("Well.\n2. Second", [6]),
        ("Really? Yes! ", [8, 13]),
    ],
)
def test_ends_of_sentences(text: str, ends: list[int]) -> None:
    assert [match.end() for match in compile_pattern(SENTENCE).finditer(text)] == ends


# --- scores ---------------------------------------------------------------------------------------


class SlowVerifier(FakeVerifier):
    """Takes a second for each answer."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.sizes: list[int] = []

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        self._clock.now_s += len(requests)
        self.sizes.append(len(requests))
        return super().score(requests)


@pytest.mark.parametrize(("limit_s", "num_scored"), [(0.0, 0), (3.5, 3), (1000.0, 50)])
def test_scoring_keeps_the_deadline(limit_s: float, num_scored: int) -> None:
    clock = Clock()
    verifier = SlowVerifier(clock)
    requests = [VerificationRequest(problem="p", steps=(str(n), "b")) for n in range(50)]
    found = list(itertools.chain(*score_all(verifier, requests, Deadline(limit_s, clock))))
    assert [number for number, _ in found] == list(range(num_scored))
    assert all(len(scores) == 2 for _, scores in found)
    assert clock.now_s <= limit_s


def test_scoring_takes_more_at_once_where_there_is_time() -> None:
    clock = Clock()
    verifier = SlowVerifier(clock)
    requests = [VerificationRequest(problem="p", steps=("a",))] * 50
    list(score_all(verifier, requests, Deadline(1000.0, clock)))
    assert verifier.sizes == [1, 32, 17]


# --- quality --------------------------------------------------------------------------------------


def graded(
    problem: int,
    number: int,
    answer: str | None,
    score: float | None,
    *,
    right: str = "1",
    finish_reason: FinishReason = "stop",
) -> Graded:
    candidate = Candidate(
        path=(number,),
        text=f"text {number}",
        steps=(),
        score=score,
        answer=answer,
        finish_reason=finish_reason,
        num_tokens=3,
    )
    return Graded(problem=problem, candidate=candidate, is_right=answer == right)


def test_accuracy_is_a_mean_over_subsets() -> None:
    """Of three samples one is right, and scored highest."""
    group = [graded(0, 0, "1", 0.9), graded(0, 1, "2", 0.5), graded(0, 2, "3", 0.1)]
    assert accuracy(group, 1, "best") == pytest.approx(1 / 3)
    assert accuracy(group, 2, "best") == pytest.approx(2 / 3)
    assert accuracy(group, 3, "best") == 1.0
    assert solvable(group, 2) == pytest.approx(2 / 3)
    assert accuracy(group, 4, "best") is None
    assert solvable(group, 4) is None


def test_majority_counts_equal_answers_and_no_scores() -> None:
    group = [graded(0, 0, "2", 0.9), graded(0, 1, "1", 0.1), graded(0, 2, "1", 0.1)]
    assert accuracy(group, 3, "majority") == 1.0
    assert accuracy(group, 3, "best") == 0.0
    assert accuracy(group, 2, "majority") == pytest.approx(1 / 3), "ties go to the first"


def test_problems_with_too_few_samples_do_not_count() -> None:
    group = [graded(0, 0, "1", 0.5), graded(0, 1, "1", 0.5), graded(1, 2, "2", 0.5)]
    assert accuracy(group, 2, "majority") == 1.0
    assert accuracy(group, 1, "majority") == 0.5


def scored(pairs: Sequence[tuple[float, float]]) -> list[Graded]:
    """Problems with two right and two wrong answers each, of the given scores."""
    return [
        graded(problem, 4 * problem + number, answer, score)
        for problem, (high, low) in enumerate(pairs)
        for number, (answer, score) in enumerate([("1", high), ("1", high), ("2", low), ("2", low)])
    ]


def test_separation_of_scores() -> None:
    perfect = separation(scored([(0.9, 0.1)] * 6))
    assert perfect is not None
    assert (perfect.auc, perfect.low, perfect.high, perfect.within) == (1.0, 1.0, 1.0, 1.0)
    assert perfect.is_proven
    none = separation(scored([(0.5, 0.5)] * 6))
    assert none is not None
    assert (none.auc, none.is_proven) == (0.5, False)
    mixed = separation(scored([(0.9, 0.1), (0.1, 0.9)] * 4))
    assert mixed is not None
    assert mixed.low < 0.5 < mixed.high
    assert not mixed.is_proven


def test_separation_within_problems_differs_from_that_between_them() -> None:
    """Scores that tell hard problems from easy ones choose no answer."""
    easy = [graded(p, 10 * p + n, "1" if n < 3 else "2", 0.9) for p in range(4) for n in range(4)]
    hard = [
        graded(p, 10 * p + n, "1" if n < 1 else "2", 0.1) for p in range(4, 8) for n in range(4)
    ]
    found = separation([*easy, *hard])
    assert found is not None
    assert found.within == 0.5
    assert found.auc > 0.6


def test_separation_needs_answers_of_both_kinds() -> None:
    assert separation(scored([(0.9, 0.1)] * 2)) is None
    assert separation([graded(p, p, "1", 0.5) for p in range(20)]) is None


def test_ties_are_those_of_siblings() -> None:
    assert tied_share(scored([(0.9, 0.1)])) == pytest.approx(2 / 6)
    assert tied_share([graded(0, 0, "1", 0.5), graded(1, 1, "1", 0.5)]) is None


@pytest.mark.parametrize(
    ("lengths", "share", "expected"),
    [
        ([(n, True) for n in range(1, 21)], 0.95, 19),
        ([(n, True) for n in range(1, 21)], 0.5, 10),
        ([(10, True)] * 9 + [(100, False)], 0.95, None),
        ([(10, True)] * 9 + [(100, False)], 0.5, 10),
        ([(5, False)] * 10 + [(10, True)] * 10, 0.95, 10),
        ([], 0.95, None),
    ],
)
def test_lengths_of_which_some_are_cut(
    lengths: list[tuple[int, bool]], share: float, expected: int | None
) -> None:
    assert length_quantile(lengths, share) == expected


# --- all of it ------------------------------------------------------------------------------------


def checked(
    engine: FastTTS, deadline: Deadline, problems: Sequence[CheckProblem] = PROBLEMS, **others: Any
) -> Report:
    check = Check(engine, problems, CONFIG, system=None, deadline=deadline, **others)
    check.run()
    return make_report(check.measured, latency_s=10.0)


def test_a_check_measures_everything() -> None:
    with fake_engine() as engine:
        report = checked(engine, Deadline(600.0))
    summary = report.summary
    assert [found.wanted for found in report.speeds] == list(NUM_SEQUENCES)
    assert (summary.num_ended, summary.num_scored, summary.num_timed_out) == (32, 32, 0)
    assert [row.k for row in summary.accuracies] == [1, 2, 4, 8]
    assert len(summary.score_quantiles) == 5
    assert not any(finding.is_partial for finding in report.findings)
    assert Report.from_json(report.to_json()) == report
    sections = list(dict.fromkeys(finding.section for finding in report.findings))
    wanted = ["Memory", "Speed", "Template", "Steps", "Answers", "Accuracy", "Verifier"]
    assert sections == wanted


def test_a_check_without_a_verifier_names_the_judge() -> None:
    with fake_engine(verifies=False) as engine:
        report = checked(engine, Deadline(600.0))
    assert report.verifier is None
    assert report.summary.num_scored == 0
    (finding,) = [found for found in report.findings if found.section == "Verifier"]
    assert "--verifier judge" in finding.advice


def test_a_check_ends_with_its_time_and_marks_what_is_missing() -> None:
    """Every look at the clock takes a second, and there are only a few."""
    clock = Clock(tick_s=1.0)
    with fake_engine() as engine:
        report = checked(engine, Deadline(40.0, clock))
    assert clock.now_s < 60.0
    assert report.summary.num_ended < 32
    partial = {finding.name for finding in report.findings if finding.is_partial}
    assert "samples" in partial


def test_a_check_without_any_time_still_reports() -> None:
    with fake_engine() as engine:
        report = checked(engine, Deadline(1e-9))
    assert report.speeds == ()
    assert report.summary.num_ended == 0
    verdicts = {finding.name: finding.verdict for finding in report.findings}
    assert verdicts["1 sequence"] == verdicts["scores"] == "unknown"
    assert verdicts["system messages"] == "fine"
    assert report.suggestion.expected_s is None


def is_idle(engine: FastTTS) -> bool:
    """Whether everything in flight ends soon; a cancelled search does in the next iteration."""
    until_s = time.monotonic() + 30.0
    while engine.stats().gauges.num_running and time.monotonic() < until_s:
        time.sleep(0.01)
    return engine.stats().gauges.num_running == 0


@pytest.mark.parametrize("stage", ["rendering", "speed of 16", "answers: 5", "scores: 1 "])
def test_an_interrupt_keeps_what_is_known(stage: str) -> None:
    def interrupt(name: str) -> None:
        if name.startswith(stage):
            raise KeyboardInterrupt

    with fake_engine() as engine:
        report = checked(engine, Deadline(600.0), on_stage=interrupt)
        assert is_idle(engine)
    assert report.is_interrupted
    assert (report.template is None) == (stage == "rendering")
    assert report.summary.num_ended == {"answers: 5": 5, "scores: 1 ": 32}.get(stage, 0)
    assert (report.summary.num_scored > 0) == stage.startswith("scores")


def test_problems_without_answers_are_not_graded() -> None:
    problems = [CheckProblem(text=problem.text) for problem in PROBLEMS]
    with fake_engine() as engine:
        report = checked(engine, Deadline(600.0), problems)
    assert report.summary.num_graded == 0
    assert report.summary.separation is None
    assert report.summary.tied_share is not None
