"""FastTTS as a LangChain chat model."""

from langchain_fasttts.chat_models import ChatFastTTS

__all__ = ["ChatFastTTS"]
