"""Responses that are streams of events: heartbeats, errors after the first byte, an end."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fasttts.errors import FastTTSError
from fasttts.serving.api_errors import api_error
from fasttts.serving.connection import disconnected

logger = logging.getLogger(__name__)

_HEARTBEAT = b": heartbeat\n\n"
_HEADERS = {"Cache-Control": "no-store", "Connection": "keep-alive", "X-Accel-Buffering": "no"}


class EventStream(Response):
    """A stream of events whose source is closed in every case, also where none was sent.

    Args:
        events: The events, as `json_event` writes them.
        heartbeat_s: Seconds between two comments.
        send_timeout_s: Most seconds that the client may take to read what was sent.
        on_close: Called once the stream has ended, however.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        heartbeat_s: float,
        send_timeout_s: float,
        on_close: Callable[[], Awaitable[None]],
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)
        self._events = events
        self._heartbeat_s = heartbeat_s
        self._send_timeout_s = send_timeout_s
        self._on_close = on_close
        self._sends_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events until they end, the client has left, or it does not read."""
        works = (self._send_all(send), self._beat(send), self._watch(), disconnected(receive))
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._events.aclose()
            finally:
                await self._on_close()

    async def _send_all(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async for event in self._events:
            await self._send(send, event)
        await self._send(send, b"", more_body=False)

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if self._sends_since is None:
                await self._send(send, _HEARTBEAT)

    async def _send(self, send: Send, body: bytes, *, more_body: bool = True) -> None:
        self._sends_since = time.monotonic()
        await send({"type": "http.response.body", "body": body, "more_body": more_body})
        self._sends_since = None

    async def _watch(self) -> None:
        """Returns once the client has not read for too long; costs less than a timeout an event."""
        left_s = self._send_timeout_s
        while left_s > 0:
            await asyncio.sleep(left_s)
            now = time.monotonic()
            since = now if self._sends_since is None else self._sends_since
            left_s = since + self._send_timeout_s - now
        logger.info("a client did not read its stream: its work was ended")


Failure = Callable[[Exception, int], Sequence[bytes]]
"""Makes the last events of a stream that failed, from its error and the number of events so far."""


async def with_failure(
    events: AsyncGenerator[bytes, None],
    failure: Failure,
    wait: AbstractContextManager[None],
) -> AsyncGenerator[bytes, None]:
    """Ends a stream that fails with events that say so: its status was sent long ago.

    Args:
        events: The events.
        failure: Makes the last events of one that failed.
        wait: Entered while the next event is waited for; may raise, which is a failure too.
    """
    num_sent = 0
    try:
        async with aclosing(events):
            while True:
                with wait:
                    event = await anext(events, None)
                if event is None:
                    return
                yield event
                num_sent += 1
    except Exception as error:  # whatever it is, a client waits
        if not isinstance(error, FastTTSError):
            logger.exception("a stream failed")
        for event in failure(error, num_sent):
            yield event


def json_event(data: object, *, kind: str | None = None, event_id: str | None = None) -> bytes:
    """Writes one event.

    Args:
        data: Written as JSON, in one line.
        kind: Its type; None for none.
        event_id: Its id; None for none.
    """
    fields = (("id", event_id), ("event", kind))
    named = "".join(f"{name}: {value}\n" for name, value in fields if value is not None)
    return b"%bdata: %b\n\n" % (named.encode(), to_json(data))


DONE = b"data: [DONE]\n\n"
"""OpenAI's last event."""


class ChunkWriter:
    """Writes the chunks of OpenAI's streams; what all of them begin with is written once.

    Args:
        head: The fields that all chunks have.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = b"data: %b," % to_json(head).removesuffix(b"}")

    def chunk(self, **fields: Any) -> bytes:
        """An event with the fields of one chunk behind those of all."""
        return b"%b%b\n\n" % (self._head, to_json(fields).removeprefix(b"{"))


def openai_failure(error: Exception) -> Sequence[bytes]:
    """The error as a chunk, at which OpenAI's clients raise, and the end."""
    return [json_event(api_error(error).body()), DONE]
