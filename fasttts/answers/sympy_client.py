"""What mathematics an answer is, read by math-verify within limits that cannot be exceeded.

math-verify's own limits use the alarm signal, which serves the main thread only and cannot
interrupt one long multiplication. So it runs in a process of its own (`sympy_worker.py`):

* texts that ask for huge numbers are refused before anything reads them, by rules that depend on
  the text alone;
* a text gets a second of processor time, then the kernel ends the process. Processor time,
  unlike time on the wall, does not depend on how busy the machine is;
* should the process stand still, it is ended after `WALL_LIMIT_S`.
"""

import atexit
import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

Description = dict[str, Any]
"""A value as data, as `sympy_worker.py` makes it: a `kind`, and what belongs to it."""

MAX_CHARACTERS = 200
MAX_NESTING = 12
WALL_LIMIT_S = 30.0
START_LIMIT_S = 120.0

_HUGE = re.compile(
    r"\d{201,}"  # a number longer than any answer
    r"|\d{4,}\s*!|[)}\]!]\s*!"  # large factorials, factorials of expressions or of factorials
    r"|\^\s*\{?\s*[+-]?[\d,]{5,}"  # large exponents
    r"|\d\s*\)?\s*\}?\s*\^\s*[({\s]*[+-]?[\d.]+\s*[)}]?\s*\^"  # towers of numbers
    r"|(?:binom|choose)\s*\{?\s*\d{5,}"
)
_WORKER = Path(__file__).with_name("sympy_worker.py")

logger = logging.getLogger(__name__)


class OutOfTime(Exception):
    """A text used up its time; its value stays unknown."""


def is_readable(text: str) -> bool:
    """Whether `text` is short, flat and without the makings of huge numbers."""
    if len(text) > MAX_CHARACTERS or _HUGE.search(text):
        return False
    level = deepest = 0
    for sign in text:
        level += (sign in "({[") - (sign in ")}]")
        deepest = max(deepest, level)
    return deepest <= MAX_NESTING and "$" not in text


class _Killed(OutOfTime):
    """The process ended though it had time left: someone else needed its memory, say."""


class Algebra:
    """One worker process, started when it is first needed, shared by all threads in turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._can_start = True
        self._inherited: list[subprocess.Popen[bytes]] = []

    def describe(self, text: str) -> Description | None:
        """The value of mathematics in LaTeX; None where it is none, or refused unread.

        Raises:
            OutOfTime: It was given up; a new process takes the next text.
        """
        if not is_readable(text):
            return None
        with self._lock:
            try:
                return self._ask(text)
            except _Killed:
                return self._ask(text)  # not the text's fault, unless it happens again

    def close(self) -> None:
        """Ends the process; the next text starts a new one."""
        with self._lock:
            self._stop()

    def forget(self) -> None:
        """Leaves the process to its owner: for the child after a fork."""
        self._lock = threading.Lock()  # some thread of the parent may have held the old one
        if self._process is not None:
            _close_pipes(self._process)
            self._inherited.append(self._process)
            self._process = None

    def _ask(self, text: str) -> Description | None:
        process = self._started()
        if process is None:
            return None
        try:
            answer = _ask(process, json.dumps(text).encode() + b"\n", WALL_LIMIT_S)
        except BaseException:
            self._stop()  # or the next text would get this one's answer
            raise
        found: Description | None = json.loads(answer)
        return found

    def _started(self) -> subprocess.Popen[bytes] | None:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        if not self._can_start:
            return None
        try:
            self._process = _start()
        except (OSError, OutOfTime) as error:
            self._can_start = False
            logger.warning("answers are compared as text: math-verify did not start: %s", error)
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        _close_pipes(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def _start() -> subprocess.Popen[bytes]:
    """A worker that is ready. Hashes are fixed, so that sympy's order of terms is."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    try:
        _ask(process, b"", START_LIMIT_S)
    except BaseException:
        process.kill()
        process.wait()
        _close_pipes(process)
        raise
    return process


def _ask(process: subprocess.Popen[bytes], line: bytes, limit_s: float) -> bytes:
    """Writes a line and reads the next one.

    Raises:
        OutOfTime: There was none: the process ended, or took longer than `limit_s`.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    deadline = time.monotonic() + limit_s
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    answer = b""
    try:
        process.stdin.write(line)
        while not answer.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                raise OutOfTime(f"no answer within {limit_s:g} s")
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                raise BrokenPipeError("the process ended")
            answer += part
    except OSError as error:
        is_out_of_time = process.wait(START_LIMIT_S) == -signal.SIGPROF
        raise (OutOfTime if is_out_of_time else _Killed)(str(error)) from error
    return answer


ALGEBRA: Final = Algebra()
"""The one of this process."""

atexit.register(ALGEBRA.close)
os.register_at_fork(after_in_child=ALGEBRA.forget)
