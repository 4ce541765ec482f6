"""Spares vLLM's scheduler the allocation of blocks where a sequence needs none.

vLLM asks its block manager for each sequence in each iteration, though a decoding sequence needs a
new block, or completes one for the prefix cache, in one of sixteen: half of what scheduling costs.
"""

from typing import Any


def skip_idle_allocations(scheduler: Any) -> None:
    """Has a scheduler's block manager return at once where there is nothing to allocate or cache.

    Only where it is known to change nothing: in an engine whose layers all have full attention, and
    without a connector that moves blocks elsewhere.

    Args:
        scheduler: vLLM's scheduler of an engine core (0.24 to 0.32).
    """
    manager = scheduler.kv_cache_manager
    groups: tuple[Any, ...] = getattr(manager.coordinator, "single_type_managers", ())
    if getattr(scheduler, "connector", None) is not None or len(groups) != 1:
        return
    blocks = groups[0]
    if type(blocks).__name__ != "FullAttentionManager" or not manager.enable_caching:
        return
    allocate, nothing = manager.allocate_slots, manager.empty_kv_cache_blocks
    blocks_of, num_cached_of = blocks.req_to_blocks, blocks.num_cached_block
    block_size, decoding = blocks.block_size, {"num_lookahead_tokens"}

    def allocate_slots(request: Any, num_new_tokens: int, *others: Any, **options: Any) -> Any:
        if num_new_tokens == 1 and not others and options.keys() == decoding:
            num_tokens = request.num_computed_tokens + 1
            num_ahead = num_tokens + options["num_lookahead_tokens"]
            held = blocks_of.get(request.request_id, ())
            num_full = min(num_tokens, request.num_tokens) // block_size
            has_room = num_ahead <= min(len(held) * block_size, manager.max_model_len)
            if has_room and num_full <= num_cached_of.get(request.request_id, 0):
                return nothing
        return allocate(request, num_new_tokens, *others, **options)

    manager.allocate_slots = allocate_slots
