"""Where allocation is skipped, vLLM would have allocated and cached nothing."""

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fasttts import FastTTS
from fasttts.backends.vllm.block_allocation import skip_idle_allocations
from tests.vllm.inside import engine_of

pytestmark = pytest.mark.vllm

PROBLEM = "Tom has 10 pens. Tom buys 5 bags of 8 pens. How many pens does Tom have now?"


@pytest.fixture(scope="module", params=[None, 40], ids=["roomy", "short"])
def engine(request: pytest.FixtureRequest) -> Iterator[FastTTS]:
    """Engines of which the second has so few blocks that sequences are preempted."""
    blocks = {"num_gpu_blocks_override": request.param} if request.param else {}
    with FastTTS.load("demo", max_num_seqs=16, max_model_len=512, generator_args=blocks) as found:
        yield found


def test_nothing_is_left_out(engine: FastTTS, monkeypatch: pytest.MonkeyPatch) -> None:
    core: Any = engine_of(engine.generator).engine_core
    manager = core.engine_core.scheduler.kv_cache_manager
    (blocks,) = manager.coordinator.single_type_managers
    assert "allocate_slots" in vars(manager)  # it is not vLLM's own method
    skipping, allocate = manager.allocate_slots, type(manager).allocate_slots
    asked: Counter[bool] = Counter()

    def state(request_id: str) -> Any:
        held = [block.block_id for block in blocks.req_to_blocks.get(request_id, ())]
        cached = blocks.num_cached_block.get(request_id, 0)
        return held, cached, manager.block_pool.get_num_free_blocks()

    def checked(request: Any, *arguments: Any, **options: Any) -> Any:
        found = skipping(request, *arguments, **options)
        is_nothing = found is manager.empty_kv_cache_blocks
        asked[is_nothing] += 1
        if is_nothing:
            before = state(request.request_id)
            assert allocate(manager, request, *arguments, **options) is found
            assert state(request.request_id) == before
        return found

    monkeypatch.setattr(manager, "allocate_slots", checked)
    for seed in range(3):
        engine.search(PROBLEM, n=16, seed=seed, max_tokens=200)
    assert asked[True] > 10 * asked[False]


@pytest.mark.parametrize(
    "scheduler",
    [
        {"connector": object()},
        {"connector": None, "managers": ["SlidingWindowManager"]},
        {"connector": None, "managers": ["FullAttentionManager", "MambaManager"]},
        {"connector": None, "managers": ["FullAttentionManager"], "enable_caching": False},
    ],
)
def test_other_engines_are_left_alone(scheduler: dict[str, Any]) -> None:
    groups = [type(name, (), {})() for name in scheduler.get("managers", ["FullAttentionManager"])]
    manager = SimpleNamespace(
        coordinator=SimpleNamespace(single_type_managers=tuple(groups)),
        enable_caching=scheduler.get("enable_caching", True),
        allocate_slots="vLLM's own",
    )
    skip_idle_allocations(
        SimpleNamespace(kv_cache_manager=manager, connector=scheduler["connector"])
    )
    assert manager.allocate_slots == "vLLM's own"
