"""Starts that do not hold up the sequences that decode already.

CUDA graphs cover iterations in which every sequence computes as many tokens: one, or a few where
tokens are drafted. A sequence begins with the tokens of its prompt that no whole block of the
prefix cache holds, up to sixteen, and an iteration that computes more of one sequence than of
others runs layer by layer: as long as three or four others (1.5B, H200, estimated from a profile).
So a start that nobody waits for computes as many tokens of its prompt in each iteration as the
others compute.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fasttts.backends.vllm.drafting import Drafting

_MOST_TOKENS = 32
"""Tokens of uncached prompt that may be computed so: two blocks of the cache."""


class GentleStarts:
    """Chooses, iteration by iteration, how much of a prompt vLLM computes at once.

    Args:
        scheduler: The scheduler of vLLM's engine core; its threshold of long prompts is set here.
        drafting: Says how many tokens the sequences compute; None where each computes one.
    """

    def __init__(self, scheduler: Any, drafting: "Drafting | None" = None) -> None:
        self._scheduler = scheduler
        self._drafting = drafting
        self._options = scheduler.scheduler_config
        self._usual = self._options.long_prefill_token_threshold
        self._starting: dict[str, bool] = {}
        """Whether the start of each sequence may take long, by vLLM's id of it."""

    def added(self, core_id: str, *, may_take_long: bool) -> None:
        """Notes a new sequence.

        Args:
            core_id: vLLM's id.
            may_take_long: Whether nobody waits for its first token.
        """
        self._starting[core_id] = may_take_long

    def begun(self, core_id: str) -> None:
        """Forgets a sequence that has a token, or has ended."""
        self._starting.pop(core_id, None)

    def pace(self, num_sequences: int) -> None:
        """Prepares the next iteration.

        Args:
            num_sequences: All in flight, those that begin among them.
        """
        is_gentle = 0 < len(self._starting) < num_sequences and self._may_take_long()
        num_each = 1 if self._drafting is None else self._drafting.num_tokens(num_sequences)
        self._options.long_prefill_token_threshold = num_each if is_gentle else self._usual

    def _may_take_long(self) -> bool:
        return all(self._starting.values()) and all(map(self._is_short, self._starting))

    def _is_short(self, core_id: str) -> bool:
        """Whether few tokens of a prompt are left; how many are cached shows in its first turn."""
        request = self._scheduler.requests.get(core_id)
        if request is None or request.num_computed_tokens == 0:
            return True
        return bool(request.num_tokens - request.num_computed_tokens <= _MOST_TOKENS)
