"""FastTTS as a model of lm-evaluation-harness, passed to `simple_evaluate`.

The class is loaded on first use: it brings the harness with it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lm_eval_fasttts.model import FastTTSLM, Outcome

__all__ = ["FastTTSLM", "Outcome"]

_HOMES = {"FastTTSLM": "lm_eval_fasttts.model", "Outcome": "lm_eval_fasttts.model"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
