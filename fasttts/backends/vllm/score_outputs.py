"""Requests to a verifier's model and their outputs: position values, or next-token odds."""

import itertools
from collections.abc import Sequence
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

    def readings(self, num_prompt_tokens: Sequence[int], outputs: Sequence[Any]) -> list[Reading]:
        """Reads the scores of outputs of vLLM's engine core.

        Args:
            num_prompt_tokens: The length of each output's prompt.
            outputs: The last output of each request.
        """
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

    def readings(self, num_prompt_tokens: Sequence[int], outputs: Sequence[Any]) -> list[Reading]:
        """Converts the values, [positions, 1 or 2] of each output, to scores.

        Raises:
            ContractError: The values have another shape, or positions are missing.
        """
        import torch

        tables = [output.pooling_output for output in outputs]
        num_cached = [_num_cached_tokens(output) for output in outputs]
        for numbers in zip(tables, num_prompt_tokens, num_cached, strict=True):
            _check_table(*numbers)
        odds = torch.cat(tables).double()
        odds = odds[:, 0] if odds.shape[1] == 1 else odds[:, 1] - odds[:, 0]
        scores = iter(torch.sigmoid(odds).tolist())
        parts = [list(itertools.islice(scores, len(table))) for table in tables]
        return list(map(Reading, num_prompt_tokens, num_cached, parts))


class NextToken:
    """A language model: the expected worth of the next token among some choices.

    The token that vLLM samples besides is ignored.

    Args:
        choices: The tokens from the best, which is worth 1, to the worst, which is worth 0; those
            between are evenly spaced.
    """

    num_new_tokens = 1

    def __init__(self, choices: tuple[int, ...]) -> None:
        self._choices = choices
        last = len(choices) - 1
        self._worths = [(last - place) / last for place in range(len(choices))]

    def params(self, *, reads_prefix_cache: bool) -> "SamplingParams":
        """Asks for one token, and the log-probabilities of the choices at its position."""
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

    def readings(self, num_prompt_tokens: Sequence[int], outputs: Sequence[Any]) -> list[Reading]:
        """Reads the score of each prompt's last position."""
        import torch

        table = [self._logprobs(output.new_logprobs) for output in outputs]
        shares = torch.tensor(table, dtype=torch.float64).softmax(dim=-1)
        scores = (shares @ torch.tensor(self._worths, dtype=torch.float64)).clamp(0.0, 1.0).tolist()
        return [
            Reading(num_tokens, _num_cached_tokens(output), (score,))
            for num_tokens, output, score in zip(num_prompt_tokens, outputs, scores, strict=True)
        ]

    def _logprobs(self, logprobs: Any) -> list[float]:
        """The choices' own, of those, [1, tokens], of the position after a prompt."""
        (token_ids,), (values,) = logprobs.logprob_token_ids, logprobs.logprobs
        found = dict(zip(token_ids.tolist(), values.tolist(), strict=True))
        return [float(found[token_id]) for token_id in self._choices]


def score_query(choices: tuple[int, ...] | None) -> ScoreQuery:
    """Makes the query for a format with these choices; None reads values."""
    return Values() if choices is None else NextToken(choices)


def _num_cached_tokens(output: Any) -> int:
    stats = output.prefill_stats
    return 0 if stats is None else int(stats.num_cached_tokens)


def _check_table(values: Any, num_tokens: int, num_cached: int) -> None:
    is_table = values.ndim == 2 and values.shape[1] in (1, 2)
    if not is_table or len(values) < num_tokens - num_cached:
        raise ContractError(
            f"the verifier returned values of shape {tuple(values.shape)} for {num_tokens} "
            f"prompt tokens of which {num_cached} were cached",
            role="verifier",
        )
