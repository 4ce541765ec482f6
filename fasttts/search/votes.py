"""Which answers have a vote while a search runs.

Answers that are announced as such have one. The last number of a text that announces none is a
guess: it has a vote only while no text announces an answer. The final vote has the same rule
(`selection.py`).
"""

import collections
from collections.abc import Iterable

from fasttts.tree import Beam


def count_votes(beams: Iterable[Beam]) -> tuple[collections.Counter[str], bool]:
    """Votes by answer, and whether they are for announced answers."""
    answers = [(beam.answer, beam.is_announced) for beam in beams if beam.answer is not None]
    announced = collections.Counter(answer for answer, is_announced in answers if is_announced)
    if announced:
        return announced, True
    return collections.Counter(answer for answer, _ in answers), False
