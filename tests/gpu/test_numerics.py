"""On a GPU `numerics="deterministic"` gives one tree under every schedule and memory plan.

Each run is a process of its own, because a process has one `numerics`. A pretrained generator runs
where the variable `PRETRAINED_MODEL` has its directory.
"""

import os
from functools import cache

import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.environment import RUNNER_VARIABLE
from fasttts.config import engine_config
from tests.exactness_runs import Rows, check_same_trees, run_exactness
from tests.gpu.conftest import KV_CACHE_BYTES, RUNNERS

pytestmark = [pytest.mark.gpu, pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1200)]

SEARCHES = 8
FEW_SEARCHES = 4
"""Of a pretrained model, which takes some ten times as long as the bundled one."""
MODEL_VARIABLE = "PRETRAINED_MODEL"
PLANS = {
    "side_by_side": ("offloading=none",),
    "time_shared": ("offloading=sleep",),
    "kv_offload": ("offloading=kv", "planned_beams=4096"),
}
"""What has the planner choose each way of sharing a small part of the device."""

TRITON = ("--option", 'generator_args={"attention_backend":"TRITON_ATTN"}')
"""Known to compute alike whatever the batch, in bfloat16 as well."""

_SHARED_BYTES = 3 << 30


@cache
def run(runner: str, plan: str) -> Rows:
    import torch

    share = _SHARED_BYTES / torch.cuda.get_device_properties(0).total_memory
    options = (f"gpu_memory_utilization={share:.4f}", *PLANS[plan])
    return run_exactness(
        *("--numerics", "deterministic", "--max-model-len", "512"),
        *("--searches", str(SEARCHES), "--max-tokens", "200"),
        *(part for option in options for part in ("--option", option)),
        variables={RUNNER_VARIABLE: RUNNERS[runner]},
        timeout_s=1000,
    )


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("plan", PLANS)
def test_every_schedule_gives_the_tree_of_the_plain_loop(runner: str, plan: str) -> None:
    rows = run(runner, plan)
    assert {row["plan"] for row in rows.values()} == {plan}
    check_same_trees(rows, searches=SEARCHES)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_memory_plan_changes_no_tree(runner: str) -> None:
    digests = {plan: run(runner, plan)["plain"]["digests"] for plan in PLANS}
    assert digests["time_shared"] == digests["side_by_side"]
    assert digests["kv_offload"] == digests["side_by_side"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_drafts_change_no_tree(dtype: str) -> None:
    arms = ("plain", "drafts", "two_with_drafts", "plain_with_drafts", "no_drafts")
    rows = run_exactness(
        *("--numerics", "deterministic", "--dtype", dtype, "--max-model-len", "512"),
        *("--searches", str(SEARCHES), "--max-tokens", "200", "--arms", ",".join(arms)),
        *(("--verifier", "judge") if dtype == "bfloat16" else ()),
        *("--option", "gpu_memory_utilization=0.05"),
        *TRITON,
        variables={RUNNER_VARIABLE: RUNNERS["second"]},
        timeout_s=1000,
    )
    check_same_trees(rows, searches=SEARCHES, arms=arms)
    assert rows["drafts"]["drafted_tokens"] > 0 == rows["no_drafts"]["drafted_tokens"]


def test_a_process_has_one_numerics() -> None:
    with FastTTS.load("demo", max_num_seqs=8, kv_cache_memory_bytes=KV_CACHE_BYTES) as engine:
        assert engine.search("What is 2 + 2?", n=4, max_tokens=40).numerics == "default"
        with pytest.raises(ConfigurationError, match="start another process"):
            load_backends(engine_config(numerics="deterministic"))


@pytest.mark.skipif(MODEL_VARIABLE not in os.environ, reason=f"{MODEL_VARIABLE} names no model")
def test_a_pretrained_model_has_one_tree() -> None:
    rows = run_exactness(
        *("--generator", os.environ[MODEL_VARIABLE], "--verifier", "demo"),
        *(
            "--numerics",
            "deterministic",
            "--max-model-len",
            "2048",
            "--searches",
            str(FEW_SEARCHES),
        ),
        *("--max-tokens", "200"),
        *("--option", "gpu_memory_utilization=0.1"),
        timeout_s=1000,
    )
    check_same_trees(rows, searches=FEW_SEARCHES)
