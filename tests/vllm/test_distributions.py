"""Numbers of whole distributions: those of the reference, in the samplers of both runners."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.vllm.distributions import read_distributions, report_distributions
from fasttts.decoding.distribution import distribution

pytestmark = pytest.mark.vllm


class Tensors(NamedTuple):
    """Those of vLLM's that matter here."""

    logprobs: Any
    selected_token_ranks: Any


class FirstSampler:
    logprobs_mode = "raw_logprobs"

    def gather_logprobs(self, logprobs: Any, num_logprobs: int, token_ids: Any) -> Tensors:
        return Tensors(logprobs[:, : num_logprobs + 1], token_ids)

    def gather_specific_token_logprobs(
        self, logprobs: Any, asked: dict[int, list[int]], sampled: Any
    ) -> Tensors:
        return Tensors(logprobs[:, :1], sampled)


class SecondSampler:
    logprobs_mode = "raw_logprobs"
    logprob_token_ids_state = None

    def __call__(self, logits: Any, input_batch: Any) -> Any:
        tensors = None if input_batch is None else Tensors(logits[:, :1], input_batch)
        return SimpleNamespace(logprobs_tensors=tensors)


def engine_with(sampler: Any) -> Any:
    worker = SimpleNamespace(worker=SimpleNamespace(model_runner=SimpleNamespace(sampler=sampler)))
    core = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))
    return SimpleNamespace(
        llm_engine=SimpleNamespace(engine_core=SimpleNamespace(engine_core=core))
    )


def logits(num_rows: int, vocab_size: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(num_rows + vocab_size)
    found = torch.randn(num_rows, vocab_size, generator=generator) * 6
    found[0, 1:] = -torch.inf  # all but one are impossible
    return found


def of_first(scores: Any) -> Any:
    """What the first runner reports in place of ranks, by both of the sampler's methods."""
    import torch

    sampler: Any = FirstSampler()
    assert report_distributions(engine_with(sampler), is_second=False)
    logprobs, ids = scores.log_softmax(dim=-1), torch.arange(len(scores))
    found = sampler.gather_logprobs(logprobs, 2, token_ids=ids)
    assert torch.equal(found.logprobs, logprobs[:, :3])
    specific = sampler.gather_specific_token_logprobs(logprobs, {0: [3]}, ids)
    assert torch.equal(specific.selected_token_ranks, found.selected_token_ranks)
    return found.selected_token_ranks


def of_second(scores: Any) -> Any:
    sampler: Any = SecondSampler()
    assert report_distributions(engine_with(sampler), is_second=True)
    assert sampler(scores, None).logprobs_tensors is None
    return sampler(scores, "ranks").logprobs_tensors.selected_token_ranks


@pytest.mark.parametrize("reported", [of_first, of_second])
@pytest.mark.parametrize("vocab_size", [5, 1784, 50_257])
def test_numbers_are_those_of_the_reference(reported: Any, vocab_size: int) -> None:
    scores = logits(4, vocab_size)
    found = read_distributions(reported(scores).numpy())
    for row, one in zip(scores.double().log_softmax(dim=-1).numpy(), found, strict=True):
        assert one == pytest.approx(distribution(row), abs=1e-4)
    assert all(np.isfinite(found).ravel())


@pytest.mark.parametrize("vocab_size", [269, 1784, 50_257])
def test_a_row_has_its_numbers_whatever_is_beside_it(vocab_size: int) -> None:
    """To the bit; torch sums a large row that is alone in parts."""
    scores = logits(7, vocab_size)
    together = of_first(scores).tolist()
    for start, end in ((0, 1), (3, 4), (2, 4), (1, 7)):
        assert of_first(scores[start:end].clone()).tolist() == together[start:end]


def test_many_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from fasttts.backends.vllm import distributions

    scores = logits(7, 100)
    together = of_first(scores).tolist()
    monkeypatch.setattr(distributions, "_CHUNK_ELEMENTS", 300)
    assert of_first(scores).tolist() == together


@pytest.mark.parametrize("is_second", [False, True])
def test_other_samplers_are_left_as_they_are(is_second: bool) -> None:
    processed = FirstSampler()
    processed.logprobs_mode = "processed_logprobs"
    elsewhere: Any = SimpleNamespace(llm_engine=SimpleNamespace(engine_core=None))
    unknown = engine_with(SimpleNamespace(logprobs_mode="raw_logprobs"))
    for engine in (engine_with(processed), elsewhere, unknown):
        assert not report_distributions(engine, is_second=is_second)
    assert "gather_logprobs" not in vars(processed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tensor_parallel_size": 2}, r"tensor_parallel_size.*=2: .* make it 1"),
        ({"generator_args": {"pipeline_parallel_size": 2}}, r"'\]=2: .* make it 1"),
    ],
)
@pytest.mark.parametrize("verifier", ["entropy", "self_certainty", ["perplexity", "entropy"]])
def test_engines_that_cannot_report_are_refused_before_they_load(
    verifier: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FastTTS.load("org/model", verifier=verifier, **arguments)


@pytest.mark.parametrize("verifier", ["entropy", "perplexity", "judge", None])
@pytest.mark.parametrize(
    "arguments", [{"logprobs_mode": "processed_logprobs"}, {"max_logprobs": 3}]
)
def test_engines_of_other_log_probabilities_are_refused_before_they_load(
    verifier: str | None, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=r"generator_args\['\w+'\]=.*leave it out$"):
        FastTTS.load("org/model", verifier=verifier, generator_args=arguments)
