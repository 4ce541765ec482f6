"""Labels of steps: the records of a labelling, and the reader of its file."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from fasttts.errors import ConfigurationError
from fasttts.evaluation.journal import JOURNAL_VERSION
from fasttts.types import Document

Target = Literal["soft", "hard"]
"""A step's label: the share of right continuations, or whether any of them is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledStep:
    """A step of a rollout, with what became of continuations of the text up to its end.

    Attributes:
        text: The step, as verifiers read it.
        num_right: Continuations that solve the problem.
        num_continuations: Continuations that were looked at, at least one.
        soft: Share of them that solve it, in [0, 1]; None where sampling ended once the hard label
            was certain.
        hard: Whether any of them does.

    Raises:
        ValueError: The numbers contradict each other.
    """

    text: str
    num_right: int
    num_continuations: int
    soft: float | None
    hard: bool

    def __post_init__(self) -> None:
        if not 0 <= self.num_right <= self.num_continuations or self.num_continuations < 1:
            raise ValueError(f"{self.num_right} of {self.num_continuations} cannot be right")
        if self.soft is not None and not 0.0 <= self.soft <= 1.0:
            raise ValueError(f"soft={self.soft} is no share: 0 to 1")
        if self.hard != (self.num_right > 0):
            raise ValueError(f"hard={self.hard} contradicts num_right={self.num_right}")

    def target(self, kind: Target) -> float | None:
        """The label of a kind, in [0, 1]; None where it is not known."""
        return self.soft if kind == "soft" else float(self.hard)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledRollout:
    """A sampled answer with labels.

    Attributes:
        steps: Its steps; of an answer that hit a cap, those that it ended.
        answer: Its answer; None where there is none.
        is_right: Whether it solves the problem.
    """

    steps: tuple[LabeledStep, ...]
    answer: str | None
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCost:
    """The cost of labelling one problem; another run gives other numbers.

    Attributes:
        elapsed_s: Seconds from the problem's first rollout to its last verdict, beside others.
        generated_tokens: Tokens that were sampled.
    """

    elapsed_s: float
    generated_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRecord(Document):
    """The labels of one problem: a line of a labelling's file.

    All but `run` is a function of problem, generator, settings and seed, within what the numerics
    of the generator promise.

    Attributes:
        index: Number of the problem in the labelling, from 0.
        problem: The problem's name.
        text: The problem's text, as verifiers read it.
        rollouts: Its rollouts in the order of their seeds; none where the search failed.
        num_prefixes: Different beginnings of the rollouts; each was labelled once.
        error: Why there are no rollouts; None where there are.
        run: The cost of this run.
        kind: Tells this line from the header.
    """

    index: int
    problem: str
    text: str
    rollouts: tuple[LabeledRollout, ...]
    num_prefixes: int
    error: str | None
    run: LabelCost
    kind: Literal["labels"] = "labels"


def read_labels(file: Path) -> list[LabelRecord]:
    """Reads a file of `fasttts label`, in the order of the problems; a line in part is left out.

    Args:
        file: The file, several of them in one, or the same lines without a header.

    Raises:
        ConfigurationError: It cannot be read, or has no labels.
    """
    try:
        *lines, last = file.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    records = []
    for number, line in enumerate([*lines, last], 1):
        if not line.strip() or _is_header(line, f"{file}, line {number}"):
            continue
        try:
            records.append(LabelRecord.from_json(line))
        except ValidationError as error:
            if number > len(lines) and not _is_json(line):  # killed while it was written
                continue
            raise ConfigurationError(
                f"{file}, line {number}: {line[:60]!r} is no line of `fasttts label`: "
                f"{error.errors()[0]['msg']}"
            ) from error
    if not any(record.rollouts for record in records):
        raise ConfigurationError(f"{file} holds no labels: make them with `fasttts label`")
    if not any(rollout.steps for record in records for rollout in record.rollouts):
        raise ConfigurationError(
            f"{file} holds no labels: no rollout ended a step; label with a higher --max-tokens"
        )
    return sorted(records, key=lambda record: record.index)


def _is_header(line: bytes, place: str) -> bool:
    """Whether a line is the header of a labelling; raises where it is of another version."""
    if b'"fasttts-label"' not in line or not _is_json(line):
        return False
    found = json.loads(line)
    if not isinstance(found, dict) or found.get("kind") != "fasttts-label":
        return False
    if found.get("version") != JOURNAL_VERSION:
        raise ConfigurationError(
            f"{place}: labels of version {found.get('version')!r}, and this FastTTS reads version "
            f"{JOURNAL_VERSION}: label anew"
        )
    return True


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def known_target(records: Sequence[LabelRecord]) -> Target:
    """The finest kind of label that every step has: "soft" unless sampling ended early."""
    steps = (s for record in records for rollout in record.rollouts for s in rollout.steps)
    return "hard" if any(step.soft is None for step in steps) else "soft"


def label_digest(records: Sequence[LabelRecord]) -> str:
    """A fingerprint of labels, whatever they cost, their order included."""
    found = hashlib.sha256()
    for record in records:
        free = replace(record, run=LabelCost(elapsed_s=0.0, generated_tokens=0))
        found.update(free.to_json().encode())
    return found.hexdigest()[:16]
