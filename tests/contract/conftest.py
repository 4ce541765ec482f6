"""The implementations of the protocols, each behind the same two fixtures."""

from collections.abc import Iterator

import pytest

from fasttts.backends.fake import FakeGenerator, FakeVerifier, hashed_score
from fasttts.config import engine_config
from fasttts.interfaces import Generator, Verifier
from fasttts.verifiers import FunctionVerifier, Gate, Mean
from tests.drafters import Mixed

MAX_NUM_SEQS = 64
BACKENDS = ["fake", "drafting", "combined", pytest.param("vllm", marks=pytest.mark.vllm)]


@pytest.fixture(scope="module", params=BACKENDS)
def backends(request: pytest.FixtureRequest) -> Iterator[tuple[Generator, Verifier]]:
    generator, verifier = _OPENERS[request.param]()
    yield generator, verifier
    verifier.close()
    generator.close()


def _fake() -> tuple[Generator, Verifier]:
    return FakeGenerator(max_num_seqs=MAX_NUM_SEQS, max_model_len=512), FakeVerifier()


def _drafting() -> tuple[Generator, Verifier]:
    """Most of its drafts are right somewhere, and wrong behind that."""
    generator = FakeGenerator(
        max_num_seqs=MAX_NUM_SEQS, max_model_len=512, max_draft_tokens=8, drafter=Mixed(0, 0.2)
    )
    generator.set_draft_tokens(8)
    return generator, FakeVerifier()


def _vllm() -> tuple[Generator, Verifier]:
    from fasttts.backends.vllm import load_backends

    config = engine_config(max_num_seqs=MAX_NUM_SEQS, max_model_len=512)
    generator, verifier = load_backends(config)
    assert verifier is not None
    return generator, verifier


def _combined() -> tuple[Generator, Verifier]:
    """Functions beside a model, behind a gate: what they promise together."""
    generator, model = _fake()
    first = FunctionVerifier(hashed_score, num_threads=2)
    return generator, Gate(first, Mean(model, hashed_score), threshold=0.4)


_OPENERS = {"fake": _fake, "drafting": _drafting, "combined": _combined, "vllm": _vllm}


@pytest.fixture
def generator(backends: tuple[Generator, Verifier]) -> Iterator[Generator]:
    yield backends[0]
    assert backends[0].num_unfinished() == 0, "a test left requests in flight"


@pytest.fixture
def verifier(backends: tuple[Generator, Verifier]) -> Verifier:
    return backends[1]
