"""One call of a chat model, checked and ready to run in any of the engine's four ways."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from fasttts import FastTTS
from fasttts.chat.reply import ReplyFormat
from fasttts.chat.tools import Tool
from fasttts.config import SearchConfig
from fasttts.types import Event, Message, SearchResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What goes to the engine, and how its answer is read."""

    engine: FastTTS
    messages: Sequence[Message]
    tools: tuple[Tool, ...]
    config: SearchConfig
    reply_format: ReplyFormat

    def search(self) -> SearchResult:
        """Runs it and waits."""
        return self.engine.search(self.messages, **self._options)

    async def asearch(self) -> SearchResult:
        """Runs it; cancelling the task stops the engine's work."""
        return await self.engine.asearch(self.messages, **self._options)

    def stream(self) -> Generator[Event, None, None]:
        """Runs it as events; closing the iterator stops the engine's work."""
        yield from self.engine.stream(self.messages, **self._options)

    async def astream(self) -> AsyncGenerator[Event, None]:
        """`stream` for event loops."""
        events = self.engine.astream(self.messages, **self._options)
        async with aclosing(cast(AsyncGenerator[Event, None], events)):
            async for event in events:
                yield event

    @property
    def _options(self) -> dict[str, Any]:
        return {"config": self.config, "tools": self.tools or None}
