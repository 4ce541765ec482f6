"""FastTTS as a model provider of inspect-ai: `--model fasttts/NAME`.

inspect-ai finds the provider by its entry point; the class is loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspect_fasttts.provider import FastTTSAPI

__all__ = ["FastTTSAPI"]

_HOMES = {"FastTTSAPI": "inspect_fasttts.provider"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
