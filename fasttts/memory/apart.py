"""Plans two models on a GPU each."""

from dataclasses import replace

from fasttts.errors import CapacityError
from fasttts.memory.costs import Costs
from fasttts.memory.latency_model import LatencyModel
from fasttts.memory.plan import MemoryPlan
from fasttts.memory.planner import engine_plan, verification_batch_tokens
from fasttts.memory.requirements import PROCESS_BYTES, generator_needs, verifier_needs
from fasttts.memory.units import format_bytes


def with_verifier_apart(plan: MemoryPlan, generator: Costs, verifier: Costs) -> MemoryPlan:
    """Adds a verifier on a GPU of its own to the plan of a generator alone.

    The GPUs are taken to be alike. The predicted time is the sum of both models', though the
    verifier scores steps while the generator decodes: it is an upper bound.

    Args:
        plan: The generator's.
        generator: Its shape and costs.
        verifier: The verifier's.

    Raises:
        CapacityError: The verifier does not fit on its GPU.
    """
    slots = plan.generator.max_num_seqs
    own = generator_needs(plan.device, generator, plan.workload, slots)
    needs = verifier_needs(plan.device, verifier, plan.workload, own)
    left = plan.usable_bytes - PROCESS_BYTES - needs.fixed_bytes
    kv_bytes = needs.whole_blocks(min(left, needs.enough_kv_bytes))
    if kv_bytes < needs.min_kv_bytes:
        raise CapacityError(
            f"too little memory on a second {plan.device.name}: {needs.shape.name} lacks "
            f"{format_bytes(needs.min_kv_bytes - left)} of {format_bytes(plan.usable_bytes)} to "
            "use; choose a smaller or quantised verifier, or a shorter context",
            role="verifier",
        )
    model = LatencyModel(own, needs, slots=slots, link_bytes_per_s=plan.device.link_bytes_per_s)
    reason = (
        f"The verifier has a GPU of its own, with {format_bytes(kv_bytes)} of KV, and scores while "
        "the generator decodes; the prediction adds both times up."
    )
    return replace(
        plan,
        kind="apart",
        verifier=engine_plan(
            plan.device,
            needs,
            kv_bytes=kv_bytes,
            max_num_seqs=slots,
            has_own_process=True,
        ),
        verification_batch_tokens=verification_batch_tokens(needs),
        times=model.times(plan.generator.kv_cache_memory_bytes, kv_bytes),
        is_measured=plan.is_measured or verifier.is_measured,
        reasons=(*plan.reasons, reason),
    )
