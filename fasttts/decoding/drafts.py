"""Drafts of a sequence's next tokens, looked up in text that its group already has.

Beams of one search repeat each other and the problem. Where a sequence stands now, its last tokens
are looked for in all texts of its group; what followed there is the draft. Nothing here decides
about a token: a draft is kept where it is what the sampling rule draws, see `interfaces.py`.

Of the last 8, 5, 3, 2 and 1 tokens the longest run counts that occurred before, at the place that
was written last, in whatever text. Behind a run of n tokens at most 2n - 1 tokens are drafted: one
behind a single token, three behind two. `benchmarks/draft_counts.py` counts what that gives, and
`docs/log.md` has the rules that gave less.
"""

from collections.abc import Sequence

LENGTHS = (8, 5, 3, 2, 1)
"""Tokens of the runs that are looked up, the longest first."""

MAX_DRAFTED_BATCH = 512
"""Most tokens of an iteration with drafts: with more, a GPU is no longer bound by its memory."""

_Places = dict[tuple[int, ...], tuple[list[int], int]]
"""For runs of tokens, the text with the place behind the latest of each."""


def draft_lengths(most: int) -> tuple[int, ...]:
    """Lengths of drafts that are tried, none among them: the longest one, and the powers of two.

    Args:
        most: The longest.
    """
    return (*(1 << bit for bit in range(most.bit_length()) if 1 << bit < most), most)


class _Group:
    """What the texts of one group have at which places: the newer half, and the older one."""

    __slots__ = ("new", "old", "prefixes")

    def __init__(self) -> None:
        self.new: _Places = {}
        self.old: _Places = {}
        self.prefixes: set[int] = set()
        """Hashes of the beginnings of texts that are in `new`."""

    def age(self) -> None:
        """Forgets the older half."""
        self.old, self.new, self.prefixes = self.new, {}, set()

    def known(self, token_ids: Sequence[int]) -> tuple[int, int]:
        """Length of the longest known beginning of a text, and its hash."""
        chain = 0
        for known, token_id in enumerate(token_ids):
            further = hash((chain, token_id))
            if further not in self.prefixes:
                return known, chain
            chain = further
        return len(token_ids), chain


class _Text:
    """A text that grows.

    Attributes:
        group: Its group.
        token_ids: Its tokens, but for those of a known beginning, of which it has the last ones.
        chain: The hash of all of its tokens, which says what is known of another text.
    """

    __slots__ = ("chain", "group", "token_ids")

    def __init__(self, group: _Group, token_ids: list[int], chain: int) -> None:
        self.group = group
        self.token_ids = token_ids
        self.chain = chain

    def write(self, token_ids: Sequence[int]) -> None:
        """Adds tokens behind the text, and their places to the group."""
        own, places = self.token_ids, self.group.new
        for token_id in token_ids:
            place = (own, len(own))
            recent = tuple(own[-LENGTHS[0] :])
            for length in LENGTHS:
                if length <= len(recent):
                    places[recent[-length:]] = place
            own.append(token_id)
            self.chain = hash((self.chain, token_id))
            self.group.prefixes.add(self.chain)


class Drafts:
    """Drafts the next tokens of sequences from the texts of their groups.

    Time is linear in the tokens. A prompt begins with its parent's text: what its group has already
    is not written again, and costs a look for each token. Texts that ended are looked up like
    others. Memory is bounded: of all groups together the newest tokens count, from `max_tokens`
    down to half of that, as the older half is forgotten at a time, and what is read again after
    that is new. A token takes 300 bytes in text that repeats itself, and 700 elsewhere.

    Args:
        max_tokens: Most tokens whose places are known.
    """

    def __init__(self, max_tokens: int = 131_072) -> None:
        self._num_kept = max(1, max_tokens // 2)
        self._num_new = 0
        self._groups: dict[int, _Group] = {}
        self._texts: dict[str, _Text] = {}

    def begin(self, key: str, token_ids: Sequence[int], group: int = 0) -> None:
        """Begins the text of a sequence.

        Args:
            key: The sequence; none of those that have begun and not ended.
            token_ids: Its text so far.
            group: The texts that it is drafted from, and for.
        """
        texts = self._groups.setdefault(group, _Group())
        known, chain = texts.known(token_ids)
        context = list(token_ids[max(0, known - LENGTHS[0]) : known])
        self._texts[key] = _Text(texts, context, chain)
        self.append(key, token_ids[known:])

    def append(self, key: str, token_ids: Sequence[int]) -> None:
        """Adds tokens to the text of a sequence.

        Args:
            key: The sequence.
            token_ids: Its new tokens.
        """
        text = self._texts[key]
        for begin in range(0, len(token_ids), self._num_kept):
            piece = token_ids[begin : begin + self._num_kept]
            if self._num_new + len(piece) > self._num_kept:
                self._forget()
            text.write(piece)
            self._num_new += len(piece)

    def draft(self, key: str, most: int) -> list[int]:
        """Drafts the next tokens of a sequence; empty where nothing is known.

        Args:
            key: The sequence.
            most: Most tokens.
        """
        text = self._texts[key]
        new, old = text.group.new, text.group.old
        recent = tuple(text.token_ids[-LENGTHS[0] :])
        for length in LENGTHS:
            if length <= len(recent):
                run = recent[-length:]
                place = new.get(run) or old.get(run)
                if place is not None:
                    token_ids, at = place
                    return token_ids[at : at + min(most, 2 * length - 1)]
        return []

    def end(self, key: str) -> None:
        """Ends the text of a sequence; others are drafted from it until it is forgotten.

        Args:
            key: The sequence; unknown ones are ignored.
        """
        self._texts.pop(key, None)

    def _forget(self) -> None:
        """Forgets the older half of all groups, and groups of which nothing is left."""
        self._num_new = 0
        in_use = {id(text.group) for text in self._texts.values()}
        for group in self._groups.values():
            group.age()
        self._groups = {
            number: group
            for number, group in self._groups.items()
            if group.old or id(group) in in_use
        }
