"""Middleware that counts responses by endpoint and status."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fasttts.serving.metrics import ServerMetrics

_OTHER = "other"


class CountResponses:
    """Counts each response of HTTP once, when it begins.

    Args:
        app: The application.
        metrics: Counts.
    """

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The route's pattern, since paths are of clients and without number.
                route = scope.get("route")
                self._metrics.count(getattr(route, "path", _OTHER), message["status"])
            await send(message)

        await self._app(scope, receive, counted)
