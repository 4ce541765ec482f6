"""The engine that users construct, and what a request passes on its way through it."""

from fasttts.engine.engine import FastTTS

__all__ = ["FastTTS"]
