"""One replica: an engine behind the application of `fasttts serve`."""

from fastapi import FastAPI
from ray import serve
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fasttts.config import EngineConfig
from fasttts.config.serving import ServingConfig
from fasttts.errors import BackendError
from fasttts.ray.engines import open_actor_engine
from fasttts.serving import make_app

REPLICA_HEADER = "x-fasttts-replica"
"""Header of every response: the id of the replica that made it."""


@serve.ingress()
class EngineReplica:
    """An engine of its own, behind OpenAI's protocol; made by Serve in an actor.

    Args:
        engine: Options of the engine.
        serving: Names, keys and limits.
        opener: As for `open_actor_engine`.

    Raises:
        ConfigurationError: An option cannot work.
        BackendError: vLLM could not start.
    """

    def __init__(self, engine: EngineConfig, serving: ServingConfig, opener: str | None) -> None:
        self._engine = open_actor_engine(engine, opener)
        self._serving = serving

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Makes the application, behind the constructor."""
        app = make_app(self._engine, self._serving)
        name = serve.get_replica_context().replica_id.unique_id
        app.add_middleware(NameReplica, name=name)
        return app

    def check_health(self) -> None:
        """Raises where a model has failed; then Serve ends this replica and starts another.

        Raises:
            BackendError: It says which model, and why.
        """
        health = self._engine.health
        if not health.is_healthy:
            raise BackendError(f"the engine has failed: {health.reason}", role="generator")

    def __del__(self) -> None:
        """Frees the models; Serve calls it once requests have ended."""
        engine = getattr(self, "_engine", None)  # missing where it could not be opened
        if engine is not None:
            engine.close()


class NameReplica:
    """Names the replica in every response.

    Args:
        app: The application.
        name: The replica's id.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REPLICA_HEADER] = self._name
            await send(message)

        await self._app(scope, receive, send_named)
