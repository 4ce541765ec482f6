"""Checks of a policy's promises on searches with random scores, ends and answers."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fasttts.search.policy import Branch, SearchPolicy
from fasttts.tree import Beam
from fasttts.types import Path

PolicyFactory = Callable[[], SearchPolicy]

MAX_DEPTH = 12
"""Beams at this depth always end, as a search's `max_depth` has it."""

MAX_DECISIONS = 1_000
MAX_NODES = 10_000
"""A search with more decisions or nodes counts as one that does not end."""

_SCORES = [index / 8 for index in range(9)]
"""Few enough that ties are common."""


def check_decisions(make_policy: PolicyFactory, *, num_searches: int = 20, seed: int = 0) -> None:
    """Checks every decision of searches whose scores, ends and answers are drawn at random.

    A decision must be the same when it is repeated, after other calls, by a new policy, and
    whatever the state of Python's random generator; it must name beams that can grow, stay in its
    group, and depend only on the data that the policy declares to read. Searches must end.

    Args:
        make_policy: Makes a new policy, always the same one.
        num_searches: How many searches.
        seed: Seed of everything random.

    Raises:
        AssertionError: A promise of `SearchPolicy` is broken.
    """
    for number in range(num_searches):
        draw = random.Random(f"{seed}/{number}")
        end_rate = draw.choice([0.0, 0.1, 0.5])
        _Search(make_policy, draw, end_rate).run()


@dataclass(slots=True)
class _Group:
    frontier: list[Path] = field(default_factory=list)
    ended: list[Beam] = field(default_factory=list)


