"""Why llguidance goes no further in a grammar, as our errors."""

from typing import TYPE_CHECKING

from fasttts.errors import BackendError, CapacityError

if TYPE_CHECKING:
    from llguidance import LLMatcher


def first_problem(matcher: "LLMatcher") -> str:
    """The fault of a grammar of which no answer can begin; empty where one can.

    Args:
        matcher: A matcher in its initial state, in which it stays.
    """
    probe = matcher.deep_copy()
    probe.compute_bitmask()
    if not probe.is_error():
        return ""
    problem = probe.get_error().partition("\n")[0]
    if problem.startswith("NoExtension"):
        return "no answer can begin, since a part of it matches nothing"
    return f"the first token is too complex, simplify it: {problem}"


def failure(matcher: "LLMatcher") -> BackendError:
    """The error of a sequence whose grammar cannot go on.

    Args:
        matcher: Its matcher, which has an error.
    """
    problem = matcher.get_error().partition("\n")[0]
    if problem.startswith("NoExtension"):
        message = "the structured outputs allow no text behind what was decoded so far"
        return BackendError(f"{message}: a part of them matches nothing", role="generator")
    message = f"the structured outputs are too complex to decode: {problem}"
    return CapacityError(f"{message}: simplify them", role="generator")
