"""How long each sequence's draft may be where a drafted token costs something.

A drafted token is one row more of the iteration, and gains a token if it is kept, which it is only
behind drafts that are. How often that happens differs between sequences: one repeats what another
wrote, the next says something new. So the draft of each ends where a further token is kept less
often than it would have to be to pay for its row.
"""

import math
from collections.abc import Collection, Mapping

_MEMORY = 0.9
"""What an iteration leaves of the weight of those before it."""

_PRIOR = 4.0
"""Drafted tokens that the share of all sequences counts for, in the share of each."""

_MOST_ENDED = 64
"""Ended sequences whose counts are kept, so that it is looked for them now and then only."""

_SPECULATIVE_WORTH = 0.5
"""What a token of a speculative step is worth, beside one of a step that is needed."""


class DraftLengths:
    """Counts how often each sequence's drafted tokens were kept lately."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[float, float]] = {}
        """Tokens of a sequence's drafts that were kept, and those that were compared."""
        self._all = (1.0, 2.0)

    def took(self, request_id: str, num_drafted: int, num_kept: int) -> None:
        """Adds a draft. A token behind one that was not kept says nothing.

        Args:
            request_id: The sequence's request.
            num_drafted: Its tokens.
            num_kept: Those that were kept.
        """
        num_compared = num_kept + (num_kept < num_drafted)
        self._counts[request_id] = _aged(self._counts.get(request_id), num_kept, num_compared)
        self._all = _aged(self._all, num_kept, num_compared, memory=0.999)

    def forget_others(self, sequences: Collection[str]) -> None:
        """Forgets sequences that ended, once there are many.

        Args:
            sequences: Those that run, by request.
        """
        if len(self._counts) > 2 * len(sequences) + _MOST_ENDED:
            self._counts = {i: self._counts[i] for i in sequences if i in self._counts}

    def fewer(self, sequences: Mapping[str, bool], most: int, price: float) -> dict[str, int]:
        """Lists the sequences whose drafts should be shorter than `most`, and how long they may be.

        Args:
            sequences: All that run, by request, and whether each is needed.
            most: Tokens of the longest draft.
            price: Share of the tokens of a certain place that must be kept to pay for their rows.
        """
        found = {}
        for request_id, is_needed in sequences.items():
            own_price = price if is_needed else price / _SPECULATIVE_WORTH
            length = _length(self.share(request_id), own_price, most)
            if length < most:
                found[request_id] = length
            if length == 0:  # what it was like is forgotten, so that it gets drafts again
                self._counts[request_id] = _aged(self._counts.get(request_id), 0, 0)
        return found

    def share(self, request_id: str) -> float:
        """Share of a sequence's drafted tokens that are kept, of those behind kept ones.

        Args:
            request_id: The sequence's request; of an unknown one as of all sequences.
        """
        kept, compared = self._counts.get(request_id, (0.0, 0.0))
        return (kept + _PRIOR * self._all[0] / self._all[1]) / (compared + _PRIOR)


def _aged(
    counts: tuple[float, float] | None, kept: float, compared: float, memory: float = _MEMORY
) -> tuple[float, float]:
    before = (0.0, 0.0) if counts is None else counts
    return before[0] * memory + kept, before[1] * memory + compared


def _length(share: float, price: float, most: int) -> int:
    """The last place of which at least `price` of the tokens are kept."""
    if price <= 0 or share >= 1:
        return most
    if price >= 1 or share <= 0:
        return 0
    return min(most, math.floor(math.log(price) / math.log(share)))
