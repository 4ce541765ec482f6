"""Searches driven by hand: a listener that records, a loop that is checked after every step."""

from collections.abc import Callable, Sequence
from typing import Any

from fasttts.backends.base import Generator
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.config import PLAIN, SearchConfig
from fasttts.preparation import prepare, render
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.search import resolve
from fasttts.tree import Node

Snapshot = list[tuple[object, ...]]


class Recorder:
    """A listener that remembers the outcome."""

    def __init__(self) -> None:
        self.outcomes: list[BaseException | None] = []
        self.num_commits = 0

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        assert node.token_ids[len(node.token_ids) - len(token_ids) :] == list(token_ids)

    def on_commit(self, run: SearchRun) -> None:
        self.num_commits += 1

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        self.outcomes.append(error)


def make_run(generator: Generator, text: str, config: SearchConfig) -> SearchRun:
    return prepare(render(text, generator), resolve(config, has_verifier=True), generator)


def drive(loop: Loop, after_step: Callable[[int], None] = lambda _: None) -> int:
    for iteration in range(20_000):
        if not loop.has_work:
            return iteration
        loop.step()
        loop.check_integrity()
        after_step(iteration)
    raise AssertionError("the loop does not end")


def snapshot(run: SearchRun) -> Snapshot:
    return [
        (n.path, n.seed, tuple(n.token_ids), n.text, n.scores_S, n.finish_reason) for n in run.tree
    ]


def same_tree(run: SearchRun, expected: Snapshot) -> bool:
    """Whether a run's tree is the expected one; steps given up before scoring have no score."""
    found = snapshot(run)
    given_up = {node.path for node in run.tree if node.is_hopeless}
    assert all(not node.children for node in run.tree if node.is_hopeless)
    return len(found) == len(expected) and all(
        (one[:4] == other[:4] and one[5] == other[5]) if one[0] in given_up else one == other
        for one, other in zip(found, expected, strict=True)
    )


class MarkedTokenizer(FakeTokenizer):
    """A few of the fake model's letters stand for what ends, or keeps, a step."""

    _MARKS = (("q", "\n```\n"), ("x", ". "), ("z", "</think>"))

    def decode(self, token_ids: Sequence[int]) -> str:
        text = super().decode(token_ids)
        for letter, mark in self._MARKS:
            text = text.replace(letter, mark)
        return text


def marked_generator(**options: Any) -> FakeGenerator:
    """A fake generator whose text has fences, sentences and thoughts."""
    generator = FakeGenerator(**options)
    generator.tokenizer = MarkedTokenizer()
    return generator


def alone(text: str, config: SearchConfig, generator: FakeGenerator | None = None) -> Snapshot:
    """The tree of a search with every optimisation off and nothing beside it."""
    generator = generator or FakeGenerator()
    loop, recorder = Loop(generator, FakeVerifier(), PLAIN), Recorder()
    run = make_run(generator, text, config)
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert generator.num_unfinished() == 0
    return snapshot(run)
