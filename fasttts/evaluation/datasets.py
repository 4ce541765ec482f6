"""Problems by name: those of the demonstration models, data sets of reasoning-gym, and files."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttts.answers.equality import answers_equal
from fasttts.code import call_tests
from fasttts.config.validation import did_you_mean
from fasttts.demo.problems import Split, generate_problems
from fasttts.demo.programs import generate_program_problems
from fasttts.errors import ConfigurationError
from fasttts.evaluation.grading import AnswerJudge, Judge
from fasttts.evaluation.problem_file import read_problems, sample
from fasttts.evaluation.problems import Problem
from fasttts.types import Candidate

DEMO = "demo"
PROGRAMS = "programs"
GYM_PREFIX = "reasoning-gym:"
_OPERATIONS = {DEMO: (4, 8), PROGRAMS: (2, 4)}
"""Fewest and most operations of a problem, unless the user says otherwise."""

_FILE = "a file"
_GENERATED = f"{DEMO} and {PROGRAMS}"
_GYM = f"{GYM_PREFIX}NAME"
_DEFAULT_COUNT = 100
_FULL_MARKS = 1.0
_FIELDS_HINT = " (--problem-field and --answer-field name other fields)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSet:
    """Problems, and who decides about answers to them.

    Attributes:
        name: The file or the data set.
        problems: The problems.
        judge: Decides about answers; programs need a judge of their own.
        note: What a user should know about the set; None for nothing.
    """

    name: str
    problems: tuple[Problem, ...]
    judge: Judge
    note: str | None = None


def load_problems(
    name: str,
    *,
    count: int | None = None,
    seed: int = 0,
    problem_field: str | None = None,
    answer_field: str | None = None,
    min_operations: int | None = None,
    max_operations: int | None = None,
    own_scoring: bool = False,
    split: Split = "test",
) -> ProblemSet:
    """Loads problems.

    Args:
        name: "demo", "programs", "reasoning-gym:NAME", or a file.
        count: How many; None takes all of a file, and 100 of a generated set.
        seed: Draws the problems: a sample of a file, or generated ones.
        problem_field: The field of a file with the text; None takes the layout's.
        answer_field: The field of a file with the answer; None takes the layout's.
        min_operations: Fewest operations of a problem of "demo" or "programs"; None takes the
            set's own number.
        max_operations: Most operations; the same.
        own_scoring: Whether a set of reasoning-gym grades answers with its own code.
        split: Which of the problems of "demo"; those of two splits differ.

    Raises:
        ConfigurationError: There is no such set, a row is no problem, a number cannot work, or an
            option is about other sets.
    """
    if count is not None and count < 1:
        raise ConfigurationError(f"--num-problems {count}: at least 1 is needed")
    _check_options(
        name,
        {
            "--problem-field": (problem_field, _FILE),
            "--answer-field": (answer_field, _FILE),
            "--min-operations": (min_operations, _GENERATED),
            "--max-operations": (max_operations, _GENERATED),
            "--own-scoring": (own_scoring or None, _GYM),
        },
    )
    size = _DEFAULT_COUNT if count is None else count
    if name in (DEMO, PROGRAMS):
        low, high = _OPERATIONS[name]
        low = low if min_operations is None else min_operations
        high = high if max_operations is None else max_operations
        try:
            if name == DEMO:
                problems = _demo(size, seed, low, high, split)
            else:
                problems = _programs(size, seed, low, high)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        return ProblemSet(name=name, problems=problems, judge=AnswerJudge())
    if name.startswith(GYM_PREFIX):
        return _gym(name, size, seed, own_scoring=own_scoring)
    problems = read_problems(
        Path(name), problem_field=problem_field, answer_field=answer_field, hint=_FIELDS_HINT
    )
    return ProblemSet(name=name, problems=sample(problems, count, seed), judge=AnswerJudge())


def _check_options(name: str, given: Mapping[str, tuple[object, str]]) -> None:
    """Checks that a set is there, as far as names tell, and that the options are about it.

    Args:
        name: The set.
        given: By flag, the value (None where it was not given) and the sets that it is about.

    Raises:
        ConfigurationError: It is not there, or an option is about other sets.
    """
    if name in (DEMO, PROGRAMS):
        kind = _GENERATED
    elif name.startswith(GYM_PREFIX):
        kind = _GYM
    else:
        kind = _FILE
        file = Path(name)
        if not file.exists() and not file.suffix:
            raise ConfigurationError(
                f"unknown data set {name!r}: use {DEMO}, {PROGRAMS}, {_GYM}, or a file that exists"
            )
    for flag, (value, about) in given.items():
        if value is not None and about != kind:
            raise ConfigurationError(
                f"{flag} is about {about}, so it does not go with DATASET {name!r}"
            )


def _demo(count: int, seed: int, low: int, high: int, split: Split) -> tuple[Problem, ...]:
    found = generate_problems(split, seed, count, min_operations=low, max_operations=high)
    return tuple(
        Problem(id=str(number), text=problem.text, answer=str(problem.answer))
        for number, problem in enumerate(found)
    )


def _programs(count: int, seed: int, low: int, high: int) -> tuple[Problem, ...]:
    found = generate_program_problems(seed, count, min_operations=low, max_operations=high)
    return tuple(
        Problem(
            id=problem.name,
            text=problem.text,
            tests=call_tests(problem.name, problem.hidden),
            shown=call_tests(problem.name, problem.shown),
        )
        for problem in found
    )


def _gym(name: str, count: int, seed: int, *, own_scoring: bool) -> ProblemSet:
    try:
        gym: Any = importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise ConfigurationError(
            f"{name} needs reasoning-gym: pip install 'fasttts[reasoning-gym]'"
        ) from error
    dataset_name = name.removeprefix(GYM_PREFIX)
    known = gym.factory.DATASETS
    if dataset_name not in known:
        raise ConfigurationError(
            f"{name}: there is no such set, {did_you_mean(dataset_name, known)}"
        )
    dataset = gym.create_dataset(dataset_name, seed=seed, size=count)
    entries = {str(number): dataset[number] for number in range(count)}
    problems = tuple(
        Problem(id=number, text=str(entry["question"]).strip(), answer=_gym_answer(entry))
        for number, entry in entries.items()
    )
    has_own = type(dataset).score_answer is not gym.dataset.ProceduralDataset.score_answer
    if own_scoring:
        return ProblemSet(name=name, problems=problems, judge=_GymJudge(dataset, entries))
    note = (
        f"{name} has a scoring of its own, which may accept more than the one known answer: "
        "--own-scoring runs it, and with it, for some sets, parts of answers as Python"
    )
    return ProblemSet(
        name=name, problems=problems, judge=AnswerJudge(), note=note if has_own else None
    )


def _gym_answer(entry: dict[str, Any]) -> str | None:
    return None if entry.get("answer") is None else str(entry["answer"])


class _GymJudge(AnswerJudge):
    """Lets a data set of reasoning-gym grade; equal answers are right as well."""

    def __init__(self, dataset: Any, entries: dict[str, dict[str, Any]]) -> None:
        self._dataset = dataset
        self._entries = entries

    @property
    def name(self) -> str:
        """The package's name."""
        return "reasoning-gym"

    def right(self, problem: Problem, candidates: Sequence[Candidate]) -> Sequence[bool]:
        """Those to which the data set gives full marks."""
        answers = [candidate.answer for candidate in candidates]
        found = {answer: self._is_right(problem, answer) for answer in set(answers)}
        return [found[answer] for answer in answers]

    def _is_right(self, problem: Problem, answer: str | None) -> bool:
        if not answer or answers_equal(answer, problem.answer):
            return bool(answer)
        try:
            score = self._dataset.score_answer(answer, self._entries[problem.id])
        except Exception:  # noqa: BLE001  # the code of a set may raise anything on an odd answer
            return False
        return float(score) >= _FULL_MARKS
