"""A small engine without models for the chat classes: scripted answers, and Hermes tool calls."""

import time
from collections.abc import Callable, Iterator

import pytest

from fasttts import FastTTS
from fasttts.backends.fake import FakeVerifier
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED


@pytest.fixture
def generator() -> HermesGenerator:
    return HermesGenerator()


@pytest.fixture
def engine(generator: HermesGenerator) -> Iterator[FastTTS]:
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


@pytest.fixture
def is_idle(generator: HermesGenerator) -> Callable[[], bool]:
    """Waits for the generator to have nothing left to do; False if it goes on."""

    def wait() -> bool:
        deadline = time.monotonic() + 60
        while generator.num_unfinished() and time.monotonic() < deadline:
            time.sleep(0.01)
        return generator.num_unfinished() == 0

    return wait


@pytest.fixture
def weather_call() -> str:
    """The text of one complete call."""
    return '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
