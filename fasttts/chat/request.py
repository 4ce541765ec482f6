"""One call of a chat model, checked and ready to run in any of the engine's four ways."""

import warnings
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

from fasttts import FastTTS
from fasttts.answers.extraction import Extractor, make_extractor
from fasttts.chat.reply import Delta, Reply, ReplyFormat, ReplyStream
from fasttts.chat.tool_calls import constraint
from fasttts.chat.tools import Tool, forced_tools, offered_tools
from fasttts.chat.truncation import fitting_messages
from fasttts.config import SearchConfig, search_config
from fasttts.engine.request import Prompt
from fasttts.engine.tool_template import unseen_tools
from fasttts.errors import wrong_type
from fasttts.routing import RoutedEvent, Router
from fasttts.types import (
    Finished,
    Message,
    PrefixDelta,
    SearchResult,
    TextDelta,
    TokenLogprob,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyChunk:
    """New text of a streamed reply.

    Plain decoding shows every token; a search shows the text that every possible answer begins
    with, and the rest at its end.

    Attributes:
        delta: The new text.
        shown: All of it so far.
        logprobs: The tokens whose text it completes, of plain decoding that was asked for them;
            those of thoughts' tags and of calls come with the text behind them.
        end: The finished reply and the result that it was read from; None before the end.
    """

    delta: Delta
    shown: Delta
    logprobs: tuple[TokenLogprob, ...] = ()
    end: tuple[Reply, SearchResult] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request to the engine, and the format of its reply.

    Attributes:
        engine: Answers; a router decides how.
        prompt: The rendered conversation.
        config: The options of the call.
        reply_format: How its text is read.
        extract: Extracts the candidates' votes where tools are offered; None goes by the options.
    """

    engine: FastTTS | Router
    prompt: Prompt
    config: SearchConfig
    reply_format: ReplyFormat
    extract: Extractor | None = None

    def search(self) -> SearchResult:
        """Runs the request and waits for its result."""
        return self.engine.search(self.prompt, config=self.config, extract=self.extract)

    async def asearch(self) -> SearchResult:
        """Runs the request; cancelling the task stops the engine's work."""
        return await self.engine.asearch(self.prompt, config=self.config, extract=self.extract)

    def stream(self) -> Generator[ReplyChunk, None, None]:
        """Runs the request and yields its growing text; closing the iterator stops the work."""
        stream = ReplyStream(self.reply_format)
        events = self.engine.stream(self.prompt, config=self.config, extract=self.extract)
        with closing(events):
            for event in events:
                if (chunk := self._chunk(stream, event)) is not None:
                    yield chunk

    async def astream(self) -> AsyncGenerator[ReplyChunk, None]:
        """Streams as `stream` does, for event loops."""
        async with aclosing(self.aevents()) as pairs:
            async for _, chunk in pairs:
                if chunk is not None:
                    yield chunk

    async def aevents(self) -> AsyncGenerator[tuple[RoutedEvent, ReplyChunk | None], None]:
        """Runs the request and yields every event, with the text that it adds to the reply."""
        stream = ReplyStream(self.reply_format)
        events = self.engine.astream(self.prompt, config=self.config, extract=self.extract)
        async with aclosing(events):
            async for event in events:
                yield event, self._chunk(stream, event)

    def _chunk(self, stream: ReplyStream, event: RoutedEvent) -> ReplyChunk | None:
        """The text that an event adds to the reply; None for none."""
        match event:
            case TextDelta(text=text) | PrefixDelta(text=text):
                delta = stream.add(text, event.logprobs if isinstance(event, TextDelta) else ())
                if not delta.reasoning and not delta.content:
                    return None
                return ReplyChunk(delta=delta, shown=stream.shown, logprobs=stream.take_shown())
            case Finished(result=result):
                reply = self.reply_format.read(result.text, result.finish_reason)
                delta = stream.finish(reply)
                logprobs = stream.take_rest()
                return ReplyChunk(
                    delta=delta, shown=stream.shown, logprobs=logprobs, end=(reply, result)
                )
            case _:
                return None


def make_request(
    engine: FastTTS,
    messages: Sequence[Message],
    config: SearchConfig,
    *,
    tools: Sequence[Tool] | None = None,
    tool_choice: object = None,
    is_parallel: bool = True,
    response_schema: Mapping[str, Any] | None = None,
    truncates: bool = False,
    untagged_calls: bool = True,
) -> ChatRequest:
    """Makes a request that is checked and rendered.

    Args:
        engine: Answers the request.
        messages: The conversation.
        config: The options of the search.
        tools: Tools that the model may call, in OpenAI's form; None for none.
        tool_choice: Whether it must call one; see `forced_tools`.
        is_parallel: Whether a reply may hold several calls.
        response_schema: JSON schema of replies that are no calls; None allows any text.
        truncates: Whether the oldest turns are dropped where they do not fit.
        untagged_calls: Whether a reply that is nothing but the JSON of calls is these calls.

    Raises:
        ConfigurationError: The choice, a schema or the messages cannot work.
    """
    if not isinstance(response_schema, Mapping | None):
        raise wrong_type("response_schema", response_schema, "a JSON schema or None")
    if not isinstance(is_parallel, bool):
        raise wrong_type("is_parallel", is_parallel, "a bool")
    offered: tuple[Tool, ...] = ()
    forced: tuple[Tool, ...] = ()
    outputs = None
    if tools is not None or tool_choice is not None:
        offered, forced = offered_tools(tools, tool_choice), forced_tools(tools, tool_choice)
    if forced or response_schema is not None:
        outputs = constraint(
            offered,
            forced,
            call_format=engine.generator.call_format,
            is_parallel=is_parallel,
            schema=response_schema,
        )
        config = search_config(config, structured_outputs=outputs)
    if truncates:
        messages = fitting_messages(
            engine,
            messages,
            offered,
            max_tokens=config.max_tokens,
            chat_template_kwargs=config.chat_template_kwargs,
        )
    prompt = engine.render(
        messages, tools=offered or None, chat_template_kwargs=config.chat_template_kwargs
    )
    if not prompt.shows_tools:
        warnings.warn(unseen_tools(engine.generator_name, offered), stacklevel=2)
    reply_format = ReplyFormat.of_call(
        engine,
        prompt,
        offered,
        is_parallel=is_parallel,
        is_constrained=outputs is not None,
        is_forced=bool(forced),
        untagged_calls=untagged_calls,
    )
    rule = "json" if config.answer == "auto" and response_schema is not None else config.answer
    return ChatRequest(
        engine=engine,
        prompt=prompt,
        config=config,
        reply_format=reply_format,
        extract=reply_format.extractor(offered, make_extractor(rule)) if offered else None,
    )
