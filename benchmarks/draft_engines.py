"""One engine for each arm of `draft_bounds`: FastTTS's generator, with or without drafts."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.arguments import VllmDevice
from fasttts.backends.vllm.checkpoint import check_checkpoint
from fasttts.backends.vllm.environment import (
    RUNNER_VARIABLE,
    prepare_environment,
    quiet,
    set_environment,
)
from fasttts.config import engine_config

if TYPE_CHECKING:
    from benchmarks.known_drafts import Comparison, DraftRule, GraphModes, Kind, KnownDrafter
    from fasttts.backends.vllm.generator import VLLMGenerator

MAX_MODEL_LEN = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An open engine of one arm.

    Attributes:
        arm: The arm's name.
        k: Drafts of a sequence in an iteration; 0 without.
        generator: Decodes.
        modes: How CUDA graphs served its iterations.
        drafter: Drafts; None without drafts.
        rule: Keeps drafts; None without drafts.
        is_async: Whether vLLM schedules asynchronously.
        open_s: How long it took to open.
    """

    arm: str
    k: int
    generator: "VLLMGenerator"
    modes: "GraphModes"
    drafter: "KnownDrafter | None"
    rule: "DraftRule | None"
    is_async: bool
    open_s: float

    @property
    def host_s(self) -> tuple[float, float]:
        """Seconds of the host so far that drafting takes: the drafts, and rows, seeds and keys."""
        if self.drafter is None or self.rule is None:
            return 0.0, 0.0
        return self.drafter.seconds, self.rule.seconds

    def choose(self, kind: "Kind", comparison: "Comparison") -> None:
        """Chooses what is drafted from now on, and how it is compared.

        Args:
            kind: What the drafts are.
            comparison: What keeps them.
        """
        if self.drafter is not None and self.rule is not None:
            self.drafter.kind, self.rule.comparison = kind, comparison


def open_arm(
    model: Path, arm: str, k: int, *, batches: Sequence[int], kv_bytes: int, is_eager: bool
) -> Engine:
    """Opens the engine of an arm.

    Args:
        model: The model's directory.
        arm: One of "async", "sync", "second" and "drafts".
        k: Drafts of a sequence in an iteration; 0 for arms without.
        batches: All numbers of sequences that will decode together.
        kv_bytes: Size of the KV cache.
        is_eager: Whether there are no CUDA graphs.

    Raises:
        FastTTSError: vLLM cannot open it.
    """
    prepare_environment(None)
    with quiet():
        from vllm.platforms import current_platform

        from benchmarks.known_drafts import GraphModes, open_with_drafts, runner_of
        from fasttts.backends.vllm.builder import EngineBuilder
        from fasttts.backends.vllm.engine_lifecycle import open_engine

    is_cpu = bool(current_platform.is_cpu())
    extra: dict[str, Any] = {"load_format": "dummy", "enforce_eager": is_eager or is_cpu}
    if not extra["enforce_eager"]:  # all sizes that are measured, and no others: opens sooner
        sizes = [batch * (1 + k) for batch in batches]
        extra["compilation_config"] = {"cudagraph_capture_sizes": sizes}
    if arm == "sync":
        extra["async_scheduling"] = False
    config = engine_config(
        generator=str(model),
        verifier=None,
        max_num_seqs=max(batches),
        max_model_len=MAX_MODEL_LEN,
        kv_cache_memory_bytes=kv_bytes,
        generator_args=extra,
    )
    memory = 0 if is_cpu else int(current_platform.get_device_total_memory())
    parts: dict[str, Any] = {"drafter": None, "rule": None}
    opened: list[Any] = []
    opener = partial(open_with_drafts, num_drafts=k, found=parts) if k else open_engine

    def opening(*positional: Any, **options: Any) -> Any:
        opened.append(opener(*positional, **options))
        return opened[0]

    builder = EngineBuilder(
        config=config,
        generator=check_checkpoint(str(model), "generator", False),
        verifier=None,
        device=VllmDevice(is_cpu=is_cpu, name=arm, memory_bytes=memory),
        plan=None,
        open_engine=opening,
    )
    started = time.perf_counter()
    with set_environment({RUNNER_VARIABLE: "1" if arm == "second" else "0"}):
        generator = builder.open_generator([])
    llm = opened[0]
    return Engine(
        arm=arm,
        k=k,
        generator=generator,
        modes=GraphModes(runner_of(llm)),
        is_async=bool(llm.llm_engine.vllm_config.scheduler_config.async_scheduling),
        open_s=time.perf_counter() - started,
        **parts,
    )


def free() -> None:
    """Gives the memory of a closed engine back to the device, once nothing refers to it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
