"""What tests put in the place of an engine that loads its models; see the fixture `open_with`."""

from collections.abc import Callable

from fasttts import EngineConfig, FastTTS

OpenEngine = Callable[[EngineConfig], FastTTS]
"""Makes the engine of a configuration."""

OpenWith = Callable[[OpenEngine], None]
"""Has such a function open engines until the end of a test."""
