"""Reads the text of a node while it decodes: stop strings and step ends, on token ids.

Text is decoded only when the newest token could complete one of them, so that the common token
costs one dictionary look-up, and nothing is decoded as a whole again.
"""

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from fasttts.decoding.steps import StepRule, StepScan, may_complete
from fasttts.decoding.tokenizer import INCOMPLETE, Tokenizer

_CONTEXT_TOKENS = 8
"""Tokens decoded together with a new one: some tokenizers render a token by its neighbours."""

_MAX_WINDOW_TOKENS = 64
"""With so many tokens in the window, an incomplete character at its end will not be completed."""


class IncrementalDecoder:
    """The text of a growing sequence of tokens, without decoding it as a whole again.

    Args:
        tokenizer: The generator's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []
        self._num_emitted = 0

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that became certain with these new tokens.

        An incomplete character at the end is held back until its last bytes have come.
        """
        self._window += token_ids
        text = self._tokenizer.decode(self._window)
        certain = text.rstrip(INCOMPLETE)
        if len(certain) < len(text) and len(self._window) <= _MAX_WINDOW_TOKENS:
            new = certain[self._num_emitted :]
            self._num_emitted = max(self._num_emitted, len(certain))
            return new
        new = text[self._num_emitted :]
        self._window = self._window[-_CONTEXT_TOKENS:]
        self._num_emitted = len(self._tokenizer.decode(self._window))
        return new

    def peek(self, token_id: int) -> str:
        """The text that would become certain with this token, which is not taken."""
        certain = self._tokenizer.decode([*self._window, token_id]).rstrip(INCOMPLETE)
        return certain[self._num_emitted :]


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the earliest of the stop strings begins in a text; None where none does.

    Args:
        text: The text to search.
        stop: The stop strings.
    """
    found = [position for s in stop if (position := text.find(s)) >= 0]
    return min(found, default=None)


def place_tokens(sizes: Sequence[int], starts: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Divides the tokens of a text among its steps; every token belongs to one.

    A token without text belongs to the step of its place, and one that ends a step and begins the
    next to both.

    Args:
        sizes: Characters of each token; together they are the text.
        starts: Where each step begins; what is before the first belongs to it.

    Returns:
        For each step the index of its first token, and that behind its last one.
    """
    ends = list(itertools.accumulate(sizes))
    begins = [0, *ends[:-1]]
    lasts = [bisect.bisect_left(begins, start) for start in starts[1:]]
    firsts = [
        last - 1 if last and begins[last - 1] < start < ends[last - 1] else last
        for start, last in zip(starts[1:], lasts, strict=True)
    ]
    return tuple(zip([0, *firsts], [*lasts, len(sizes)], strict=True))


class StopScan:
    """Finds the first stop string in a text that grows, also where it begins before the text.

    Args:
        stop: The stop strings.
        before: The answer's text before the scanned one.

    Attributes:
        found_at: Where the stop string begins, counted from the scanned text's beginning, so that
            it is negative where it begins before that; None while none is complete.
    """

    def __init__(self, stop: Sequence[str], before: str = "") -> None:
        self.found_at: int | None = None
        self._stop = stop
        self._num_kept = max(map(len, stop), default=1) - 1
        self._tail = before[max(0, len(before) - self._num_kept) :]
        self._size = 0

    def push(self, text: str) -> None:
        """Takes text that was added."""
        if self.found_at is None and self._stop:
            window = self._tail + text
            at = find_stop(window, self._stop)
            if at is not None:
                self.found_at = self._size - len(self._tail) + at
            self._tail = window[max(0, len(window) - self._num_kept) :]
        self._size += len(text)

    def num_certain(self, text: str) -> int:
        """Characters of `text` that neither are a stop string nor could begin one."""
        at = find_stop(text, self._stop)
        if at is not None:
            return at
        return len(text) - next(self._begun(text), 0)

    def _begun(self, text: str) -> Iterator[int]:
        """Lengths of the ends of `text` that a stop string begins with, the longest first."""
        for length in range(min(len(text), self._num_kept), 0, -1):
            if any(s.startswith(text[-length:]) for s in self._stop):
                yield length


class TextReader:
    """The text of one node as far as it was read.

    Args:
        tokenizer: The generator's.
        rule: What ends a step.
        stop: Strings that end an answer.
        before: The answer's text before the node.
    """

    def __init__(
        self, tokenizer: Tokenizer, rule: StepRule, stop: Sequence[str], before: str
    ) -> None:
        self._decoder = IncrementalDecoder(tokenizer)
        self._steps = StepScan(rule, before)
        self._stops = StopScan(stop, before)
        self._num_read = 0

    @property
    def num_steps(self) -> int:
        """Steps that have ended."""
        return len(self._steps.ends)

    @property
    def stop_at(self) -> int | None:
        """Where the first stop string begins, negative before the node; None without one."""
        return self._stops.found_at

    def read(self, token_ids: Sequence[int]) -> None:
        """Reads the new tokens of a node.

        Args:
            token_ids: All tokens of the node.
        """
        text = self._decoder.push(token_ids[self._num_read :])
        self._num_read = len(token_ids)
        self._steps.push(text)
        self._stops.push(text)


