"""What is tried again: calls of a backend that says that repeating them may help."""

from collections.abc import Callable

import tenacity

from fasttts.errors import BackendError

NUM_ATTEMPTS = 3


def retrying(before_retry: Callable[[], None] = lambda: None) -> tenacity.Retrying:
    """Three attempts, as long as the errors are retryable; then the last of them.

    Args:
        before_retry: Called before each further attempt.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_retryable),
        stop=tenacity.stop_after_attempt(NUM_ATTEMPTS),
        before_sleep=lambda _: before_retry(),
        reraise=True,
    )


def is_retryable(error: BaseException) -> bool:
    """Whether the same call may succeed when repeated."""
    return isinstance(error, BackendError) and error.retryable
