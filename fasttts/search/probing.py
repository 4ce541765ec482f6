r"""Thoughts that end once probes of them agree: every some tokens the model is asked for an answer.

A candidate's thought is decoded in stretches of `interval` tokens. Behind each a probe asks: a text
such as "Final Answer: \boxed{" and the most likely tokens that follow it, while the next stretch
is decoded. Once the last `window` probes have one answer, and none of them hesitates, the thought
is ended where the last of them asked, and the model writes its answer. What was decoded behind
that place is dropped, as probes are; a thought that ends by itself before goes on to its answer.

Source: Dynasor-CoT, Fu et al. 2024, "Efficiently serving LLM reasoning programs with Certaindex",
    arXiv 2412.20993, and the authors' code (`dynasor/cot.py`), from which the probe, the numbers
    and the words of hesitation are. Differences: probes take the most likely tokens, there they are
    sampled at a temperature of 0.6; the thought is ended where the probe asked, there one stretch
    later; the model writes its answer itself, there the probes' is pasted; words of hesitation are
    whole words, there "now" has a "no"; the first probe follows the first stretch, there it
    precedes it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fasttts.decoding.steps import StepShape
from fasttts.search.policy import Branch
from fasttts.tree import Beam
from fasttts.types import Path

_HESITATION = re.compile(r"\b(?:wait|hold|but|okay|no|hmm)\b", re.IGNORECASE)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_PROBE, _END = 1, 2
"""Indices among the children of a stretch: 0 is the next stretch, these ask and end the thought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynasor:
    """Probes the thoughts of `n` candidates; each is a group of its own.

    Attributes:
        n: Candidates.
        interval: Tokens of a thought between two probes.
        window: Probes in a row that have to agree.
        probe: What they ask with.
        probe_tokens: Tokens of their answers.
    """

    needs_scores: ClassVar[bool] = False
    needs_answers: ClassVar[bool] = True
    is_monotone: ClassVar[bool] = False
    is_revisiting: ClassVar[bool] = True

    n: int
    interval: int
    window: int
    probe: str
    probe_tokens: int

    @property
    def num_roots(self) -> int:
        """All candidates."""
        return self.n

    def step_shape(self, path: Path) -> StepShape:
        """Returns a stretch, a probe, or the end of the thought and the answer."""
        if _is_probe(path):
            return StepShape(
                num_steps=None, is_greedy=True, probe=self.probe, probe_tokens=self.probe_tokens
            )
        if len(path) > 1 and path[-1] == _END:
            return StepShape(num_steps=None, closes_thought=True)
        return StepShape(num_steps=None, thought_tokens=self.interval)

    def group(self, path: Path) -> Path:
        """Returns a group for each candidate."""
        return path[:1]

    def expand(self, frontier: Sequence[Beam], ended: Sequence[Beam]) -> Sequence[Branch]:
        """Goes on and probes, or ends the thought where the last probe asked."""
        (stretch,) = (beam for beam in frontier if not _is_probe(beam.path))
        if stretch.is_answer_ended:
            return ()
        probes = sorted((b for b in (*ended, *frontier) if _is_probe(b.path)), key=_depth)
        answers = [beam.answer for beam in probes[-self.window :]]
        if len(answers) == self.window and None not in answers and len(set(answers)) == 1:
            return [Branch(path=probes[-1].path[:-1], num_children=1)]
        return [Branch(path=stretch.path, num_children=2)]


def probed_answer(asked: str, told: str) -> str | None:
    """Finds the answer in what follows a probe; None where there is none, or where it hesitates.

    Args:
        asked: The probe. Where it ends with an open brace, the answer reaches to the one that
            closes it, else to the end of the line.
        told: What the model wrote.
    """
    if _HESITATION.search(told):
        return None
    if not asked.endswith("{"):
        return told.strip().partition("\n")[0].strip() or None
    depth = 1
    for brace in _BRACE.finditer(told):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return told[: brace.start()].strip() or None
    return None


def _is_probe(path: Path) -> bool:
    return len(path) > 1 and path[-1] == _PROBE


def _depth(beam: Beam) -> int:
    return len(beam.path)
