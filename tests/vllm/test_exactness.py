"""Equal tokens when memory is short: on nearly flat distributions, in float32."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.config import engine_config
from fasttts.decoding.sampling import Sampling
from fasttts.interfaces import GenerationRequest, Generator

pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

NUM_REQUESTS = 48
NUM_TOKENS = 100
NUM_BLOCKS = 40
"""Of 32 tokens each: enough for ten of the 48 sequences at full length, or one whole context."""


@pytest.fixture(scope="module")
def roomy(tiny_generator: Path) -> Iterator[Generator]:
    generator, _ = load_backends(engine_config(generator=str(tiny_generator), max_num_seqs=64))
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def cramped(tiny_generator: Path) -> Iterator[Generator]:
    generator, _ = load_backends(
        engine_config(
            generator=str(tiny_generator),
            max_num_seqs=64,
            generator_args={"num_gpu_blocks_override": NUM_BLOCKS},
        )
    )
    yield generator
    generator.close()


def request(index: int, priority: int = 0) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"request-{index}",
        prompt_token_ids=[50 + index % 5, *range(60, 90)],
        seed=index,
        sampling=Sampling(temperature=1.0),
        max_tokens=NUM_TOKENS,
        priority=priority,
    )


def decode(
    generator: Generator, priorities: list[int]
) -> tuple[dict[str, list[int]], Counter[str]]:
    """Tokens of each request, and how often one that had begun went without a token."""
    for index, priority in enumerate(priorities):
        generator.add(request(index, priority))
    tokens: dict[str, list[int]] = {}
    interruptions: Counter[str] = Counter()
    running: set[str] = set()
    while generator.num_unfinished():
        outputs = generator.step()
        advanced = {output.request_id for output in outputs}
        interruptions.update(running - advanced)
        running = (running | advanced) - {o.request_id for o in outputs if o.is_finished}
        for output in outputs:
            tokens.setdefault(output.request_id, []).extend(output.token_ids)
    return tokens, interruptions


def test_memory_pressure_does_not_change_tokens(roomy: Generator, cramped: Generator) -> None:
    expected, undisturbed = decode(roomy, [0] * NUM_REQUESTS)
    found, interruptions = decode(cramped, [0] * NUM_REQUESTS)
    assert undisturbed.total() == 0
    assert interruptions.total() > NUM_REQUESTS, "the pool is not small enough to test anything"
    assert found == expected


def test_alone_in_company_and_preempted(roomy: Generator) -> None:
    together, _ = decode(roomy, [0] * NUM_REQUESTS)
    for index in (0, 17, 47):
        roomy.add(request(index))
        tokens: list[int] = []
        while roomy.num_unfinished():
            for output in roomy.step():
                tokens += output.token_ids
            if len(tokens) in (1, 33, 70):
                roomy.preempt_all()
        assert tokens == together[f"request-{index}"]


def test_low_priorities_are_preempted_first(cramped: Generator) -> None:
    first = [f"request-{index}" for index in (3, 14, 29, 40)]
    priorities = [0 if f"request-{i}" in first else 1 for i in range(NUM_REQUESTS)]
    _, interruptions = decode(cramped, priorities)
    assert interruptions.total() > 0
    assert not set(first) & set(interruptions)
