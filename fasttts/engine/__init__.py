"""The engine that users construct, and the parts that its requests pass through."""

from fasttts.engine.engine import FastTTS

__all__ = ["FastTTS"]
