"""Runs programs against tests: many at once, each program once."""

import functools
import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from fasttts.code.limits import Limits
from fasttts.code.processes import Cancellation, run_syntax, run_tests
from fasttts.code.sandbox import Sandbox, SandboxName, find_sandbox
from fasttts.code.tests import CodeTests
from fasttts.errors import ConfigurationError, FastTTSError
from fasttts.verifiers.daemon_pool import Call, DaemonPool

Value = TypeVar("Value")

CACHED_RUNS = 4096


class CancelledError(FastTTSError, RuntimeError):
    """A run was ended because nobody waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a program.

    Attributes:
        num_passed: Tests that passed.
        num_tests: Tests that there are.
        problem: The first thing that went wrong, in words; None where all tests passed.
        is_loaded: Whether the program itself ran through, whatever its functions do.
    """

    num_passed: int
    num_tests: int
    problem: str | None = None
    is_loaded: bool = True

    @property
    def share(self) -> float:
        """Share of the tests that passed, in [0, 1]."""
        return self.num_passed / self.num_tests

    @property
    def is_right(self) -> bool:
        """Whether all tests passed."""
        return self.num_passed == self.num_tests


class CodeRunner:
    """Runs programs of models in a sandbox.

    A program is run once: what became of it is kept by its text and its tests.

    Args:
        sandbox: "auto" takes bubblewrap and refuses to go without; "none" runs programs
            unprotected, with the rights of the caller; or a `Sandbox`.
        limits: What a run may use; None takes `Limits()`.
        num_parallel: Runs at a time; None takes one for each core that this process may use.

    Raises:
        ConfigurationError: The sandbox does not work here, or `num_parallel` is not positive.
    """

    def __init__(
        self,
        *,
        sandbox: SandboxName | Sandbox = "auto",
        limits: Limits | None = None,
        num_parallel: int | None = None,
    ) -> None:
        if num_parallel is not None and num_parallel < 1:
            raise ConfigurationError(f"num_parallel={num_parallel}: a program needs one place")
        self.sandbox = find_sandbox(sandbox)
        self.limits = limits or Limits()
        self.num_parallel = num_parallel or len(os.sched_getaffinity(0))
        self.pool = DaemonPool(self.num_parallel, name="fasttts-code")
        self._cache: OrderedDict[str, Any] = OrderedDict()
        self._running: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._cancellations: set[Cancellation] = set()
        self._is_closed = False

    def __enter__(self) -> "CodeRunner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> str:
        """The identity of all that decides about a program, but for the program and its tests."""
        return f"code {self.sandbox.name} {json.dumps(asdict(self.limits))}"

    def run(
        self, program: str, tests: CodeTests, *, cancellation: Cancellation | None = None
    ) -> Verdict:
        """Runs a program against tests, in the caller's thread.

        Args:
            program: All of its text.
            tests: The tests.
            cancellation: Ends the run from another thread; None for none.

        Raises:
            CancelledError: It was ended.
        """
        job = _job(program, tests) | {"tests": tests.tests}
        reports = self._reports(job, cancellation)
        return _verdict(reports, len(tests.tests))

    def behaviour(
        self,
        program: str,
        tests: CodeTests,
        calls: Sequence[str],
        *,
        cancellation: Cancellation | None = None,
    ) -> tuple[str, ...] | None:
        """What calls of a program give, as one text for each; None where there is no one value.

        Args:
            program: All of its text.
            tests: Whose names and setup the calls use.
            calls: Expressions.
            cancellation: As for `run`.

        Raises:
            CancelledError: The run was ended.
        """
        reports = self._reports(_job(program, tests) | {"calls": list(calls)}, cancellation)
        found = [value for kind, value in reports if kind == "call"]
        if all(value.startswith("raises ") for value in found):
            return None
        return (*found, *["no value"] * (len(calls) - len(found)))

    def whole_part(self, text: str, *, cancellation: Cancellation | None = None) -> str | None:
        """The whole statements at the beginning of a text that may become a program.

        Args:
            text: The beginning of a program.
            cancellation: As for `run`.

        Returns:
            None where nothing that follows could make it a program.

        Raises:
            CancelledError: The reading was ended.
        """
        found = self._reports({"syntax": text}, cancellation)
        length = next((value for kind, value in found if kind == "syntax"), None)
        return None if length is None else text[:length]

    def submit(
        self, functions: Sequence[Callable[[Cancellation], Value]]
    ) -> list[tuple[Call[Value], Cancellation]]:
        """Runs functions in the runner's threads; each is given what ends its run.

        Raises:
            CancelledError: The runner is closed.
        """
        if self._is_closed:
            raise CancelledError("the runner is closed")
        pairs = [(function, Cancellation()) for function in functions]
        return [(self.pool.submit(functools.partial(f, c)), c) for f, c in pairs]

    def close(self) -> None:
        """Ends all processes, and refuses further runs."""
        with self._lock:
            self._is_closed = True
            cancellations = list(self._cancellations)
        self.pool.close()
        for cancellation in cancellations:
            cancellation.cancel()

    def _reports(self, job: dict[str, Any], cancellation: Cancellation | None) -> Sequence[Any]:
        """The reports of one job, from the cache where it was done before."""
        text = job.get("program", job.get("syntax", ""))
        if len(text.encode(errors="replace")) > self.limits.source_bytes:
            return [["loaded", f"the program is longer than {self.limits.source_bytes} bytes"]]
        key = hashlib.sha256(json.dumps(job).encode()).hexdigest()
        with self._lock:
            lock = self._running.setdefault(key, threading.Lock())
        with lock:  # whoever asks for the same meanwhile waits here
            with self._lock:
                if key in self._cache:
                    self._cache.move_to_end(key)
                    return self._cache[key]  # type: ignore[no-any-return]  # reports are JSON
            try:
                found = self._run(job, cancellation or Cancellation())
            finally:
                with self._lock:
                    self._running.pop(key, None)
            with self._lock:
                self._cache[key] = found
                while len(self._cache) > CACHED_RUNS:
                    self._cache.popitem(last=False)
        return found

    def _run(self, job: dict[str, Any], cancellation: Cancellation) -> Sequence[Any]:
        with self._lock:
            if self._is_closed:
                cancellation.cancel()
            self._cancellations.add(cancellation)
        try:
            if cancellation.is_cancelled:
                raise CancelledError("the run of a program was cancelled before it began")
            if "syntax" in job:
                found = run_syntax(self.sandbox, self.limits, job["syntax"], cancellation)
            else:
                found = run_tests(self.sandbox, self.limits, job, cancellation)
            if cancellation.is_cancelled:
                raise CancelledError("the run of a program was cancelled")
            return found
        finally:
            with self._lock:
                self._cancellations.discard(cancellation)


def _job(program: str, tests: CodeTests) -> dict[str, Any]:
    return {"program": program, "names": tests.names, "setup": tests.setup}


def _verdict(reports: Sequence[Any], num_tests: int) -> Verdict:
    results = [problem for kind, problem in reports if kind == "test"]
    lost = [_LOST.get(reason, _ENDED) for kind, reason in reports if kind == "lost"]
    failed = [problem for kind, problem in reports if kind in {"loaded", "prepared"} and problem]
    problems = [*failed, *filter(None, results), *lost]
    num_passed = results.count(None)
    return Verdict(
        num_passed=num_passed,
        num_tests=num_tests,
        problem=None if num_passed == num_tests else next(iter(problems), _ENDED),
        is_loaded=["loaded", None] in reports,
    )


_ENDED = "the program ended before its tests: it exited, crashed, or used up its time or memory"
_LOST = {
    "output": "the program returned more than it may",
    "protocol": "the program wrote what is no value into the pipe of its process",
}
