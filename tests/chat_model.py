"""A chat class without a framework: what the mix-in gives to its subclasses, for tests to call."""

from collections.abc import Sequence
from typing import Any

from fasttts import FastTTS
from fasttts.chat import ChatOptions, ChatRequest
from fasttts.config import EngineConfig, SearchConfig
from fasttts.types import Message


class ChatModel(ChatOptions):
    """Uses `ChatOptions` as the frameworks' chat classes do."""

    def search_config(self, **overrides: Any) -> SearchConfig:
        return self._search_config(**overrides)

    def engine_config(self) -> EngineConfig:
        return self._engine_config()

    def request(self, engine: FastTTS, messages: Sequence[Message], **options: Any) -> ChatRequest:
        return self._request(engine, messages, **options)

    def identity(self) -> dict[str, Any]:
        return self._identity()

    def resolve_engine(self) -> FastTTS:
        return self._resolve_engine()

    async def aresolve_engine(self) -> FastTTS:
        return await self._aresolve_engine()
