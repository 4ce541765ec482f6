"""Scores the steps of labelled rollouts, and judges the scores by the labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from fasttts.check.deadline import Deadline
from fasttts.check.scoring import score_all
from fasttts.errors import ConfigurationError
from fasttts.interfaces import VerificationRequest, Verifier
from fasttts.prm import LabelRecord, Quality, judge_scores, known_target
from fasttts.verifiers.resolve import joint_num_logprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScores:
    """How a verifier's scores fit labels.

    Attributes:
        num_rollouts: Different rollouts with labels.
        num_scored: Those of them that were scored in time.
        quality: How good the scores are.
    """

    num_rollouts: int
    num_scored: int
    quality: Quality


def check_labels_can_be_scored(verifier: Verifier | None) -> None:
    """Checks that an engine's verifier scores texts.

    Args:
        verifier: The verifier; None without one.

    Raises:
        ConfigurationError: There is none, or it reads log-probabilities, which labels lack.
    """
    if verifier is None:
        raise ConfigurationError("--labels: there is no verifier to check; name one (--verifier)")
    if joint_num_logprobs(verifier) is not None:
        raise ConfigurationError(
            f"--labels: {verifier.name!r} reads the generator's log-probabilities, and labels have "
            "texts alone: check a model or a function"
        )


def score_labels(
    verifier: Verifier, records: Sequence[LabelRecord], deadline: Deadline
) -> LabelledScores | None:
    """Scores labelled rollouts until time is up; None where not one was scored.

    Args:
        verifier: An idle verifier.
        records: The labels.
        deadline: When to stop.
    """
    target = known_target(records)
    rollouts = {
        (record.text, tuple(step.text for step in rollout.steps)): rollout
        for record in records
        for rollout in record.rollouts
        if rollout.steps
    }
    requests = [VerificationRequest(problem=problem, steps=steps) for problem, steps in rollouts]
    scores: list[float] = []
    labels: list[float] = []
    problems: list[str] = []
    num_scored = 0
    for batch in score_all(verifier, requests, deadline):
        for number, found in batch:
            request = requests[number]
            rollout = rollouts[request.problem, request.steps]
            scores += found
            labels += [step.target(target) or 0.0 for step in rollout.steps]
            problems += [request.problem] * len(found)
        num_scored += len(batch)
    if not scores:
        return None
    return LabelledScores(
        num_rollouts=len(requests),
        num_scored=num_scored,
        quality=judge_scores(scores, labels, problems),
    )
