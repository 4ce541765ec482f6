"""One call of a chat model, checked and ready to run in any of the engine's four ways."""

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass

from fasttts import FastTTS
from fasttts.chat.reply import Delta, Reply, ReplyFormat, ReplyStream
from fasttts.config import SearchConfig
from fasttts.preparation import Prompt
from fasttts.types import Event, Finished, SearchResult, TextDelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a streamed reply gained.

    Only plain decoding has text to show early: a search decides at its end which path it returns,
    and then shows all of it.

    Attributes:
        delta: The new text.
        shown: All of it so far.
        end: The finished reply and what it came from; None before the end.
    """

    delta: Delta
    shown: Delta
    end: tuple[Reply, SearchResult] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What goes to the engine, and how its answer is read."""

    engine: FastTTS
    prompt: Prompt
    config: SearchConfig
    reply_format: ReplyFormat

    def search(self) -> SearchResult:
        """Runs it and waits."""
        return self.engine.search(self.prompt, config=self.config)

    async def asearch(self) -> SearchResult:
        """Runs it; cancelling the task stops the engine's work."""
        return await self.engine.asearch(self.prompt, config=self.config)

    def stream(self) -> Generator[Growth, None, None]:
        """Runs it as it grows; closing the iterator stops the engine's work."""
        stream = ReplyStream(self.reply_format)
        with closing(self.engine.stream(self.prompt, config=self.config)) as events:
            for event in events:
                yield from self._growths(stream, event)

    async def astream(self) -> AsyncGenerator[Growth, None]:
        """`stream` for event loops."""
        stream = ReplyStream(self.reply_format)
        async with aclosing(self.engine.astream(self.prompt, config=self.config)) as events:
            async for event in events:
                for growth in self._growths(stream, event):
                    yield growth

    def _growths(self, stream: ReplyStream, event: Event) -> Iterator[Growth]:
        match event:
            case TextDelta(text=text):
                delta = stream.add(text)
                if delta.reasoning or delta.content:
                    yield Growth(delta=delta, shown=stream.shown)
            case Finished(result=result):
                reply = self.reply_format.read(result.text, result.finish_reason)
                delta = stream.finish(reply)
                yield Growth(delta=delta, shown=stream.shown, end=(reply, result))
