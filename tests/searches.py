"""Searches from text, and what they find alone; the rest of the kit is `fasttts.testing`."""

from collections.abc import Sequence
from typing import Any

from fasttts.backends.base import Generator
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, SearchConfig
from fasttts.preparation import prepare, render
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.search import resolve
from fasttts.testing.searches import Recorder, Snapshot, drive, same_tree, snapshot

__all__ = [
    "UNTIMED",
    "Recorder",
    "Snapshot",
    "alone",
    "drive",
    "make_run",
    "marked_generator",
    "same_tree",
    "snapshot",
]

UNTIMED = SchedulingConfig(speculation_rule="score")
"""What is run ahead, and so what a search costs, does not depend on how long anything takes."""


def make_run(generator: Generator, text: str, config: SearchConfig) -> SearchRun:
    return prepare(render(text, generator), resolve(config, has_verifier=True), generator)


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
