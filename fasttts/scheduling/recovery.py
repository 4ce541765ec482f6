"""Retry policy for retryable backend errors, and errors in which objects of users failed."""

import logging
from collections.abc import Callable

import tenacity

from fasttts.errors import BackendError, CapacityError, ContractError, SearchError

logger = logging.getLogger(__name__)

NUM_ATTEMPTS = 3


def retrying(before_retry: Callable[[], None] = lambda: None) -> tenacity.Retrying:
    """Makes three attempts while errors are retryable; raises the last error.

    Args:
        before_retry: Called before each further attempt.
    """

    def again(state: tenacity.RetryCallState) -> None:
        _log(state)
        before_retry()

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_retryable),
        stop=tenacity.stop_after_attempt(NUM_ATTEMPTS),
        before_sleep=again,
        reraise=True,
    )


def _log(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    fields = {"role": getattr(error, "role", None), "attempt": state.attempt_number}
    logger.warning("tried again after attempt %d: %s", state.attempt_number, error, extra=fields)


def is_retryable(error: BaseException) -> bool:
    """Whether the same call may succeed when repeated."""
    return isinstance(error, BackendError) and error.retryable


def user_failure(what: str, error: BaseException) -> SearchError:
    """Makes the error of a search in which an object of the user's raised.

    Args:
        what: The object: a policy, or a tokenizer.
        error: What it raised.
    """
    failure = SearchError(f"the search's {what} failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def over_capacity(error: CapacityError, *, is_constrained: bool) -> CapacityError:
    """Names the likely cause of an answer that does not fit, where its form asks for it.

    Args:
        error: The error of the search.
        is_constrained: Whether answers follow a schema or a grammar.
    """
    if not is_constrained:
        return error
    failure = CapacityError(
        f"{error}; the answer follows a schema or a grammar (structured outputs, parameters of a "
        "tool), which may allow or need more text than fits: bound its strings and lists there, "
        "or lower max_tokens",
        role=error.role,
    )
    failure.__cause__ = error
    return failure


def broken_generator(error: Exception) -> ContractError:
    """The error of searches whose generator returned what no generator may return."""
    failure = ContractError(
        f"the generator returned what cannot be read: {type(error).__name__}: {error}; see "
        "fasttts.interfaces.Generator",
        role="generator",
    )
    failure.__cause__ = error
    return failure
