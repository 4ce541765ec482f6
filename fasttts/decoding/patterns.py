r"""Regular expressions of users, run by RE2: the time is linear in the text, whatever the pattern.

RE2 has neither lookaround nor backreferences, and its `\s`, `\w`, `\d` and `\b` are ASCII only.
"""

import functools
from typing import Any

import re2

_MAX_CHARS = 1000
_MAX_MEMORY_BYTES = 1 << 20


@functools.lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Any:
    """The compiled pattern, with the interface of `re.Pattern`.

    Raises:
        ValueError: RE2 cannot run it, or it is too large; the message says why.
    """
    if len(pattern) > _MAX_CHARS:
        raise ValueError(f"it has {len(pattern)} characters, at most {_MAX_CHARS} are taken")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(said) from error
