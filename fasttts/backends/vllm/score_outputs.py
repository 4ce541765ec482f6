"""Requests to a verifier's model and their outputs: position values, or next-token odds."""

from typing import TYPE_CHECKING, Any, Protocol

from fasttts.errors import ContractError
from fasttts.verifiers.step_reader import Reading

if TYPE_CHECKING:
    from vllm import PoolingParams, SamplingParams


class ScoreQuery(Protocol):
    """Request parameters of a verifier's model, and the scores in its outputs.

    Attributes:
        num_new_tokens: Tokens of the context that the answer takes.
    """

    num_new_tokens: int

    def params(self, *, reads_prefix_cache: bool) -> "PoolingParams | SamplingParams":
        """Makes request parameters; without the prefix cache every position is computed."""
        ...

    def reading(self, output: Any) -> Reading:
        """Reads the scores of an output of vLLM."""
        ...


class Values:
    """A pooling model with one or two values at each position.

    One value is a log-odds: the score is its sigmoid. Of two, the score is the softmax of the
    second. vLLM's own activation is switched off, because it depends on the model's configuration.
    """

    num_new_tokens = 0

    def params(self, *, reads_prefix_cache: bool) -> "PoolingParams":
        """Asks for every computed position's values."""
        from vllm import PoolingParams

        return PoolingParams(
            task="token_classify",
            use_activation=False,
            skip_reading_prefix_cache=not reads_prefix_cache,
        )

    def reading(self, output: Any) -> Reading:
        """Converts the values, [positions, 1 or 2], to scores.

        Raises:
            ContractError: The values have another shape, or positions are missing.
        """
        import torch

        values = output.outputs.data
        num_tokens, num_cached = len(output.prompt_token_ids), output.num_cached_tokens or 0
        is_table = values.ndim == 2 and values.shape[1] in (1, 2)
        if not is_table or len(values) < num_tokens - num_cached:
            raise ContractError(
                f"the verifier returned values of shape {tuple(values.shape)} for {num_tokens} "
                f"prompt tokens of which {num_cached} were cached",
                role="verifier",
            )
        odds = values.double()
        odds = odds[:, 0] if odds.shape[1] == 1 else odds[:, 1] - odds[:, 0]
        return Reading(num_tokens, num_cached, torch.sigmoid(odds).tolist())


class YesProbability:
    """A language model: the probability of a good next token against that of a bad one.

    The token that vLLM samples besides is ignored.

    Args:
        choices: The good token and the bad one.
    """

    num_new_tokens = 1

    def __init__(self, choices: tuple[int, int]) -> None:
        self._choices = choices

    def params(self, *, reads_prefix_cache: bool) -> "SamplingParams":
        """Asks for one token, and the log-probabilities of the two choices at its position."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=0.0,
            max_tokens=1,
            logprob_token_ids=list(self._choices),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_reading_prefix_cache=not reads_prefix_cache,
        )

    def reading(self, output: Any) -> Reading:
        """Reads the score of the prompt's last position."""
        import torch

        (logprobs,) = output.outputs[0].logprobs
        good, bad = (logprobs[token_id].logprob for token_id in self._choices)
        score = float(torch.sigmoid(torch.tensor(good - bad, dtype=torch.float64)))
        num_cached = output.num_cached_tokens or 0
        return Reading(len(output.prompt_token_ids), num_cached, (score,))


def score_query(choices: tuple[int, int] | None) -> ScoreQuery:
    """Makes the query for a format with these choices; None reads values."""
    return Values() if choices is None else YesProbability(choices)
