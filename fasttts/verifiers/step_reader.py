"""Converts requests to prompts, and the values of prompts to scores.

A model with a prefix cache computes only positions that the cache does not hold, and returns values
for those alone, or for the last one alone. Prompts end at the newest step, so that a new step's
value is always among them. An earlier step whose value is missing is read by a second prompt that
ends there: the last position of a prompt is always computed.

A format with several variants has a prompt for each, and the score is the mean of theirs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fasttts.errors import CapacityError, ConfigurationError, ContractError
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.verifiers.prompt_formats import StepPrompt, VerifierFormat

Place = tuple[int, int, int]
"""A variant of the format, a request, and one of its steps."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Values and cost of one prompt.

    Attributes:
        num_prompt_tokens: Tokens of the prompt.
        num_cached_tokens: Those that the prefix cache supplied.
        scores: Scores of the prompt's last positions.
        num_thought_tokens: Tokens computed beyond the prompt, for what the model wrote.
    """

    num_prompt_tokens: int
    num_cached_tokens: int
    scores: Sequence[float]
    num_thought_tokens: int = 0

    @property
    def num_computed_tokens(self) -> int:
        """Tokens that the model computed: those the prefix cache did not hold, and its thought."""
        return self.num_prompt_tokens - self.num_cached_tokens + self.num_thought_tokens

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

    def __post_init__(self) -> None:
        """Checks that a thought leaves room for a prompt.

        Raises:
            ConfigurationError: It does not.
        """
        num_reserved = self.prompt_format.num_reserved_tokens
        if num_reserved >= self.max_prompt_tokens:
            raise ConfigurationError(
                f"verifier={self.name!r}: a thought takes up to {num_reserved} tokens of a context "
                f"of {self.max_prompt_tokens}: lower verifier_format_args['max_thought_tokens'], "
                "or raise verifier_args['max_model_len']"
            )

    def score(self, requests: Sequence[VerificationRequest], read: Read) -> list[Verification]:
        """Scores each request's unscored steps.

        Args:
            requests: Paths, with their steps and the number of scored ones.
            read: Runs prompts; called a second time for values that the first call did not return.

        Raises:
            CapacityError: A prompt is longer than the context; nothing has been computed then.
            ContractError: The model gave a number outside [0, 1]; not-a-number counts as 0.
        """
        steps = [(i, s) for i, r in enumerate(requests) for s in range(r.num_scored, len(r.steps))]
        asked = [(v, i, s) for v in range(len(self.prompt_format.variants)) for i, s in steps]
        keys = {place: self._key(place, requests) for place in asked}
        prompts = {key: self._prompt(key, requests) for key in dict.fromkeys(keys.values())}
        places = {place: self._position(prompts[keys[place]], place) for place in asked}
        whole = read({key: prompt.token_ids for key, prompt in prompts.items()}) if prompts else {}
        hidden = {
            place: prompts[keys[place]].token_ids[: position + 1]
            for place, position in places.items()
            if whole[keys[place]].at(position) is None
        }
        parts = read(hidden) if hidden else {}
        found = {
            place: self._score(parts.get(place, whole[keys[place]]).at(position), place)
            for place, position in places.items()
        }
        readings: list[list[Reading]] = [[] for _ in requests]
        for (_, i, _), reading in (*whole.items(), *parts.items()):
            readings[i].append(reading)
        scores: list[list[float]] = [[] for _ in requests]
        for i, step in steps:
            scores[i].append(self._mean(found, i, step))
        return [_verification(*both) for both in zip(scores, readings, strict=True)]

    def _key(self, place: Place, requests: Sequence[VerificationRequest]) -> Place:
        """The place whose prompt scores a step: the last one of its request, or its own."""
        variant, i, _ = place
        if not self.prompt_format.variants[variant].covers_steps:
            return place
        return (variant, i, len(requests[i].steps) - 1)

    def _prompt(self, place: Place, requests: Sequence[VerificationRequest]) -> StepPrompt:
        variant, i, step = place
        steps = requests[i].steps[: step + 1]
        prompt = self.prompt_format.variants[variant].prompt(requests[i].problem, steps)
        longest = self.max_prompt_tokens - self.prompt_format.num_reserved_tokens
        if len(prompt.token_ids) > longest:
            raise CapacityError(
                f"{len(steps)} steps make a verifier prompt of {len(prompt.token_ids)} tokens "
                f"where its context holds {longest}: lower max_tokens or "
                "max_depth, or choose a verifier with a longer context",
                role="verifier",
            )
        return prompt

    def _position(self, prompt: StepPrompt, place: Place) -> int:
        variant, _, step = place
        covers_steps = self.prompt_format.variants[variant].covers_steps
        return prompt.positions[step if covers_steps else -1]

    def _score(self, found: float | None, place: Place) -> float:
        variant, i, step = place
        if found is None or not (math.isnan(found) or 0.0 <= found <= 1.0):
            raise ContractError(
                f"{self.name!r} gave {found} for step {step} of request {i} where a "
                "probability was due: its weights or its dtype are broken",
                role="verifier",
            )
        return 1.0 - found if self.prompt_format.variants[variant].is_inverted else found

    def _mean(self, found: Mapping[Place, float], i: int, step: int) -> float:
        scores_V = [found[v, i, step] for v in range(len(self.prompt_format.variants))]
        mean = math.fsum(scores_V) / len(scores_V)
        return mean if math.isnan(mean) else min(mean, 1.0)


def _verification(scores: Sequence[float], readings: Sequence[Reading]) -> Verification:
    is_nan = tuple(map(math.isnan, scores))
    return Verification(
        scores=tuple(0.0 if math.isnan(score) else score for score in scores),
        num_computed_tokens=sum(reading.num_computed_tokens for reading in readings),
        num_cached_tokens=sum(reading.num_cached_tokens for reading in readings),
        is_nan=is_nan if any(is_nan) else (),
    )
