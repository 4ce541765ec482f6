"""Labels of steps: beginnings of rollouts, soft and hard labels, early stop, exactness."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig
from fasttts.decoding.steps import StepRule
from fasttts.evaluation import AnswerJudge, Problem
from fasttts.interfaces import GenerationRequest
from fasttts.prm import Labeling, LabelRecord, LabelRule, known_target, read_labels, rollout_config
from fasttts.prm.prefixes import PrefixTree, prefixes_of
from fasttts.types import Candidate
from tests.searches import UNTIMED

PROBLEMS = [Problem(id=f"p{n}", text=f"How much is {n}?", answer="7") for n in range(5)]


class ByLength(AnswerJudge):
    """A checker that any text may satisfy: answers of the random model are never the known one."""

    def right(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[bool]:
        return [len(candidate.text) % 3 == 0 for candidate in candidates]


def labelled(
    rule: LabelRule,
    scheduling: SchedulingConfig = UNTIMED,
    *,
    max_tokens: int = 300,
    generator: FakeGenerator | None = None,
    max_in_flight: int = 4,
) -> list[LabelRecord]:
    """The records of all problems, without their costs."""
    models = generator or FakeGenerator(), FakeVerifier()
    with FastTTS(*models, scheduling=scheduling) as engine:
        labeling = Labeling(
            engine=engine,
            problems=PROBLEMS,
            config=rollout_config(seed=3, max_tokens=max_tokens),
            rule=rule,
            judge=ByLength(),
            max_in_flight=max_in_flight,
        )
        records = sorted(labeling.run(), key=lambda record: record.index)
    assert [record.index for record in records] == list(range(len(PROBLEMS)))
    return records


def rows(records: Sequence[LabelRecord]) -> list[dict[str, object]]:
    return [
        {name: value for name, value in record.to_dict().items() if name != "run"}
        for record in records
    ]


def candidate(text: str, *, is_complete: bool = True) -> Candidate:
    return Candidate(
        path=(0,),
        text=text,
        steps=(),
        score=None,
        answer=None,
        finish_reason="stop" if is_complete else "length",
        num_tokens=len(text),
    )


def test_labels_count_continuations_and_rollouts_are_the_first() -> None:
    rule = LabelRule(num_rollouts=4, num_continuations=6)
    for record in labelled(rule):
        assert len(record.rollouts) == rule.num_rollouts
        for rollout in record.rollouts:
            *inner, last = rollout.steps
            assert (last.num_right > 0, last.soft) == (rollout.is_right, float(rollout.is_right))
            for step in inner:
                assert step.num_continuations == rule.num_continuations
                assert step.soft == step.num_right / step.num_continuations
                assert step.hard == (step.num_right > 0)
                assert step.hard or not rollout.is_right


def test_outcomes_alone_are_labels_that_sample_nothing_more() -> None:
    """With one continuation each step is labelled by the rollouts that it stands in."""
    for record in labelled(LabelRule(num_rollouts=4, num_continuations=1)):
        beginnings = [
            tuple(step.text for step in rollout.steps[:number])
            for rollout in record.rollouts
            for number in range(1, len(rollout.steps))
        ]
        for rollout in record.rollouts:
            texts = tuple(step.text for step in rollout.steps)
            for number, step in enumerate(rollout.steps[:-1], 1):
                assert step.num_continuations == beginnings.count(texts[:number])
            if all(beginnings.count(texts[:n]) == 1 for n in range(1, len(texts))):
                assert {step.soft for step in rollout.steps} <= {float(rollout.is_right)}
    more = labelled(LabelRule(num_rollouts=4, num_continuations=2))
    fewer = labelled(LabelRule(num_rollouts=4, num_continuations=1))
    tokens = [sum(record.run.generated_tokens for record in each) for each in (fewer, more)]
    assert tokens[0] < tokens[1]


def test_labels_are_a_function_of_problem_and_seed() -> None:
    """Slots, speculation, problems at a time and preemption change none."""
    rule = LabelRule(num_rollouts=3, num_continuations=5)
    expected = rows(labelled(rule))
    assert rows(labelled(rule, PLAIN, max_in_flight=1)) == expected
    assert rows(labelled(rule, generator=FakeGenerator(max_num_seqs=3))) == expected
    assert rows(labelled(rule, generator=FakeGenerator(num_blocks=60))) == expected
    with FastTTS(FakeGenerator(), scheduling=UNTIMED) as engine:
        config = rollout_config(seed=3, max_tokens=300)
        alone = Labeling(
            engine=engine, problems=PROBLEMS, config=config, rule=rule, judge=ByLength()
        )
        assert rows([alone.label(2)]) == expected[2:3]
        assert rows(sorted(alone.run(done={0, 1, 2, 4}), key=lambda r: r.index)) == expected[3:4]


@pytest.mark.parametrize(("max_waiting", "max_in_flight"), [(1, 4), (3, 2), (5, 64)])
def test_problems_in_work_never_overload_the_engine(max_waiting: int, max_in_flight: int) -> None:
    rule = LabelRule(num_rollouts=4, num_continuations=3)
    scheduling = UNTIMED.model_copy(update={"max_waiting": max_waiting})
    generator = FakeGenerator(max_num_seqs=2)
    found = labelled(rule, scheduling, generator=generator, max_in_flight=max_in_flight)
    assert rows(found) == rows(labelled(rule))


def test_stopping_early_changes_no_hard_label_and_samples_less() -> None:
    soft = labelled(LabelRule(num_rollouts=4, num_continuations=9))
    hard = labelled(LabelRule(num_rollouts=4, num_continuations=9, target="hard"))
    for a, b in zip(soft, hard, strict=True):
        for one, other in zip(a.rollouts, b.rollouts, strict=True):
            assert [s.text for s in one.steps] == [s.text for s in other.steps]
            assert [s.hard for s in one.steps] == [s.hard for s in other.steps]
            for step in other.steps:
                assert step.soft is not None or step.hard
                assert step.num_continuations == 9 or step.hard or step is other.steps[-1]
    tokens = [sum(record.run.generated_tokens for record in records) for records in (soft, hard)]
    assert tokens[1] < 0.7 * tokens[0]
    assert (known_target(soft), known_target(hard)) == ("soft", "hard")


def test_steps_are_those_that_a_search_scores() -> None:
    config = rollout_config(seed=1, n=1)
    with FastTTS(FakeGenerator(), scheduling=UNTIMED) as engine:
        for text in ("a", "b", "c"):
            found = engine.search(text, config=config, n=6).candidates
            for one in found:
                steps = [prefix.steps[-1] for prefix in prefixes_of(one, config.step_rule)]
                assert steps == [step.text for step in one.steps]


def test_beginnings_that_rollouts_share_are_one() -> None:
    texts = ["a\n\nb\n\nc", "a\n\nb\n\nd", "a\n\nx\n\n", "a\n\nb"]
    tree = PrefixTree([candidate(text) for text in texts], [True, False, False, True], StepRule())
    verdicts = {(p.text, p.is_whole): p.verdicts for p in tree.prefixes}
    assert verdicts == {
        ("a\n\n", False): [True, False, False, True],
        ("a\n\nb\n\n", False): [True, False],
        ("a\n\nb\n\nc", True): [True],
        ("a\n\nb\n\nd", True): [False],
        ("a\n\nx\n\n", True): [False],
        ("a\n\nb", True): [True],
    }
    first = tree.prefixes[0]
    assert first.waves(LabelRule(num_continuations=4)) == []
    assert first.waves(LabelRule(num_continuations=13)) == [4, 4, 1]
    assert first.waves(LabelRule(num_continuations=13, target="hard")) == []


def test_a_step_that_a_cap_cut_has_no_label() -> None:
    whole, cut = (
        [p.steps[-1] for p in prefixes_of(candidate("a\n\nb\n\nc", is_complete=done), StepRule())]
        for done in (True, False)
    )
    assert (whole, cut) == (["a", "b", "c"], ["a", "b"])
    (only,) = prefixes_of(candidate("a\n\n", is_complete=False), StepRule())
    assert not only.is_whole


def test_a_beginning_that_fills_the_answer_is_not_continued() -> None:
    for record in labelled(LabelRule(num_rollouts=6, num_continuations=3), max_tokens=24):
        assert record.error is None
        for rollout in record.rollouts:
            for step in rollout.steps:
                assert step.num_continuations >= 1


def test_a_problem_that_does_not_fit_is_recorded_and_others_go_on() -> None:
    problems = [PROBLEMS[0], Problem(id="long", text="x" * 5000, answer="7"), PROBLEMS[1]]
    with FastTTS(FakeGenerator(), scheduling=UNTIMED) as engine:
        labeling = Labeling(
            engine=engine,
            problems=problems,
            config=rollout_config(max_tokens=50),
            rule=LabelRule(num_rollouts=2, num_continuations=1),
        )
        found = {record.index: record for record in labeling.run()}
    assert [len(found[index].rollouts) for index in range(3)] == [2, 0, 2]
    assert "the context 4096: shorten the prompt" in str(found[1].error)


def test_closing_ends_the_work_and_leaves_the_engine_usable() -> None:
    with FastTTS(FakeGenerator(), scheduling=UNTIMED) as engine:
        labeling = Labeling(engine=engine, problems=PROBLEMS, config=rollout_config(max_tokens=99))
        running = labeling.run()
        next(running)
        running.close()
        assert engine.search("more", search="none").text
        assert labeling.label(0).rollouts
    with FastTTS(FakeGenerator(), scheduling=UNTIMED) as engine:
        limited = Labeling(
            engine=engine, problems=PROBLEMS, config=rollout_config(max_tokens=99), seconds=1e-9
        )
        assert list(limited.run()) == []
        assert limited.is_cut_short


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_tokens": 8}, "step_tokens=8: labels need steps"),
        ({"temperature": 0}, "rollouts have to differ"),
        ({"temperatur": 1}, "did you mean 'temperature'"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rollout_config(**options)


def test_files_are_read_as_far_as_they_are_whole(tmp_path: Path) -> None:
    records = labelled(LabelRule(num_rollouts=2, num_continuations=2))
    lines = [record.to_json() for record in records]
    file = tmp_path / "labels.jsonl"
    header = '{"kind": "fasttts-label", "version": 1}'
    file.write_text("\n".join([header, *reversed(lines), lines[0][:50]]), encoding="utf-8")
    assert read_labels(file) == records
    for content, message in {
        "": "holds no labels",
        f"{header}\n": "holds no labels",
        "{}\n": "line 1: .* is no line of",
        f"{header}\nnotes\n": "line 2",
    }.items():
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=message):
            read_labels(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_labels(tmp_path)


def test_files_in_one_and_last_lines_without_an_end_are_read(tmp_path: Path) -> None:
    """A header is told from a record by what it is, not by a text in it."""
    records = labelled(LabelRule(num_rollouts=2, num_continuations=2))
    records[0] = replace(records[0], problem="fasttts-label")
    lines = [record.to_json() for record in records]
    header = '{"kind": "fasttts-label", "version": 1}'
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join([*lines[:2], header, *lines[2:]]), encoding="utf-8")
    assert read_labels(file) == records
    file.write_text(header.replace("1", "9") + "\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="line 1: labels of version 9"):
        read_labels(file)


def test_rollouts_that_ended_no_step_are_no_labels(tmp_path: Path) -> None:
    records = labelled(LabelRule(num_rollouts=1, num_continuations=1))
    cut = [
        replace(record, rollouts=tuple(replace(each, steps=()) for each in record.rollouts))
        for record in records
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(record.to_json() + "\n" for record in cut), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="higher --max-tokens"):
        read_labels(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"soft": 1.25}, "soft=1.25 is no share"),
        ({"soft": float("nan")}, "soft=nan is no share"),
        ({"num_right": -1}, "-1 of 3 cannot be right"),
        ({"num_right": 4}, "4 of 3 cannot be right"),
        ({"num_right": 0, "num_continuations": 0, "hard": False}, "0 of 0 cannot be right"),
        ({"hard": False}, "hard=False contradicts num_right=2"),
    ],
)
def test_labels_that_cannot_be_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    step = {"text": "a", "num_right": 2, "num_continuations": 3, "soft": 2 / 3, "hard": True}
    rollout = {"steps": [step | change], "answer": None, "is_right": True}
    record = {
        "index": 0,
        "problem": "p",
        "text": "p",
        "rollouts": [rollout],
        "num_prefixes": 1,
        "error": None,
        "run": {"elapsed_s": 0.0, "generated_tokens": 1},
    }
    file = tmp_path / "labels.jsonl"
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"line 1: .*{message}"):
        read_labels(file)


def test_no_two_samples_of_a_problem_share_their_noise() -> None:
    """Continuations of one beginning differ from each other and from the rollouts."""
    seeds: list[int] = []

    class Spy(FakeGenerator):
        def add(self, request: GenerationRequest) -> None:
            seeds.append(request.seed)
            super().add(request)

    labelled(LabelRule(num_rollouts=3, num_continuations=6), PLAIN, generator=Spy())
    assert len(set(seeds)) == len(seeds)
