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
"""Iterations after which a trial ends in which hardly any could be measured, and how many have to
be of each way before they say anything."""

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


class _Batches:
    """Iterations of one power of two of the sequences.

    Args:
        drafts: Whether they draft, until measured otherwise.
    """

    def __init__(self, *, drafts: bool) -> None:
        self.ways = (_Way(), _Way())
        self.drafts = drafts
        self.num_left = _NUM_TRIED
        """Iterations until the other way is tried."""
        self._gap = _FIRST_GAP

    @property
    def is_overtaken(self) -> bool:
        """Whether the other way is known to be better."""
        taken, other = self.ways[self.drafts], self.ways[not self.drafts]
        is_known = min(len(taken.seconds), len(other.seconds)) >= _FEWEST_TRIED
        return is_known and other.rate > _BETTER * taken.rate

    def take_other(self) -> None:
        """Goes the other way from now on."""
        self.drafts = not self.drafts
        self.num_left = self._gap = _FIRST_GAP

    def keep(self) -> None:
        """Goes on in the same way, and puts the next trial off."""
        taken, other = self.ways[self.drafts], self.ways[not self.drafts]
        is_known = len(other.seconds) >= _FEWEST_TRIED
        is_clear = is_known and taken.rate > _CLEAR * other.rate
        self.num_left = self._gap
        self._gap = min(self._gap * (4 if is_clear else 2), _LAST_GAP)


class Drafting:
    """Decides before each iteration how many tokens the generator drafts for a sequence.

    Args:
        most: Most tokens; 0 never drafts.
        rule: When it drafts; see `SchedulingConfig.draft_rule`.
    """

    def __init__(self, most: int, rule: DraftRule) -> None:
        self._most = most
        self._rule = rule
        self._batches: dict[int, _Batches] = {}
        self._number: int | None = None
        """What the generator was told last."""
        self._num_settled = 0
        """Iterations since."""
        self._is_short = False
        self._trial: _Batches | None = None
        """Whose other way is tried, with batches of every size: else each change would disturb."""
        self._num_trial = self._num_passed = 0
        """Iterations of the trial, measured and not."""

    def choose(self, num_sequences: int, *, is_short: bool) -> int | None:
        """Returns how many tokens are drafted from now on; None where that stays the same.

        Args:
            num_sequences: Sequences of the next iteration.
            is_short: Whether memory is short: then nothing is drafted.
        """
        self._is_short = is_short
        number = self._most if self._drafts(num_sequences) and not is_short else 0
        if number == self._number:
            return None
        self._number, self._num_settled = number, 0
        return number

    def _drafts(self, num_sequences: int) -> bool:
        if self._rule == "always":
            return True
        if self._trial is not None:
            return not self._trial.drafts
        return self._of(num_sequences).drafts

    def measured(self, num_sequences: int, seconds: float, num_tokens: int) -> None:
        """Adds the last iteration, whatever began in it: in searches something nearly always does.

        Args:
            num_sequences: Its sequences.
            seconds: What it took.
            num_tokens: Tokens that it gave to all of them.
        """
        self._num_settled += 1
        if self._is_short or not self._most:
            return
        if self._num_settled <= _NUM_SETTLING:
            self._num_passed += 1
        else:
            batches = self._of(num_sequences)
            batches.ways[bool(self._number)].measured(num_sequences, seconds, num_tokens)
            self._num_trial += 1
            if self._rule == "measured" and self._trial is None:
                self._consider(batches)
        if self._trial is not None and (
            self._num_trial >= _NUM_TRIED or self._num_passed > _MOST_TRIED
        ):
            self._end_trial()

    def mean_tokens(self, num_sequences: int) -> float:
        """Tokens that a sequence lately gained in an iteration as they are now; 1 without drafts.

        Args:
            num_sequences: Sequences of the iteration.
        """
        if not self._number:
            return 1.0
        return self._of(num_sequences).ways[True].mean_tokens

    def _consider(self, batches: _Batches) -> None:
        """Goes on as before, changes what batches of this size do, or begins a trial."""
        batches.num_left -= 1
        if batches.num_left <= 0:
            batches.ways[not batches.drafts].seconds.clear()  # they are old
            self._trial, self._num_trial, self._num_passed = batches, 0, 0
        elif batches.num_left % _NUM_KEPT == 0 and batches.is_overtaken:
            batches.take_other()

    def _end_trial(self) -> None:
        trial, self._trial = self._trial, None
        assert trial is not None
        if trial.is_overtaken:
            trial.take_other()
        else:
            trial.keep()
        for batches in self._batches.values():
            is_unknown = len(batches.ways[trial.drafts].seconds) < _FEWEST_TRIED
            if batches.drafts != trial.drafts and (is_unknown or batches.is_overtaken):
                batches.take_other()  # what was measured of one size is the best guess for others

    def _of(self, num_sequences: int) -> _Batches:
        """Iterations of about so many sequences; a new size begins as the nearest one is."""
        size = num_sequences.bit_length()
        found = self._batches.get(size)
        if found is None:
            nearest = min(self._batches, key=lambda other: abs(other - size), default=None)
            drafts = True if nearest is None else self._batches[nearest].drafts
            found = self._batches[size] = _Batches(drafts=drafts)
        return found
