"""Converts requests to prompts, and the values of prompts to scores.

A model with a prefix cache computes only positions that the cache does not hold, and returns values
for those alone, or for the last one alone. Prompts end at the newest step, so that a new step's
value is always among them. An earlier step whose value is missing is read by a second prompt that
ends there: the last position of a prompt is always computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fasttts.errors import CapacityError, ContractError
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.verifiers.prompt_formats import StepPrompt, VerifierFormat

Place = tuple[int, int]
"""A request and one of its steps."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Values and cost of one prompt.

    Attributes:
        num_prompt_tokens: Tokens of the prompt.
        num_cached_tokens: Those that the prefix cache supplied.
        scores: Scores of the prompt's last positions.
    """

    num_prompt_tokens: int
    num_cached_tokens: int
    scores: Sequence[float]

    @property
    def num_computed_tokens(self) -> int:
        """Prompt tokens that the prefix cache did not hold."""
        return self.num_prompt_tokens - self.num_cached_tokens

    def at(self, position: int) -> float | None:
        """The score at a position; None where it was not returned."""
        if position < self.num_prompt_tokens - len(self.scores):
            return None
        return self.scores[position - self.num_prompt_tokens]


Read = Callable[[Mapping[Place, Sequence[int]]], Mapping[Place, Reading]]
"""Runs prompts, at least one, together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReader:
    """Scores steps with a model.

    Attributes:
        name: The model, for messages.
        prompt_format: The prompt format of the model.
        max_prompt_tokens: Longest prompt of the model.
    """

    name: str
    prompt_format: VerifierFormat
    max_prompt_tokens: int

    def score(self, requests: Sequence[VerificationRequest], read: Read) -> list[Verification]:
        """Scores each request's unscored steps.

        Args:
            requests: Paths, with their steps and the number of scored ones.
            read: Runs prompts; called a second time for values that the first call did not return.

        Raises:
            CapacityError: A prompt is longer than the context; nothing has been computed then.
            ContractError: The model gave no probability.
        """
        asked = [(i, s) for i, r in enumerate(requests) for s in range(r.num_scored, len(r.steps))]
        keys = {place: self._key(place, requests) for place in asked}
        prompts = {key: self._prompt(key, requests) for key in dict.fromkeys(keys.values())}
        places = {(i, s): self._position(prompts[keys[i, s]], s) for i, s in asked}
        whole = read({key: prompt.token_ids for key, prompt in prompts.items()}) if prompts else {}
        hidden = {
            place: prompts[keys[place]].token_ids[: position + 1]
            for place, position in places.items()
            if whole[keys[place]].at(position) is None
        }
        parts = read(hidden) if hidden else {}
        scores: list[list[float]] = [[] for _ in requests]
        readings: list[list[Reading]] = [[] for _ in requests]
        for (i, _), reading in (*whole.items(), *parts.items()):
            readings[i].append(reading)
        for place, position in places.items():
            found = parts.get(place, whole[keys[place]]).at(position)
            scores[place[0]].append(self._probability(found, place))
        return [_verification(*both) for both in zip(scores, readings, strict=True)]

    def _key(self, place: Place, requests: Sequence[VerificationRequest]) -> Place:
        """The place whose prompt scores a step: the last one of its request, or its own."""
        i, _ = place
        return (i, len(requests[i].steps) - 1) if self.prompt_format.covers_steps else place

    def _prompt(self, place: Place, requests: Sequence[VerificationRequest]) -> StepPrompt:
        i, step = place
        steps = requests[i].steps[: step + 1]
        prompt = self.prompt_format.prompt(requests[i].problem, steps)
        if len(prompt.token_ids) > self.max_prompt_tokens:
            raise CapacityError(
                f"{len(steps)} steps make a verifier prompt of {len(prompt.token_ids)} tokens "
                f"where its context holds {self.max_prompt_tokens}: lower max_tokens or "
                "max_depth, or choose a verifier with a longer context",
                role="verifier",
            )
        return prompt

    def _position(self, prompt: StepPrompt, step: int) -> int:
        return prompt.positions[step if self.prompt_format.covers_steps else -1]

    def _probability(self, score: float | None, place: Place) -> float:
        if score is not None and 0.0 <= score <= 1.0:
            return score
        raise ContractError(
            f"{self.name!r} gave {score} for step {place[1]} of request {place[0]} where a "
            "probability was due: its weights or its dtype are broken",
            role="verifier",
        )


def _verification(scores: Sequence[float], readings: Sequence[Reading]) -> Verification:
    return Verification(
        scores=tuple(scores),
        num_computed_tokens=sum(reading.num_computed_tokens for reading in readings),
        num_cached_tokens=sum(reading.num_cached_tokens for reading in readings),
    )
