"""Engines that actors of the tests open, by the names of these functions."""

import os
import signal
import time
from pathlib import Path

from fasttts import EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import GenerationOutput
from tests.searches import UNTIMED

LONG = "a question whose answer takes minutes"
_STEP_S = 0.004


def fake(config: EngineConfig) -> FastTTS:
    """The fake models; some questions take as long as a test wants to wait."""
    return FastTTS(_Patient(_script, max_model_len=60_000), FakeVerifier(), scheduling=UNTIMED)


def quick(config: EngineConfig) -> FastTTS:
    """The fake models as they are."""
    return FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED)


def mortal(config: EngineConfig) -> FastTTS:
    """The fake models; the first process that opens them is killed in the middle of its work.

    Args:
        config: Its `generator` is the path of a file that tells the first from the others.
    """
    try:
        Path(config.generator).touch(exist_ok=False)
    except FileExistsError:
        return quick(config)
    return FastTTS(_Mortal(), FakeVerifier(), scheduling=UNTIMED)


def no_engine(config: EngineConfig) -> str:
    """A function that opens none."""
    return config.generator


def _script(prompt: str) -> str | None:
    return "on and on " * 5000 if LONG in prompt else None


class _Patient(FakeGenerator):
    """A generator whose iterations take milliseconds, as a model's do."""

    def step(self) -> list[GenerationOutput]:
        time.sleep(_STEP_S)
        return super().step()


class _Mortal(FakeGenerator):
    """A generator that ends its process after some of the problems."""

    def __init__(self) -> None:
        super().__init__()
        self._num_left = 150

    def step(self) -> list[GenerationOutput]:
        self._num_left -= 1
        if not self._num_left:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step()
