"""HTTP as uvicorn speaks it, with a bound on the heads of requests: httptools has none."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEAD_BYTES = 65_536
"""The bound of uvicorn's other parser; a head that comes in one piece may be longer."""


class BoundedHttp(HttpToolsProtocol):
    """Refuses a head, or trailers, that do not end within the bound."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._num_held_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        self._num_held_bytes += len(data)
        super().data_received(data)
        if self._num_held_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        """The head of a request is whole."""
        self._num_held_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._num_held_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole, its trailers too."""
        self._num_held_bytes = 0
        super().on_message_complete()
