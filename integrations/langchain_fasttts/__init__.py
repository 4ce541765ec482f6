"""FastTTS as LangChain models: a chat model, and one that completes text."""

from langchain_fasttts.chat_models import ChatFastTTS
from langchain_fasttts.llms import FastTTSLLM

__all__ = ["ChatFastTTS", "FastTTSLLM"]
