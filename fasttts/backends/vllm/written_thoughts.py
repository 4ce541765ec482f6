"""Thoughts of a verifier's model on vLLM: their requests, their tokens and their cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fasttts.verifiers.step_reader import Reading
from fasttts.verifiers.thought import Thought

if TYPE_CHECKING:
    from vllm import SamplingParams


@dataclass(slots=True)
class WrittenThought:
    """A thought and its cost.

    Attributes:
        token_ids: What the model has written.
        num_cached_tokens: Prompt tokens that the prefix cache supplied.
    """

    token_ids: list[int] = field(default_factory=list)
    num_cached_tokens: int = 0

    def add(self, output: Any) -> None:
        """Adds an output of vLLM's engine core, which has the new tokens only."""
        self.token_ids += output.new_token_ids
        if output.prefill_stats is not None:
            self.num_cached_tokens = int(output.prefill_stats.num_cached_tokens)


def thought_params(thought: Thought, reads_prefix_cache: bool) -> "SamplingParams":
    """Asks for a greedy thought; the caller aborts it where it is over.

    Args:
        thought: Its bound.
        reads_prefix_cache: As for `ScoreQuery.params`.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=thought.max_tokens,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        skip_reading_prefix_cache=not reads_prefix_cache,
    )


def with_thought(prompt: Sequence[int], written: WrittenThought, verdict: Reading) -> Reading:
    """The reading of a prompt whose score came behind a thought.

    Args:
        prompt: The prompt.
        written: What the model wrote behind it.
        verdict: The reading of prompt, thought and closing.
    """
    return replace(
        verdict,
        num_prompt_tokens=len(prompt),
        num_cached_tokens=written.num_cached_tokens,
        num_thought_tokens=len(written.token_ids) + verdict.num_computed_tokens,
    )
