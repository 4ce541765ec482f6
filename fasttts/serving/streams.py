"""Responses that are streams of events: heartbeats, errors after the first byte, an end."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus, SendTimeoutError
from starlette.types import Receive, Scope, Send

from fasttts.errors import FastTTSError
from fasttts.serving.api_errors import api_error

logger = logging.getLogger(__name__)

DONE = "[DONE]"
"""OpenAI's last event."""

# A server that is told to stop lets its streams end; sse-starlette would cut them off.
AppStatus.enable_automatic_graceful_drain = False


class EventStream(EventSourceResponse):
    """A stream of events whose source is closed in every case, also where none was sent.

    Args:
        events: The events; an error ends them with an event of its own.
        heartbeat_s: Seconds between two comments.
        send_timeout_s: Most seconds that the client may take to read what was sent.
        on_close: Called once the stream has ended, however.
    """

    def __init__(
        self,
        events: AsyncGenerator[ServerSentEvent, None],
        *,
        heartbeat_s: float,
        send_timeout_s: float,
        on_close: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(
            events,
            sep="\n",
            ping=heartbeat_s,
            send_timeout=send_timeout_s,
            ping_message_factory=lambda: ServerSentEvent(comment="heartbeat", sep="\n"),
        )
        self._events = events
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events until they end or the client has left."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            logger.info("a client did not read its stream: its work was ended")
        finally:
            try:
                await self._events.aclose()
            finally:
                await self._on_close()


Failure = Callable[[Exception, int], Sequence[ServerSentEvent]]
"""Makes the last events of a stream that failed, from its error and the number of events so far."""


async def with_failure(
    events: AsyncGenerator[ServerSentEvent, None], failure: Failure
) -> AsyncGenerator[ServerSentEvent, None]:
    """Ends a stream that fails with events that say so: its status was sent long ago.

    Args:
        events: The events.
        failure: Makes the last events of one that failed.
    """
    num_sent = 0
    try:
        async with aclosing(events):
            async for event in events:
                yield event
                num_sent += 1
                # Events that are there already must not keep the loop from other connections.
                await asyncio.sleep(0)
    except Exception as error:  # whatever it is, a client waits
        if not isinstance(error, FastTTSError):
            logger.exception("a stream failed")
        for event in failure(error, num_sent):
            yield event


async def openai_events(texts: AsyncGenerator[str, None]) -> AsyncGenerator[ServerSentEvent, None]:
    """Makes events of JSON texts, with OpenAI's end.

    Args:
        texts: The texts.
    """
    async with aclosing(texts):
        async for text in texts:
            yield ServerSentEvent(data=text, sep="\n")
    yield ServerSentEvent(data=DONE, sep="\n")


def openai_failure(error: Exception) -> Sequence[ServerSentEvent]:
    """The error as a chunk, at which OpenAI's clients raise, and the end."""
    body = json.dumps(api_error(error).body(), ensure_ascii=False)
    return [ServerSentEvent(data=body, sep="\n"), ServerSentEvent(data=DONE, sep="\n")]
