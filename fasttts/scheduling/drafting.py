"""Whether the next iterations draft tokens: measured, as nobody knows the cost of a draft before.

A draft saves iterations and makes each take longer. Which weighs more depends on the device, the
models, the sequences that run and the text, so both ways are timed while decoding, for each power
of two of the sequences: the seconds of an iteration, and the tokens that a sequence gains in one.
It begins with drafts, which pay wherever an engine has them at all but in rare cases. The way that
gives more tokens a second is taken, and the other is tried again now and then, less and less.
Results are the same either way, so nothing here can change one.
"""

import collections
import statistics
from typing import Literal

DraftRule = Literal["measured", "always"]

_NUM_SETTLING = 2
"""Iterations behind a change that count for neither way: engines that schedule ahead report the
tokens of one iteration beside the time of another."""

_NUM_TRIED = 12
"""Iterations of a trial, and as many before the first one."""

_MOST_TRIED, _FEWEST_TRIED = 48, 4
"""Iterations after which a trial ends that is always interrupted, as where the number of sequences
changes in each iteration; with fewer measured ones it says nothing."""

_FIRST_GAP, _LAST_GAP = 128, 8192
"""Iterations between two trials: twice as many after each that changed nothing, and four times as
many where it was clear. A trial of 14 iterations then costs nothing that can be measured."""

_BETTER, _CLEAR = 1.03, 1.25
"""How many times as many tokens a second the other way has to give to be taken, and how many times
as many are a clear case."""

_NUM_KEPT = 16
"""Iterations whose times are kept: their median counts, since a hiccup says nothing."""

_MEMORY = 256
"""Passes of single sequences that the mean of their tokens remembers."""


class _Way:
    """Iterations of one kind: with drafts, or without."""

    def __init__(self) -> None:
        self.seconds: collections.deque[float] = collections.deque(maxlen=_NUM_KEPT)
        self.mean_tokens = 1.0
        self._num_passes = 0

    def measured(self, num_sequences: int, seconds: float, num_tokens: int) -> None:
        self.seconds.append(seconds)
        self._num_passes = min(self._num_passes + num_sequences, max(_MEMORY, num_sequences))
        change = num_tokens / num_sequences - self.mean_tokens
        self.mean_tokens += change * num_sequences / self._num_passes

    @property
    def rate(self) -> float:
        """Tokens a second of one sequence."""
        return self.mean_tokens / max(statistics.median(self.seconds), 1e-9)


class _Choice:
    """The way of one power of two of the sequences, and when the other is tried."""

    def __init__(self) -> None:
        self.ways = (_Way(), _Way())
        self._drafts = True
        self._is_trial = False
        self._gap = _FIRST_GAP
        self._num_left = _NUM_TRIED
        self._num_unmeasured = 0

    @property
    def drafts(self) -> bool:
        """Whether the next iteration drafts."""
        return self._drafts != self._is_trial

    def measured(self, num_sequences: int, seconds: float, num_tokens: int) -> None:
        """Adds an iteration that went as `drafts` says."""
        self.ways[self.drafts].measured(num_sequences, seconds, num_tokens)
        self._num_left -= 1
        if self._num_left <= 0:
            if self._is_trial:
                self._end_trial()
            else:
                self._begin_trial()
        elif not self._is_trial and self._num_left % _NUM_KEPT == 0 and self._is_overtaken():
            self._take_other()

    def passed(self) -> None:
        """Adds an iteration that says nothing: something began in it, or it follows a change."""
        self._num_unmeasured += self._is_trial
        if self._num_unmeasured > _MOST_TRIED:
            self._end_trial()

    def _begin_trial(self) -> None:
        self._is_trial, self._num_left, self._num_unmeasured = True, _NUM_TRIED, 0
        self.ways[self.drafts].seconds.clear()  # they are old

    def _end_trial(self) -> None:
        self._is_trial, self._num_unmeasured = False, 0
        taken, other = self.ways[self._drafts], self.ways[not self._drafts]
        is_known = len(other.seconds) >= _FEWEST_TRIED
        if self._is_overtaken():
            self._take_other()
            return
        is_clear = is_known and taken.rate > _CLEAR * other.rate
        self._num_left = self._gap
        self._gap = min(self._gap * (4 if is_clear else 2), _LAST_GAP)

    def _is_overtaken(self) -> bool:
        taken, other = self.ways[self._drafts], self.ways[not self._drafts]
        return len(other.seconds) >= _FEWEST_TRIED and other.rate > _BETTER * taken.rate

    def _take_other(self) -> None:
        self._drafts = not self._drafts
        self._num_left = self._gap = _FIRST_GAP


class Drafting:
    """Decides before each iteration how many tokens the generator drafts for a sequence.

    Args:
        most: Most tokens; 0 never drafts.
        rule: When it drafts; see `SchedulingConfig.draft_rule`.
    """

    def __init__(self, most: int, rule: DraftRule) -> None:
        self._most = most
        self._rule = rule
        self._choices: dict[int, _Choice] = {}
        self._number: int | None = None
        """What the generator was told last."""
        self._num_settled = 0
        """Iterations since."""
        self._is_short = False

    def choose(self, num_sequences: int, *, is_short: bool) -> int | None:
        """Returns how many tokens are drafted from now on; None where that stays the same.

        Args:
            num_sequences: Sequences of the next iteration.
            is_short: Whether memory is short: then nothing is drafted.
        """
        self._is_short = is_short
        drafts = self._rule == "always" or self._choice(num_sequences).drafts
        number = self._most if drafts and not is_short else 0
        if number == self._number:
            return None
        self._number, self._num_settled = number, 0
        return number

    def measured(
        self, num_sequences: int, seconds: float, num_tokens: int, *, is_steady: bool
    ) -> None:
        """Adds the last iteration.

        Args:
            num_sequences: Its sequences.
            seconds: What it took.
            num_tokens: Tokens that it gave to all of them.
            is_steady: Whether it computed no prompt, as far as is known.
        """
        self._num_settled += 1
        choice = self._choice(num_sequences)
        if self._is_short:
            return
        if self._num_settled <= _NUM_SETTLING or not is_steady:
            choice.passed()
        elif self._rule == "always":
            choice.ways[bool(self._number)].measured(num_sequences, seconds, num_tokens)
        elif self._most:
            choice.measured(num_sequences, seconds, num_tokens)

    def mean_tokens(self, num_sequences: int) -> float:
        """Tokens that a sequence lately gained in an iteration as they are now; 1 without drafts.

        Args:
            num_sequences: Sequences of the iteration.
        """
        if not self._number:
            return 1.0
        return self._choice(num_sequences).ways[True].mean_tokens

    def _choice(self, num_sequences: int) -> _Choice:
        return self._choices.setdefault(num_sequences.bit_length(), _Choice())
