"""The demonstration models on a GPU, in each of vLLM's model runners."""

from collections.abc import Iterator

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.config import engine_config
from fasttts.interfaces import Generator, Verifier
from tests.contract.conftest import MAX_NUM_SEQS, generator, verifier

__all__ = ["backends", "generator", "verifier"]

RUNNERS = {"first": "0", "second": "1"}


@pytest.fixture(scope="module", params=RUNNERS)
def backends(request: pytest.FixtureRequest) -> Iterator[tuple[Generator, Verifier]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_USE_V2_MODEL_RUNNER", RUNNERS[request.param])
        config = engine_config(max_num_seqs=MAX_NUM_SEQS, max_model_len=512, dtype="float32")
        generator, verifier = load_backends(config)
        assert verifier is not None
        yield generator, verifier
        verifier.close()
        generator.close()
