"""The errors FastTTS raises, as one tree.

A beam that fails is data (it is a candidate that lost); an engine that fails is an exception.
"""

import reprlib
from collections.abc import Sequence
from typing import Any, Literal

from fasttts.types import StopReason, TreeNode, Usage

Role = Literal["generator", "verifier"]


def shown(value: object, max_chars: int = 80) -> str:
    """A value for a message: short, and readable where its own `repr` raises.

    Args:
        value: Any value, of a user's or a model's.
        max_chars: Characters after which it is cut.
    """
    shortening = reprlib.Repr()
    shortening.maxstring = shortening.maxother = max_chars
    shortening.maxlevel = 4
    try:
        text = shortening.repr(value)
    except Exception:  # noqa: BLE001, a user's class, or an integer of thousands of digits
        text = type(value).__name__
    return text if len(text) <= max_chars else f"{text[:max_chars]} ..."


class FastTTSError(Exception):
    """Base of every error raised on purpose by FastTTS.

    Errors can be pickled and copied, with their attributes and notes; their cause stays behind, as
    that of any exception.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Without a call of `__init__`, whose keyword arguments Python does not remember."""
        arguments = super().__reduce__()[1]  # of a subclass that is an `OSError`, more than `args`
        return _made, (type(self), arguments), self.__dict__


def _made(kind: type[FastTTSError], args: tuple[Any, ...]) -> FastTTSError:
    return kind.__new__(kind, *args)


class ConfigurationError(FastTTSError, ValueError):
    """An option, a model or an input cannot work; raised before memory is taken where possible."""


def wrong_type(name: str, value: object, expected: str) -> ConfigurationError:
    """The error to raise where an argument is of the wrong type.

    Args:
        name: The parameter.
        value: The argument.
        expected: The right types, after "is".
    """
    return ConfigurationError(f"{name} is {expected}, not {type(value).__name__}: {shown(value)}")


class BackendError(FastTTSError, RuntimeError):
    """The generator's or the verifier's engine failed.

    Args:
        message: What happened, with values, and what to change.
        role: Which of the two engines failed.
        retryable: Whether the same call may succeed when repeated.
    """

    def __init__(self, message: str, *, role: Role, retryable: bool = False) -> None:
        super().__init__(message)
        self.role: Role = role
        self.retryable = retryable


class CapacityError(BackendError):
    """The work can never fit into the memory or the context; names the setting to change."""


class ContractError(BackendError):
    """A backend broke a promise of its protocol (wrong count, unknown request, NaN)."""


class OverloadedError(BackendError):
    """Too many searches wait already; the same call may succeed later.

    Args:
        message: What happened, with values, and what to change.
        num_waiting: Searches that wait.
        retry_after_s: Seconds after which a place in the queue should be free.
    """

    def __init__(self, message: str, *, num_waiting: int, retry_after_s: float) -> None:
        super().__init__(message, role="generator", retryable=True)
        self.num_waiting = num_waiting
        self.retry_after_s = retry_after_s


class SearchError(FastTTSError, RuntimeError):
    """A search ended without a finished candidate, or a function of the user's failed in it.

    Args:
        message: What happened, with values, and what to change.
        stop_reason: Why the search ended.
        tree: Its nodes so far, in depth-first order.
        usage: Its token and node counts.
    """

    def __init__(
        self,
        message: str,
        *,
        stop_reason: StopReason = "complete",
        tree: Sequence[TreeNode] = (),
        usage: Usage = Usage(),  # noqa: B008, immutable
    ) -> None:
        super().__init__(message)
        self.stop_reason: StopReason = stop_reason
        self.tree = tuple(tree)
        self.usage = usage
