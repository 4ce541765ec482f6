"""The application: routes, keys, and errors in OpenAI's form."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from openai.types import Model
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from fasttts import __version__
from fasttts.config.serving import ServingConfig
from fasttts.engine import FastTTS
from fasttts.errors import FastTTSError
from fasttts.serving import metrics
from fasttts.serving.api_errors import ApiError, api_error, wrong_key
from fasttts.serving.counting import CountResponses
from fasttts.serving.endpoints import ChatEndpoint, CompletionEndpoint, ResponsesEndpoint
from fasttts.serving.service import SEARCHES, Service

logger = logging.getLogger(__name__)


def make_app(engine: FastTTS, config: ServingConfig) -> FastAPI:
    """Makes the application of an engine.

    Args:
        engine: Answers; closed by whoever opened it.
        config: Names, keys and limits.

    Raises:
        ConfigurationError: An option cannot work with this engine.
    """
    service = Service(engine, config)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.drain = service.drain
    app.include_router(_open_routes(service))
    app.include_router(_guarded_routes(service))
    for kind in (FastTTSError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _failure)
    app.add_middleware(CountResponses, metrics=service.metrics)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        )
    if config.allowed_hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(config.allowed_hosts))
    return app


def _guarded_routes(service: Service) -> APIRouter:
    """The routes that ask for a key."""

    async def check_key(authorization: Annotated[str | None, Header()] = None) -> None:
        problem = service.keys.problem(authorization)
        if problem is not None:
            raise wrong_key(problem)

    router = APIRouter(dependencies=[Depends(check_key)])
    chat, completions, responses = ChatEndpoint(), CompletionEndpoint(), ResponsesEndpoint()

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await service.answer(request, chat)

    @router.post("/v1/completions")
    async def text_completions(request: Request) -> Response:
        return await service.answer(request, completions)

    @router.post("/v1/responses")
    async def stateless_responses(request: Request) -> Response:
        return await service.answer(request, responses)

    @router.get("/v1/models")
    async def models() -> JSONResponse:
        listed = [_model(service, name) for name in service.served.aliases.listed()]
        return JSONResponse({"object": "list", "data": listed})

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> JSONResponse:
        service.served.aliases.options(name)
        return JSONResponse(_model(service, name))

    @router.get("/version")
    async def version() -> JSONResponse:
        return JSONResponse({"version": __version__})

    @router.get("/metrics")
    async def text_metrics() -> Response:
        return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)

    return router


def _open_routes(service: Service) -> APIRouter:
    """The routes without a key: health, and pages, whose addresses nobody can guess."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> JSONResponse:
        found = service.engine.health
        status = 200 if found.is_healthy else 503
        return JSONResponse({"is_healthy": found.is_healthy, "reason": found.reason}, status)

    @router.get(SEARCHES + "/{call_id}")
    async def page(call_id: str) -> HTMLResponse:
        headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return HTMLResponse(service.pages.html(call_id), headers=headers)

    @router.get(SEARCHES + "/{call_id}/events")
    async def events(call_id: str, request: Request) -> Response:
        if service.pages.is_last(request.headers.get("last-event-id")):
            return Response(status_code=204)  # which tells a browser not to come again
        return service.stream(service.pages.feed(call_id))

    return router


def _model(service: Service, name: str) -> dict[str, object]:
    """OpenAI's description of a model, with the context's length as in vLLM's."""
    described = Model.model_validate(
        {
            "id": name,
            "object": "model",
            "created": service.started,
            "owned_by": "fasttts",
            "max_model_len": service.engine.max_model_len,
        }
    )
    return described.model_dump()


async def _failure(request: Request, error: Exception) -> Response:
    """The response to a request that has failed."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # nobody reads it; the metrics count it
    if isinstance(error, HTTPException):
        error = ApiError(
            f"{request.method} {request.url.path}: {error.detail}", status=error.status_code
        )
    if not isinstance(error, FastTTSError):
        logger.error("a request failed", exc_info=error)
    failure = api_error(error)
    return JSONResponse(failure.body(), failure.status, headers=failure.headers)
