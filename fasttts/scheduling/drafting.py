"""How many tokens the next iterations draft: measured, as nobody knows the cost of a draft before.

A draft saves iterations and makes each take longer. Which weighs more depends on the device, the
models, the sequences that run and the text, so the ways to go are timed while decoding, for each
power of two of the sequences: the seconds of an iteration, and the tokens that a sequence gains in
one. The ways are drafts of several lengths, none, and drafts that are as long as each sequence's
are worth (`draft_lengths`). It begins with the longest drafts, which pay wherever an engine has
them at all but in rare cases. The way that gives more tokens a second is taken, and the others are
tried again now and then, in turn, less and less. Results are the same in all of them, so nothing
here can change one.
"""

import collections
import logging
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from fasttts.decoding.drafts import draft_lengths
from fasttts.interfaces import NOBODY
from fasttts.scheduling.draft_lengths import DraftLengths

logger = logging.getLogger(__name__)

DraftRule = Literal["measured", "always"]

_NUM_SETTLING = 2
"""Iterations behind a change that count for neither way: engines that schedule ahead report the
tokens of one iteration beside the time of another."""

_NUM_TRIED, _NUM_BEFORE = 12, 40
"""Iterations of a trial, and those before the first one: a search has little text at first, of
which little is kept."""

_MOST_TRIED, _FEWEST_TRIED = 48, 4
"""Iterations after which a trial ends in which hardly any could be measured, and how many have to
be of each way before they say anything."""

_FIRST_GAP, _LAST_GAP = 128, 8192
"""Iterations between two trials: twice as many after each that changed nothing, and four times as
many where it was clear. A trial of 14 iterations then costs nothing that can be measured."""

_NUM_OLD = 16
"""Passes that count of what a way gave before it is tried again: text may be another by now."""

_BETTER, _CLEAR = 1.03, 1.25
"""How many times as many tokens a second the other way has to give to be taken, and how many times
as many are a clear case."""

_NUM_KEPT = 16
"""Iterations whose times are kept: their median counts, since a hiccup says nothing."""

_MEMORY, _NUM_REMEMBERED = 256, 32
"""Passes of single sequences that the mean of their tokens remembers, and the fewest iterations."""


class DraftTokens(NamedTuple):
    """Most drafted tokens of the sequences in an iteration.

    Attributes:
        number: Of all but these.
        fewer: Of some sequences, by request.
    """

    number: int
    fewer: Mapping[str, int] = NOBODY


class Way(NamedTuple):
    """A way to draft.

    Attributes:
        number: Most tokens of a sequence.
        is_even: Whether all sequences are drafted that many, worth it or not.
    """

    number: int
    is_even: bool = True


def _ways(most: int) -> list[Way]:
    """The ways to go, in the order in which they are tried."""
    longest, *others = (Way(length) for length in reversed(draft_lengths(most)))
    return [longest, Way(0), *others[:1], Way(most, is_even=False), *others[1:]]


class _Measured:
    """Seconds and tokens of the iterations of one way."""

    def __init__(self) -> None:
        self.seconds: collections.deque[float] = collections.deque(maxlen=_NUM_KEPT)
        self.mean_tokens = 1.0
        self._num_passes = 0

    def gave(self, num_sequences: int, num_tokens: int) -> None:
        """Adds the tokens of an iteration."""
        most = max(_MEMORY, _NUM_REMEMBERED * num_sequences)
        self._num_passes = min(self._num_passes + num_sequences, most)
        change = num_tokens / num_sequences - self.mean_tokens
        self.mean_tokens += change * num_sequences / self._num_passes

    def forget(self) -> None:
        """Forgets the seconds, and most of the tokens: a trial begins."""
        self.seconds.clear()
        self._num_passes = min(self._num_passes, _NUM_OLD)

    @property
    def median_s(self) -> float:
        """Seconds of an iteration; NaN before one was measured."""
        return max(statistics.median(self.seconds), 1e-9) if self.seconds else math.nan

    @property
    def rate(self) -> float:
        """Tokens a second of one sequence."""
        return self.mean_tokens / self.median_s