class ReadingRules:
    """What ends steps and answers, for one tokenizer.

    Args:
        tokenizer: The generator's.
        rule: What ends a step.
        stop: Strings that end an answer.
    """

    def __init__(self, tokenizer: Tokenizer, rule: StepRule, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._rule = rule
        self._stop = stop
        self._may_end: dict[int, bool] = {}

    @property
    def counts_tokens(self) -> bool:
        """Whether a step ends after a number of tokens."""
        return self._rule.num_tokens is not None

    def may_end(self, token_id: int) -> bool:
        """Whether a token could complete a step or a stop string."""
        known = self._may_end.get(token_id)
        if known is None:
            text = self._tokenizer.decode([token_id])
            is_step_end = self._rule.num_tokens is None and self._rule.may_end_with(text)
            is_stop = any(INCOMPLETE in text or may_complete(stop, text) for stop in self._stop)
            known = self._may_end[token_id] = is_step_end or is_stop
        return known

    def reader(self, before: str) -> TextReader:
        """A reader of a node behind the text `before`."""
        return TextReader(self._tokenizer, self._rule, self._stop, before)

    def has_steps(
        self, token_ids: Sequence[int], num_steps: int, reader: TextReader | None
    ) -> bool:
        """Whether a node has reached `num_steps` steps.

        Args:
            token_ids: All tokens of the node.
            num_steps: How many steps it holds.
            reader: What has read them; None where no token could have ended a step.
        """
        if self._rule.num_tokens is not None:
            return len(token_ids) >= num_steps * self._rule.num_tokens
        return reader is not None and reader.num_steps >= num_steps

    def split(
        self,
        token_ids: Sequence[int],
        text: str,
        num_steps: int | None = None,
        before: Callable[[], str] = str,
    ) -> tuple[str, ...]:
        """The steps of one node, blank ones left out.

        Args:
            token_ids: The node's tokens.
            text: Their text, up to a stop string.
            num_steps: Most steps of the node, None for any number: what its last token brings
                beyond their end belongs to the last.
            before: Gives the answer's text before the node.
        """
        bounds = self._bounds(token_ids, text, num_steps, before)
        text = self._visible(text, before)
        pieces = [self._rule.clean(text[i:j]) for i, j in itertools.pairwise(bounds)]
        return tuple(piece for piece in pieces if piece)

    def spans(
        self,
        token_ids: Sequence[int],
        text: str,
        num_steps: int | None = None,
        before: Callable[[], str] = str,
    ) -> tuple[tuple[int, int], ...]:
        """The tokens of each step that `split` finds, as begin and end in `token_ids`.

        What is blank belongs to the step before it; see `place_tokens`.

        Args:
            token_ids: As for `split`.
            text: As for `split`.
            num_steps: As for `split`.
            before: As for `split`.
        """
        bounds = self._bounds(token_ids, text, num_steps, before)
        visible = self._visible(text, before)
        pieces = list(itertools.pairwise(bounds))
        starts = [i for i, j in pieces if self._rule.clean(visible[i:j])]
        if len(starts) < 2 and visible == text:
            return ((0, len(token_ids)),) * len(starts)
        decoder = IncrementalDecoder(self._tokenizer)
        sizes = [len(decoder.push([token_id])) for token_id in token_ids]
        if not starts or visible == text:
            return place_tokens(sizes, starts) if starts else ()
        starts[0] = len(visible) - len(visible.lstrip())  # what is before it is a thought
        return place_tokens(sizes, [0, *starts])[1:]

    def _visible(self, text: str, before: Callable[[], str]) -> str:
        """A node's text without thoughts that are no part of any step."""
        return self._rule.visible(text, before()) if self._rule.skips_thoughts else text

    def _bounds(
        self,
        token_ids: Sequence[int],
        text: str,
        num_steps: int | None,
        before: Callable[[], str],
    ) -> list[int]:
        """Where the steps of `split` begin and end, blank ones among them."""
        ends = () if num_steps == 1 else self._ends(token_ids, text, before)
        inner = itertools.islice(ends, None if num_steps is None else num_steps - 1)
        return [0, *inner, len(text)]

    def _ends(
        self, token_ids: Sequence[int], text: str, before: Callable[[], str]
    ) -> Iterable[int]:
        size = self._rule.num_tokens
        if size is None:
            scan = StepScan(self._rule, before())
            scan.push(text)
            return scan.ends
        decoder, at, ends = IncrementalDecoder(self._tokenizer), 0, []
        for start in range(0, len(token_ids) - size, size):
            at += len(decoder.push(token_ids[start : start + size]))
            ends.append(at)
        return ends
