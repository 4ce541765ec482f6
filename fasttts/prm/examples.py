"""Training examples from labels: the prompts that the verifier will read, with targets."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.errors import ConfigurationError
from fasttts.prm.labels import LabeledStep, LabelRecord, Target
from fasttts.verifiers.prompt_formats import VerifierFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A rollout as a process reward model reads it.

    Attributes:
        problem: Text of its problem.
        token_ids: The prompt that scores all steps, T tokens.
        positions: Where each step is scored, one index into `token_ids` a step.
        targets: The label of each step, in [0, 1].
    """

    problem: str
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[float, ...]


def make_examples(
    records: Sequence[LabelRecord],
    prompt_format: VerifierFormat,
    *,
    target: Target,
    max_length: int,
) -> list[Example]:
    """Makes an example of each rollout; equal ones are taken once, and the ends of long ones cut.

    Args:
        records: The labels.
        prompt_format: The format in which the model will be asked; covers all steps of a prompt.
        target: The kind of label to learn.
        max_length: Longest example in tokens; steps that do not fit are left out.

    Raises:
        ConfigurationError: The labels are not of this kind, or nothing fits.
    """
    if not any(rollout.steps for record in records for rollout in record.rollouts):
        raise ConfigurationError(
            "no rollout of the labels, or of those held out, has a whole step: label more "
            "problems, or with a higher --max-tokens"
        )
    found: dict[tuple[int, ...], Example] = {}
    for record in records:
        for rollout in record.rollouts:
            if not rollout.steps:
                continue
            prompt = prompt_format.prompt(record.text, tuple(s.text for s in rollout.steps))
            positions = tuple(position for position in prompt.positions if position < max_length)
            if not positions:
                continue
            example = Example(
                problem=record.text,
                token_ids=prompt.token_ids[: positions[-1] + 1],
                positions=positions,
                targets=_targets(record, rollout.steps[: len(positions)], target),
            )
            found.setdefault(example.token_ids, example)
    if not found:
        raise ConfigurationError(
            f"no step of the labels fits into {max_length} tokens: raise --max-length"
        )
    return list(found.values())


def _targets(
    record: LabelRecord, steps: Sequence[LabeledStep], target: Target
) -> tuple[float, ...]:
    values = [step.target(target) for step in steps]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise ConfigurationError(
            f"problem {record.problem!r} has hard labels alone: train with --labels hard, or label "
            "anew with --labels soft"
        )
    return tuple(known)


def hold_out(
    records: Sequence[LabelRecord], share: float, seed: int
) -> tuple[list[LabelRecord], list[LabelRecord]]:
    """Divides records into those to train on and those held out, by the texts of their problems.

    Args:
        records: All records; those of one text stay together.
        share: Share of the problems to hold out, above 0 and below 1.
        seed: Any integer.

    Returns:
        The two parts, in the order of the records.

    Raises:
        ConfigurationError: There is one problem alone.
    """
    texts = sorted({record.text for record in records if record.rollouts})
    if len(texts) < 2:
        raise ConfigurationError("labels of one problem alone cannot be divided: label more")
    count = min(len(texts) - 1, max(1, round(share * len(texts))))
    chosen = set(random.Random(f"held-out/{seed}").sample(texts, count))
    return (
        [record for record in records if record.text not in chosen],
        [record for record in records if record.text in chosen],
    )