class _Batches:
    """Iterations of one power of two of the sequences.

    Args:
        ways: The ways to go, in the order in which they are tried.
        way: The one that is gone, until measured otherwise.
    """

    def __init__(self, ways: list[Way], way: Way) -> None:
        self.measured = {each: _Measured() for each in ways}
        self.way = way
        self.num_left = _NUM_BEFORE
        """Iterations until another way is tried."""
        self._others = collections.deque(each for each in ways if each != way)
        self._gap = _FIRST_GAP

    def add(self, way: Way, num_sequences: int, seconds: float, num_tokens: Iterable[int]) -> None:
        """Adds an iteration, which says what shorter drafts would have given as well."""
        self.measured[way].seconds.append(seconds)
        passes = collections.Counter(num_tokens)
        for each, measured in self.measured.items():
            if each == way or (way.is_even and each.is_even and each.number < way.number):
                found = (min(number, 1 + each.number) * times for number, times in passes.items())
                measured.gave(num_sequences, sum(found))

    @property
    def other(self) -> Way:
        """The way that was tried last, or is tried next."""
        return self._others[0]

    def is_overtaken_by(self, way: Way) -> bool:
        """Whether another way is known to be better."""
        taken, other = self.measured[self.way], self.measured[way]
        is_known = min(len(taken.seconds), len(other.seconds)) >= _FEWEST_TRIED
        return is_known and other.rate > _BETTER * taken.rate

    def take(self, way: Way) -> None:
        """Goes another way from now on; the one that is left is tried again as the last."""
        logger.debug(
            "drafts of %s, no more %s: %.4g tokens a second of a sequence against %.4g",
            way,
            self.way,
            self.measured[way].rate,
            self.measured[self.way].rate,
        )
        self._others.remove(way)
        self._others.append(self.way)
        self.way = way
        self.num_left = self._gap = _FIRST_GAP

    def keep(self) -> None:
        """Goes on in the same way, and puts the next trial off, which is of the next way."""
        taken, other = self.measured[self.way], self.measured[self.other]
        if len(other.seconds) < _FEWEST_TRIED:  # hardly any iteration was of this size
            self.num_left = _FIRST_GAP
            return
        is_clear = taken.rate > _CLEAR * other.rate
        self.num_left = self._gap
        self._gap = min(self._gap * (4 if is_clear else 2), _LAST_GAP)
        self._others.rotate(-1)

    def price(self, most: int) -> float:
        """Tokens that all sequences together gain in the time that one drafted token takes."""
        none, longest = self.measured[Way(0)], self.measured[Way(most)]
        if min(len(none.seconds), len(longest.seconds)) < _FEWEST_TRIED:
            return 0.0  # nobody knows
        further_s = (longest.median_s - none.median_s) / most  # a token of each sequence
        return further_s * max(none.rate, longest.rate)


