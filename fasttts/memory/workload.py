"""The shape of a typical search, which memory is planned for."""

from dataclasses import dataclass, replace
from typing import Self

from fasttts.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Mean sizes of one search.

    Attributes:
        num_beams: Beams `N` that run together.
        beam_width: Children of each surviving beam; 1 for best-of-N, whose samples share nothing
            but the prompt.
        step_tokens: Expected length `S` of a step.
        depth: Expected steps of an answer.
        prompt_tokens: Expected length of the prompt, which all beams share.
        max_model_len: Longest prompt plus answer in tokens that the engines must support; None
            takes the model's context, but no more than 8192 tokens.
        draft_tokens: Most drafted tokens of a beam in an iteration, which have logits too.
    """

    num_beams: int = 16
    beam_width: int = 4
    step_tokens: int = 64
    depth: int = 10
    prompt_tokens: int = 256
    max_model_len: int | None = None
    draft_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("num_beams", "beam_width", "step_tokens", "depth", "prompt_tokens"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}={getattr(self, name)}: at least 1 is needed")
        if self.max_model_len is not None and self.max_model_len < self.longest_tokens:
            raise ConfigurationError(
                f"{self.depth} steps of {self.step_tokens} tokens after a prompt of "
                f"{self.prompt_tokens} are {self.longest_tokens} tokens, the context is "
                f"{self.max_model_len}: raise the context, or lower depth or step_tokens"
            )

    def within(self, context_tokens: int) -> Self:
        """Returns the same search with prompt and answer shortened to fit a context."""
        prompt_tokens = min(self.prompt_tokens, max(1, context_tokens // 2))
        left = max(1, context_tokens - prompt_tokens)
        step_tokens = min(self.step_tokens, left)
        return replace(
            self,
            prompt_tokens=prompt_tokens,
            step_tokens=step_tokens,
            depth=min(self.depth, left // step_tokens),
        )

    @property
    def longest_tokens(self) -> int:
        """Tokens of the prompt and a whole answer."""
        return self.prompt_tokens + self.depth * self.step_tokens

    @property
    def mean_context_tokens(self) -> float:
        """Context of a token halfway through a search."""
        return self.prompt_tokens + self.depth * self.step_tokens / 2

    @property
    def own_tokens(self) -> float:
        """KV tokens of a beam at its last step, beyond the prompt.

        At each earlier depth at most `N / beam_width` different steps are ancestors of living
        beams, because only so many survived it; a beam has its share of them.
        """
        return self.step_tokens * (1 + (self.depth - 1) / self.beam_width)

    @property
    def inherited_tokens(self) -> float:
        """Mean number of the own tokens that a beam's ancestors hold, over the search."""
        return self.step_tokens * (self.depth - 1) / 2 / self.beam_width
