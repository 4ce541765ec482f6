"""Answers requests: from the body to the response, whatever the endpoint and the client do."""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.responses import Response

from fasttts.config.serving import ServingConfig
from fasttts.engine import FastTTS
from fasttts.network import KeyRing
from fasttts.serving.admission import Admission
from fasttts.serving.connection import begun, read_body, while_connected
from fasttts.serving.drain import Drain
from fasttts.serving.endpoints import Endpoint
from fasttts.serving.metrics import ServerMetrics
from fasttts.serving.model import ServedModel
from fasttts.serving.pages import SearchPages
from fasttts.serving.streams import EventStream, with_failure

logger = logging.getLogger(__name__)

SEARCHES = "/searches"
"""Where the pages of searches are."""

_BEGIN_S = 1.0
"""Seconds in which an error of a stream is still an HTTP status."""


class Service:
    """One engine behind endpoints; belongs to one event loop.

    Args:
        engine: Answers; not closed here.
        config: Names, keys and limits.

    Attributes:
        engine: The same.
        config: The same.
        served: The model under its names.
        keys: Which clients may call.
        metrics: Counts responses.
        pages: The newest searches.
        drain: Cuts what is still in work when the server must stop.
        started: When it was made, in seconds since 1970.

    Raises:
        ConfigurationError: An option cannot work with this engine.
    """

    def __init__(self, engine: FastTTS, config: ServingConfig) -> None:
        self.engine = engine
        self.started = int(time.time())
        self.config = config
        self.served = ServedModel(engine, config)
        self.keys = KeyRing(config.keys())
        self.pages = SearchPages(config.num_pages, SEARCHES)
        self.drain = Drain()
        self._admission = Admission(engine, config.max_requests)
        name = self.served.aliases.names[0]
        self.metrics = ServerMetrics(engine, name, self._admission)

    async def answer(self, request: Request, endpoint: Endpoint) -> Response:
        """Answers a request that generates.

        Args:
            request: The request.
            endpoint: Its form.

        Raises:
            ApiError: It is refused, or cut at the end of draining.
            FastTTSError: It has failed.
            ClientDisconnect: The client left; all of its work is ended.
        """
        with self.drain.wait():
            return await self._answer(request, endpoint)

    async def _answer(self, request: Request, endpoint: Endpoint) -> Response:
        body = await read_body(
            request,
            max_bytes=self.config.max_body_bytes,
            timeout_s=self.config.read_timeout_s,
        )
        async with AsyncExitStack() as stack:
            stack.enter_context(self._admission.admitted())
            asked = endpoint.parse(body)
            call = await asyncio.to_thread(endpoint.call, self.served, asked)
            page, listen = self.pages.open(call)
            stack.callback(self.pages.close, call)
            if not asked.stream:
                outcome = await while_connected(request, call.run(listen))
                reply = endpoint.reply(asked, call, outcome, page)
                text = reply.model_dump_json(exclude_unset=True)
                return Response(text, media_type="application/json")
            events = await while_connected(
                request, begun(endpoint.stream(asked, call, page, listen), _BEGIN_S)
            )
            stack.push_async_callback(events.aclose)
            failure = functools.partial(endpoint.failure, asked, call)
            # From here on the stream owns all that is open.
            return self.stream(with_failure(events, failure, self.drain.wait()), stack.pop_all())

    def stream(
        self, events: AsyncGenerator[bytes, None], stack: AsyncExitStack | None = None
    ) -> EventStream:
        """Makes a response of events.

        Args:
            events: The events; closed by the response.
            stack: Closed by the response as well; None for nothing.
        """
        return EventStream(
            events,
            heartbeat_s=self.config.heartbeat_s,
            send_timeout_s=self.config.send_timeout_s,
            on_close=(stack or AsyncExitStack()).aclose,
        )
