"""FastTTS as LangChain models: a chat model, and one that completes text.

The classes are loaded on first use, as LangChain's own are.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_fasttts.chat_models import ChatFastTTS
    from langchain_fasttts.llms import FastTTSLLM

__all__ = ["ChatFastTTS", "FastTTSLLM"]

_HOMES = {"ChatFastTTS": "langchain_fasttts.chat_models", "FastTTSLLM": "langchain_fasttts.llms"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
