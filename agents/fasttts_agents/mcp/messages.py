"""Lines of a client that are no messages of the protocol: each is answered with an error.

The SDK (2.x) drops them over standard input, and a client whose request is one waits for ever.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO, Any

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

_RESPONSE = ("result", "error")
"""Keys of responses, which are not answered, be they right or wrong."""


class ClientMessages(anyio.AsyncFile[str]):
    """The lines of a client that are messages; others are answered and left out.

    Args:
        file: Where the lines come from.

    Attributes:
        answer: Sends an answer; set before a line is read.
    """

    answer: Callable[[SessionMessage], Awaitable[None]]

    def __init__(self, file: IO[str]) -> None:
        super().__init__(file)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yields the lines."""
        while line := await self.readline():
            problem = _problem(line)
            if problem is None:
                yield line
            elif (refusal := _refusal(line, *problem)) is not None:
                await self.answer(SessionMessage(refusal))


def _problem(line: str) -> tuple[int, str] | None:
    """JSON-RPC's code for the fault of a line, and its description; None for a message."""
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            return PARSE_ERROR, first["msg"]
        return INVALID_REQUEST, "it is none of JSON-RPC 2.0"
    if isinstance(message, JSONRPCNotification) and '"id"' in line and "id" in (_read(line) or {}):
        return INVALID_REQUEST, "its id is neither a text nor a whole number"
    return None


def _refusal(line: str, code: int, problem: str) -> JSONRPCError | None:
    """The answer to a line that is no message; None where it needs none."""
    if not line.strip():
        return None
    found = _read(line)
    named = found if isinstance(found, dict) else {}
    if any(key in named for key in _RESPONSE):
        return None
    data = ErrorData(code=code, message=f"the message cannot be read: {problem}")
    return JSONRPCError(jsonrpc="2.0", id=_request_id(named), error=data)


def _read(line: str) -> Any:
    """The value of a line, halves of characters included; None where it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _request_id(message: dict[str, Any]) -> int | str | None:
    """The id of a message, which its answer repeats; None where it has none that can be written."""
    found = message.get("id")
    if isinstance(found, bool) or not isinstance(found, int | str):
        return None
    is_writable = isinstance(found, int) or found.isascii()
    return found if is_writable else None
