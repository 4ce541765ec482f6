"""Searches from text, and what they find alone; the rest of the kit is `fasttts.testing`."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from fasttts.answers.extraction import Extractor
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, SearchConfig
from fasttts.engine.request import prepare, render
from fasttts.interfaces import (
    GenerationOutput,
    GenerationRequest,
    Generator,
    VerificationRequest,
    Verifier,
)
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.search import resolve
from fasttts.testing.searches import Recorder, Snapshot, drive, same_tree, snapshot
from fasttts.verifiers.async_scoring import AsyncScoring
from fasttts.verifiers.resolve import joint_num_logprobs

__all__ = [
    "UNTIMED",
    "LateVerifier",
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


def make_run(
    generator: Generator,
    text: str,
    config: SearchConfig,
    num_logprobs: int | None = None,
    extract: Extractor | None = None,
) -> SearchRun:
    resolved = resolve(config, has_verifier=True)
    prompt = render(text, generator, chat_template_kwargs=resolved.chat_template_kwargs)
    return prepare(prompt, resolved, generator, extract, num_logprobs)


class MarkedTokenizer(FakeTokenizer):
    """A few of the fake model's letters stand for what ends, or keeps, a step."""

    _MARKS = (("q", "\n```\n"), ("x", ". "), ("z", "</think>"))

    def decode(self, token_ids: Sequence[int]) -> str:
        text = super().decode(token_ids)
        for letter, mark in self._MARKS:
            text = text.replace(letter, mark)
        return text


class LateGenerator(FakeGenerator):
    """Hands out each token an iteration late, as vLLM does where it schedules asynchronously."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._live: set[str] = set()
        self._computed: list[GenerationOutput] = []

    def add(self, request: GenerationRequest) -> None:
        super().add(request)
        self._live.add(request.request_id)

    def step(self) -> list[GenerationOutput]:
        late, self._computed = self._computed, super().step()
        late = [output for output in late if output.request_id in self._live]
        self._live.difference_update(output.request_id for output in late if output.is_finished)
        return late

    def abort(self, request_ids: Sequence[str]) -> None:
        super().abort(request_ids)
        self._live.difference_update(request_ids)

    def num_unfinished(self) -> int:
        return len(self._live)


def marked_generator(*, is_late: bool = False, **options: Any) -> FakeGenerator:
    """A fake generator whose text has fences, sentences and thoughts."""
    generator = LateGenerator(**options) if is_late else FakeGenerator(**options)
    generator.tokenizer = MarkedTokenizer()
    return generator


class LateVerifier(FakeVerifier):
    """Works beside the generator: its scores are there some calls of `tick` after they are asked.

    Args:
        num_ticks: Calls of `tick` a batch takes; with 0 it never waits.
        is_serial: Whether it works on one batch at a time.
    """

    def __init__(self, num_ticks: int, *, is_serial: bool) -> None:
        super().__init__()
        self.is_serial = is_serial
        self.most_at_once = 0
        self._num_ticks = num_ticks
        self._working: list[tuple[int, Future[None]]] = []
        self._now = 0

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        if self._num_ticks:
            done: Future[None] = Future()
            self._working.append((self._now + self._num_ticks, done))
            self.most_at_once = max(self.most_at_once, len(self._working))
            yield done
        return self.score(requests)

    def tick(self) -> None:
        """Time passes."""
        self._now += 1
        for _, done in (one for one in self._working if one[0] <= self._now):
            done.set_result(None)
        self._working = [one for one in self._working if one[0] > self._now]


def alone(
    text: str,
    config: SearchConfig,
    generator: FakeGenerator | None = None,
    verifier: Verifier | None = None,
) -> Snapshot:
    """The tree of a search with every optimisation off and nothing beside it."""
    generator, verifier = generator or FakeGenerator(), verifier or FakeVerifier()
    loop, recorder = Loop(generator, verifier, PLAIN), Recorder()
    run = make_run(generator, text, config, joint_num_logprobs(verifier))
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert generator.num_unfinished() == 0
    return snapshot(run)
