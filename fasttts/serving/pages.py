"""The pages of searches, that run and that have ended."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import Any

from fasttts.page import search_page
from fasttts.routing import RoutedEvent, Router
from fasttts.serving.api_errors import ApiError
from fasttts.serving.call import Call, Listen
from fasttts.serving.streams import json_event
from fasttts.streaming.live_result import LiveResult
from fasttts.types import Finished

_REFRESH_S = 0.5
_LAST = "last"
"""Id of the event behind which a browser need not come again."""


class _Page:
    """One search as it is shown."""

    def __init__(self, live: LiveResult) -> None:
        self.live = live
        self.version = 0
        self.is_over = False

    def take(self, event: RoutedEvent) -> None:
        if not isinstance(event, Finished) and self.is_over:
            return
        self.live.take(event)  # type: ignore[arg-type]  # it passes over a router's decisions
        self.version += 1
        self.is_over = isinstance(event, Finished)

    def document(self) -> dict[str, Any]:
        return {"results": [self.live.result.to_dict()]}


class SearchPages:
    """The newest searches of a server, by the ids of their calls.

    Whoever knows an id sees the page: ids are random, and go to the caller alone.

    Args:
        max_pages: Pages that are kept; 0 keeps none.
        address: Where the pages are: a path that an id follows.
    """

    def __init__(self, max_pages: int, address: str) -> None:
        self._max_pages = max_pages
        self._address = address
        self._pages: OrderedDict[str, _Page] = OrderedDict()

    def open(self, call: Call) -> tuple[str | None, Listen | None]:
        """Opens the page of a call, if it searches; returns its address, and what shows events."""
        if call.is_plain or len(call.requests) > 1 or not self._max_pages:
            return None, None
        request = call.requests[0]
        engine = request.engine
        if isinstance(engine, Router):
            engine = engine.engine
        live = LiveResult(
            request.prompt.problem,
            request.config.model_dump(mode="json"),
            generator=engine.generator_name,
            verifier=engine.verifier_name,
        )
        page = self._pages[call.id] = _Page(live)
        while len(self._pages) > self._max_pages:
            self._pages.popitem(last=False)
        return f"{self._address}/{call.id}", page.take

    def close(self, call: Call) -> None:
        """Marks the search of a call as ended, in whatever way."""
        if page := self._pages.get(call.id):
            page.is_over = True
            page.version += 1

    def html(self, call_id: str) -> str:
        """Writes the page of a search, which follows it while it runs.

        Raises:
            ApiError: There is no such page.
        """
        page = self._page(call_id)
        feed = None if page.is_over else f"{self._address}/{call_id}/events"
        return search_page([page.live.result.to_dict()], feed=feed)

    def feed(self, call_id: str) -> AsyncGenerator[bytes, None]:
        """Yields the search, anew whenever it has grown.

        Raises:
            ApiError: There is no such page.
        """
        return _documents(self._page(call_id))

    def is_last(self, event_id: str | None) -> bool:
        """Whether a browser that comes again has seen the last event."""
        return event_id == _LAST

    def _page(self, call_id: str) -> _Page:
        page = self._pages.get(call_id)
        if page is None:
            raise ApiError(
                "there is no such search, or newer ones have taken its place", status=404
            )
        return page


async def _documents(page: _Page) -> AsyncGenerator[bytes, None]:
    seen = -1
    while True:
        is_over, version = page.is_over, page.version
        if version != seen:
            seen = version
            yield json_event(page.document(), event_id=_LAST if is_over else None)
        if is_over:
            return
        await asyncio.sleep(_REFRESH_S)
