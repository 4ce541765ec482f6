"""vLLM's own objects behind a backend: what no interface shows, or can be made to fail.

The one place in which tests reach for them.
"""

from typing import Any

import pytest


def engine_of(backend: Any) -> Any:
    """vLLM's engine."""
    return backend._engine


def model_of(backend: Any) -> Any:
    """The module that computes, of an engine in this process."""
    return _executor_of(backend).driver_worker.worker.model_runner.model


def lose_device(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every further iteration fail."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("device lost")

    monkeypatch.setattr(_executor_of(backend), "execute_model", fail)


def _executor_of(backend: Any) -> Any:
    return engine_of(backend).engine_core.engine_core.model_executor