class Drafting:
    """Decides before each iteration how many tokens the generator drafts for each sequence.

    While memory is short, speculative steps have no drafts: what is rejected takes blocks too.

    Args:
        most: Most tokens; 0 never drafts.
        rule: When it drafts; see `SchedulingConfig.draft_rule`.
    """

    def __init__(self, most: int, rule: DraftRule) -> None:
        self._most = most
        self._rule = rule
        self._ways = _ways(most) if most else [Way(0)]
        self._batches: dict[int, _Batches] = {}
        self._lengths = DraftLengths()
        self._way: Way | None = None
        """The one that is gone now."""
        self._num_settled = 0
        """Iterations since the way changed."""
        self._trial: tuple[_Batches, Way] | None = None
        """The way that is tried, and for batches of which size: those of every size go it, as each
        change would disturb."""
        self._num_trial = self._num_passed = 0
        """Iterations of the trial, measured and not."""

    def choose(self, sequences: Mapping[str, bool], *, is_short: bool) -> DraftTokens:
        """Returns how many tokens are drafted in the next iteration.

        Args:
            sequences: The sequences of the next iteration, by request, and whether each is needed.
            is_short: Whether memory is short.
        """
        way = self._next_way(len(sequences))
        if self._way is None or (way != self._way and self._num_settled > _NUM_SETTLING):
            self._way, self._num_settled = way, 0
        way = self._way  # gone for long enough that it can be measured
        self._lengths.forget_others(sequences)
        return DraftTokens(way.number, self._fewer(sequences, way, is_short=is_short))

    def _next_way(self, num_sequences: int) -> Way:
        if self._rule == "always":
            return self._ways[0]
        return self._of(num_sequences).way if self._trial is None else self._trial[1]

    def _fewer(self, sequences: Mapping[str, bool], way: Way, *, is_short: bool) -> dict[str, int]:
        found: dict[str, int] = {}
        if not way.is_even:
            price = self._of(len(sequences)).price(self._most)
            found = self._lengths.fewer(sequences, way.number, price)
        if is_short and way.number:
            found.update(
                (request_id, 0) for request_id, is_needed in sequences.items() if not is_needed
            )
        return found

    def took(self, request_id: str, num_drafted: int, num_kept: int) -> None:
        """Adds what became of a draft.

        Args:
            request_id: The sequence's request.
            num_drafted: Its tokens.
            num_kept: Those that were kept.
        """
        self._lengths.took(request_id, num_drafted, num_kept)

    def measured(self, num_sequences: int, seconds: float, num_tokens: Sequence[int]) -> None:
        """Adds the last iteration, whatever began in it: in searches something nearly always does.

        Args:
            num_sequences: Its sequences.
            seconds: What it took.
            num_tokens: Tokens that it gave to each of them; one that gave none says nothing.
        """
        self._num_settled += 1
        if not self._most or self._way is None or not any(num_tokens):
            return
        if self._num_settled <= _NUM_SETTLING:
            self._num_passed += 1
        else:
            batches = self._of(num_sequences)
            batches.add(self._way, num_sequences, seconds, num_tokens)
            self._num_trial += 1
            if self._rule == "measured" and self._trial is None:
                self._consider(batches)
        if self._trial is not None and (
            self._num_trial >= _NUM_TRIED or self._num_passed > _MOST_TRIED
        ):
            self._end_trial(*self._trial)

    def mean_tokens(self, num_sequences: int) -> float:
        """Tokens that a sequence lately gained in an iteration as they are now; 1 without drafts.

        Args:
            num_sequences: Sequences of the iteration.
        """
        if self._way is None or not self._way.number:
            return 1.0
        return self._of(num_sequences).measured[self._way].mean_tokens

    def _consider(self, batches: _Batches) -> None:
        """Goes on as before, changes what batches of this size do, or begins a trial."""
        batches.num_left -= 1
        if batches.num_left <= 0:
            batches.measured[batches.other].forget()
            self._trial, self._num_trial, self._num_passed = (batches, batches.other), 0, 0
        elif batches.num_left % _NUM_KEPT == 0:
            better = [each for each in self._ways if batches.is_overtaken_by(each)]
            if better:
                batches.take(max(better, key=lambda each: batches.measured[each].rate))

    def _end_trial(self, trial: _Batches, way: Way) -> None:
        self._trial = None
        if trial.is_overtaken_by(way):
            trial.take(way)
        else:
            trial.keep()
        for batches in self._batches.values():
            is_unknown = len(batches.measured[trial.way].seconds) < _FEWEST_TRIED
            if batches.way != trial.way and (is_unknown or batches.is_overtaken_by(trial.way)):
                batches.take(trial.way)  # what was measured of one size is a guess for others
            if batches.way == trial.way:
                batches.num_left = max(batches.num_left, min(trial.num_left, _FIRST_GAP))

    def _of(self, num_sequences: int) -> _Batches:
        """Iterations of about so many sequences; a new size begins as the nearest one is."""
        size = num_sequences.bit_length()
        found = self._batches.get(size)
        if found is None:
            nearest = min(self._batches, key=lambda other: abs(other - size), default=None)
            way = self._ways[0] if nearest is None else self._batches[nearest].way
            found = self._batches[size] = _Batches(self._ways, way)
            if nearest is not None:
                found.num_left = min(self._batches[nearest].num_left, _FIRST_GAP)
        return found
