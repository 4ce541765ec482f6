"""The demonstration models on a GPU, in each of vLLM's model runners."""

from collections.abc import Iterator

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.environment import RUNNER_VARIABLE
from fasttts.config import engine_config
from fasttts.interfaces import Generator, Verifier
from tests.contract.conftest import MAX_NUM_SEQS, generator, verifier

__all__ = ["backends", "generator", "verifier"]

RUNNERS = {"first": "0", "second": "1"}
KV_CACHE_BYTES = 1 << 30
"""Each engine's, so that the tests run beside other work on the GPU."""


@pytest.fixture(scope="module", params=RUNNERS)
def backends(request: pytest.FixtureRequest) -> Iterator[tuple[Generator, Verifier]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUNNER_VARIABLE, RUNNERS[request.param])
        config = engine_config(
            max_num_seqs=MAX_NUM_SEQS,
            max_model_len=512,
            dtype="float32",
            kv_cache_memory_bytes=KV_CACHE_BYTES,
        )
        generator, verifier = load_backends(config)
        assert verifier is not None
        yield generator, verifier
        verifier.close()
        generator.close()
