"""Errors in OpenAI's form: a status and a JSON object that its clients understand."""

import math
from collections.abc import Mapping
from typing import Any

from fasttts.errors import (
    BackendError,
    CapacityError,
    ConfigurationError,
    FastTTSError,
    OverloadedError,
    SearchError,
)

_NO_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients repeat a call that failed on the server; this one would fail again."""


class ApiError(FastTTSError):
    """A refusal of a request, or its failure.

    Args:
        message: What happened, and what to change.
        status: The HTTP status.
        kind: OpenAI's type of the error.
        code: OpenAI's code of the error; None for none.
        param: The field of the request that is wrong; None where it is none.
        headers: Further headers of the response.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self._body = {"message": message, "type": kind, "param": param, "code": code}

    def body(self) -> dict[str, Any]:
        """The error as JSON data."""
        return {"error": dict(self._body)}


def retry_after(seconds: float) -> dict[str, str]:
    """The header that tells clients when to come again."""
    return {"Retry-After": str(max(1, min(600, math.ceil(seconds))))}


def overloaded(message: str, retry_after_s: float) -> ApiError:
    """The refusal of a request for which there is no room now.

    Args:
        message: What happened, with values.
        retry_after_s: Seconds after which there should be room.
    """
    return ApiError(
        message,
        status=429,
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        headers=retry_after(retry_after_s),
    )


def api_error(error: BaseException) -> ApiError:
    """Translates the error of a request; messages of unknown errors stay in the log."""
    match error:
        case ApiError():
            return error
        case OverloadedError():
            return overloaded(str(error), error.retry_after_s)
        case ConfigurationError():
            return ApiError(str(error), status=400)
        case CapacityError():
            return ApiError(str(error), status=400, code="context_length_exceeded")
        case SearchError():
            return _search_error(error)
        case BackendError() if error.retryable:
            return ApiError(str(error), status=503, kind="server_error", headers=retry_after(1.0))
        case BackendError():
            message = str(error)
            return ApiError(
                message, status=503, kind="server_error", code="engine", headers=_NO_RETRY
            )
        case _:
            message = "internal error; the server's log has it"
            headers = {**_NO_RETRY, "Connection": "close"}  # which the server does then
            return ApiError(message, status=500, kind="server_error", headers=headers)


def _search_error(error: SearchError) -> ApiError:
    match error.stop_reason:
        case "refused":
            return overloaded(str(error), 1.0)
        case "seconds":
            status, code = 504, "time_limit"
        case _:
            status, code = 500, "no_answer"
    return ApiError(str(error), status=status, kind="server_error", code=code, headers=_NO_RETRY)


def wrong_key(problem: str) -> ApiError:
    """The error of a request without one of the server's keys.

    Args:
        problem: What is wrong with it.
    """
    return ApiError(
        problem,
        status=401,
        kind="authentication_error",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )
