"""The connection of a request: its body within limits, and work that ends with its client."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from fasttts.serving.api_errors import ApiError

Value = TypeVar("Value")
_JSON = "application/json"


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """Reads the body of a request.

    Args:
        request: The request.
        max_bytes: Longest body.
        timeout_s: Most seconds that the client may take.

    Raises:
        ApiError: It is too long, came too slowly, or is not declared to be JSON.
        ClientDisconnect: The client left before it was sent.
    """
    # Web pages may send other types to any server, without its consent.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        raise ApiError(f"the body must be JSON: send 'Content-Type: {_JSON}'", status=415)
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_long(max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                body += part
                if len(body) > max_bytes:
                    raise _too_long(max_bytes)
    except TimeoutError as error:
        raise ApiError(f"the body did not come within {timeout_s:g} s", status=408) from error
    return bytes(body)


def _too_long(max_bytes: int) -> ApiError:
    return ApiError(
        f"the body has more than {max_bytes:,} bytes, the server's max_body_bytes: send less",
        status=413,
    )


async def while_connected(request: Request, work: Coroutine[Any, Any, Value]) -> Value:
    """Waits for work, which is cancelled once the client has left.

    Args:
        request: The request, whose body was read.
        work: What it asks for.

    Raises:
        ClientDisconnect: The client left before the work was done.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def disconnected(receive: Receive) -> None:
    """Returns once the client of a request, whose body was read, has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def begun(items: AsyncGenerator[Value, None], wait_s: float) -> AsyncGenerator[Value, None]:
    """Starts a generator, so that an error of its beginning is raised here.

    Args:
        items: The generator; closed with the returned one, and where this raises.
        wait_s: Most seconds to wait for the first item; an error after that is the reader's.

    Returns:
        A generator of the same items. It must be closed, be it read or not.
    """
    first = asyncio.ensure_future(anext(items))
    try:
        await asyncio.wait({first}, timeout=wait_s)
        if first.done():
            first.result()
    except BaseException:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await items.aclose()
        raise
    rest = _rest(first, items)
    await anext(rest)  # from here on, closing it closes all
    return rest


async def _rest(
    first: "asyncio.Future[Value]", items: AsyncGenerator[Value, None]
) -> AsyncGenerator[Any, None]:
    """Yields None once, then the items."""
    async with aclosing(items):
        try:
            yield None
            yield await first
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        async for item in items:
            yield item