class _Search:
    """One search with random outcomes."""

    def __init__(self, make_policy: PolicyFactory, draw: random.Random, end_rate: float) -> None:
        self._make_policy = make_policy
        self._policy = make_policy()
        self._draw = draw
        self._end_rate = end_rate
        self._groups: dict[Path, _Group] = {}
        self._num_children: Counter[Path] = Counter()
        self._num_decisions = 0

    def run(self) -> None:
        _check(self._policy.num_roots >= 1, f"num_roots is {self._policy.num_roots}")
        self._start(Branch(path=(), num_children=self._policy.num_roots), [])
        while self._groups:
            name = self._draw.choice(sorted(self._groups))
            group = self._groups.pop(name)
            frontier = [self._beam(path) for path in sorted(group.frontier)]
            branches = self._decide(name, frontier, group.ended)
            ended = group.ended + [beam for beam in frontier if beam.is_answer_ended]
            for branch in branches:
                self._start(branch, ended)

    def _start(self, branch: Branch, ended: list[Beam]) -> None:
        first = self._num_children[branch.path]
        self._num_children[branch.path] += branch.num_children
        for index in range(first, first + branch.num_children):
            path = (*branch.path, index)
            self._check_shape(path)
            group = self._groups.setdefault(self._policy.group(path), _Group(ended=ended))
            group.frontier.append(path)
        is_endless = self._num_children.total() > MAX_NODES
        _check(not is_endless, f"the search does not end: it has {MAX_NODES} nodes")

    def _check_shape(self, path: Path) -> None:
        shape = self._policy.step_shape(path)
        _check(shape == self._make_policy().step_shape(path), f"step_shape({path}) varies")
        numbers = (shape.num_steps, shape.thought_tokens, shape.probe_tokens)
        is_positive = all(number is None or number >= 1 for number in numbers)
        _check(is_positive, f"step_shape({path}) is {shape}")

    def _beam(self, path: Path) -> Beam:
        is_ended = len(path) >= MAX_DEPTH or self._draw.random() < self._end_rate
        shape = self._policy.step_shape(path)
        is_ended |= shape.num_steps is None and shape.thought_tokens is None
        answer = self._draw.choice([None, "a", "b", "c"])
        return Beam(
            path=path,
            score=self._draw.choice(_SCORES) if self._policy.needs_scores else 0.0,
            is_answer_ended=is_ended,
            answer=answer if is_ended and self._policy.needs_answers else None,
        )

    def _decide(self, name: Path, frontier: list[Beam], ended: list[Beam]) -> list[Branch]:
        """Makes and checks the policy's decision."""
        self._num_decisions += 1
        is_endless = self._num_decisions > MAX_DECISIONS
        _check(not is_endless, f"the search does not end: it has made {MAX_DECISIONS} decisions")
        asked = _Question(name, frontier, ended)
        branches = asked.ask(self._policy)
        self._check_branches(asked, branches)
        partial = _Question(name, [self._unknown(beam) for beam in frontier], ended)
        self._check_branches(partial, partial.ask(self._policy))
        asked.expect(branches, self._policy, "it was asked again, after a prediction")
        asked.expect(branches, self._make_policy(), "a new policy was asked")
        _with_other_randomness(lambda: asked.expect(branches, self._policy, "it was asked again"))
        self._check_reads(asked, branches)
        return branches

    def _unknown(self, beam: Beam) -> Beam:
        """A beam as a prediction may see it: before it ended and was scored."""
        if self._draw.random() < 0.5:
            return beam
        return replace(beam, score=0.0, is_answer_ended=False, answer=None)

    def _check_branches(self, asked: "_Question", branches: Sequence[Branch]) -> None:
        growing = {beam.path for beam in asked.frontier if not beam.is_answer_ended}
        if self._policy.is_revisiting:
            beams = [beam.path for beam in asked.frontier]
            growing |= {path[:end] for path in beams for end in range(len(path))}
        paths = [branch.path for branch in branches]
        asked.check(len(set(paths)) == len(paths), branches, "a beam is named twice")
        for branch in branches:
            asked.check(branch.num_children >= 1, branches, f"no children of {branch.path}")
            asked.check(branch.path in growing, branches, f"{branch.path} cannot grow")
            child = (*branch.path, self._num_children[branch.path])
            group = self._policy.group(child)
            asked.check(group == asked.name, branches, f"{child} is in another group, {group}")

    def _check_reads(self, asked: "_Question", branches: list[Branch]) -> None:
        """Checks that data which the policy declares not to read does not matter."""
        if not self._policy.needs_scores:
            others = [replace(beam, score=self._draw.choice(_SCORES)) for beam in asked.frontier]
            asked.expect(branches, self._policy, "needs_scores is False, scores changed", others)
        if not self._policy.needs_answers:
            others = [replace(beam, answer="z") for beam in asked.frontier]
            asked.expect(branches, self._policy, "needs_answers is False, answers changed", others)
        if self._policy.is_monotone:
            continued = {branch.path for branch in branches}
            others = [self._lowered(beam, continued) for beam in asked.frontier]
            asked.expect(branches, self._policy, "is_monotone, beams left behind fell", others)

    def _lowered(self, beam: Beam, continued: set[Path]) -> Beam:
        if beam.path in continued or beam.is_answer_ended:
            return beam
        return replace(beam, score=self._draw.choice([s for s in _SCORES if s <= beam.score]))


@dataclass(frozen=True, slots=True)
class _Question:
    """The arguments of one decision about one group."""

    name: Path
    frontier: list[Beam]
    ended: list[Beam]

    def ask(self, policy: SearchPolicy, frontier: Sequence[Beam] | None = None) -> list[Branch]:
        given = list(self.frontier if frontier is None else frontier), list(self.ended)
        kept = list(given[0]), list(given[1])
        branches = list(policy.expand(*given))
        self.check(given == kept, branches, "it changed what it was given")
        return branches

    def expect(
        self,
        branches: list[Branch],
        policy: SearchPolicy,
        when: str,
        frontier: Sequence[Beam] | None = None,
    ) -> None:
        found = self.ask(policy, frontier)
        self.check(found == branches, branches, f"{when}: {found}")

    def check(self, holds: bool, branches: Iterable[Branch], problem: str) -> None:
        if not holds:
            raise AssertionError(
                f"{problem}\n  frontier: {self.frontier}\n  ended: {self.ended}\n"
                f"  branches: {list(branches)}"
            )


def _with_other_randomness(ask: Callable[[], None]) -> None:
    state = random.getstate()
    try:
        random.seed(1)
        ask()
    finally:
        random.setstate(state)


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)
