"""FastTTS as a LlamaIndex LLM."""

from llama_index.llms.fasttts.base import FastTTS

__all__ = ["FastTTS"]
