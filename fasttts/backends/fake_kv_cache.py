"""A simulated paged KV cache: shared prefix blocks, reference counts, eviction.

The fake generator uses it so that memory pressure, preemption and recomputation can be counted
without a device. Blocks are keyed by the whole prefix they end, as in vLLM's prefix cache.
"""

from collections import OrderedDict
from collections.abc import Sequence


class BlockPool:
    """A pool of KV blocks.

    A full block in use may be shared; a full block without users stays cached until its place is
    needed, least recently used first. The partial block at a sequence's end is its own.

    Args:
        block_size: Tokens of a block.
        num_blocks: Blocks of the cache.
    """

    def __init__(self, block_size: int, num_blocks: int) -> None:
        self.block_size = block_size
        self.num_blocks = num_blocks
        self._users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._num_partial = 0

    @property
    def usage(self) -> float:
        """Share of the blocks that sequences hold, 0 to 1."""
        return (len(self._users) + self._num_partial) / self.num_blocks

    def open(self, token_ids: Sequence[int]) -> "Holding | None":
        """Allocates blocks for a sequence; None where they do not fit.

        The last token never comes from the cache: its logits are needed.
        """
        keys = self._keys(token_ids)
        num_cached = 0
        for key in keys[: (len(token_ids) - 1) // self.block_size]:
            if key not in self._users and key not in self._idle:
                break
            num_cached += 1
        new = [key for key in keys if key not in self._users]
        if len(self._users) + len(new) + self._num_partial + 1 > self.num_blocks:
            return None
        for key in keys:
            self._use(key)
        self._num_partial += 1
        return Holding(keys=keys, num_cached_tokens=num_cached * self.block_size)

    def extend(self, holding: "Holding", token_ids: Sequence[int]) -> bool:
        """Makes room for one more token; returns whether there was any.

        Args:
            holding: The blocks of the sequence.
            token_ids: Its tokens so far.
        """
        if len(token_ids) % self.block_size:
            return True
        if len(self._users) + self._num_partial + 1 > self.num_blocks:
            return False
        last = holding.keys[-1] if holding.keys else 0
        key = hash((last, tuple(token_ids[-self.block_size :])))
        holding.keys.append(key)
        self._use(key)
        return True

    def room(self, num_tokens: int) -> int:
        """Further tokens for which there is room without taking blocks from another sequence.

        Args:
            num_tokens: Tokens so far of a sequence that has room for one more.
        """
        num_free = self.num_blocks - len(self._users) - self._num_partial
        return self.block_size - num_tokens % self.block_size + num_free * self.block_size

    def close(self, holding: "Holding") -> None:
        """Releases a sequence's blocks; full ones stay cached, the last ones are evicted first."""
        self._num_partial -= 1
        for key in reversed(holding.keys):
            self._users[key] -= 1
            if self._users[key] == 0:
                del self._users[key]
                self._idle[key] = None
        self._evict()

    def clear(self) -> None:
        """Drops every cached block without users."""
        self._idle.clear()

    def _keys(self, token_ids: Sequence[int]) -> list[int]:
        keys, key = [], 0
        for end in range(self.block_size, len(token_ids) + 1, self.block_size):
            key = hash((key, tuple(token_ids[end - self.block_size : end])))
            keys.append(key)
        return keys

    def _use(self, key: int) -> None:
        self._idle.pop(key, None)
        self._users[key] = self._users.get(key, 0) + 1
        self._evict()

    def _evict(self) -> None:
        num_free = self.num_blocks - len(self._users) - self._num_partial
        while len(self._idle) > max(num_free, 0):
            self._idle.popitem(last=False)


class Holding:
    """The blocks of one sequence, in order.

    Args:
        keys: Its full blocks.
        num_cached_tokens: Tokens that were in the cache when it was opened.
    """

    __slots__ = ("keys", "num_cached_tokens")

    def __init__(self, keys: list[int], num_cached_tokens: int) -> None:
        self.keys = keys
        self.num_cached_tokens = num_cached_tokens
