"""vLLM's own objects behind a backend: what no interface shows, or can be made to fail.

The one place in which tests reach for them.
"""

from types import SimpleNamespace
from typing import Any

import pytest


def engine_of(backend: Any) -> Any:
    """vLLM's engine."""
    return backend._engine


def model_of(backend: Any) -> Any:
    """The module that computes, of an engine in this process."""
    return runner_of(backend).model


def runner_of(backend: Any) -> Any:
    """The model runner, of an engine in this process."""
    return _executor_of(backend).driver_worker.worker.model_runner


def lose_device(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every further iteration fail."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("device lost")

    monkeypatch.setattr(_executor_of(backend), "execute_model", fail)


def _executor_of(backend: Any) -> Any:
    return engine_of(backend).engine_core.engine_core.model_executor


def pace_starts(backend: Any, starts: Any) -> Any:
    """Has a generator pace all its starts, or none; counts the iterations that are gentle."""
    backend._sequences._starts = starts
    if starts is None:
        return None
    options, pace, added = starts._options, starts.pace, starts.added
    counted = SimpleNamespace(num_gentle=0)

    def counting(num_sequences: int) -> None:
        pace(num_sequences)
        counted.num_gentle += options.long_prefill_token_threshold == 1

    starts.pace = counting
    starts.added = lambda core_id, **_: added(core_id, may_take_long=True)
    return counted


def paces_starts(backend: Any) -> bool:
    """Whether a generator paces its starts."""
    return backend._sequences._starts is not None
