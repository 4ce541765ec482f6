"""The two processes of one run: started together, read within bounds, ended together."""

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from fasttts.code.limits import Limits
from fasttts.code.sandbox import Sandbox

MAX_REPORT_BYTES = 1 << 22
"""The longest report of the tests' process."""

_PART = 1 << 16
_END = b'["end", null]\n'


class Cancellation:
    """Ends the processes of a run that nobody waits for any more, from any thread.

    Attributes:
        is_cancelled: Whether the run is to end, or not to begin.
    """

    def __init__(self) -> None:
        self.is_cancelled = False
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []

    def cancel(self) -> None:
        """Kills the processes; those to come end at once."""
        with self._lock:
            self.is_cancelled = True
            for process in self._processes:
                _kill(process)

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """Takes a process that has started."""
        with self._lock:
            self._processes.append(process)
            if self.is_cancelled:
                _kill(process)

    def end(self) -> None:
        """Kills and collects all processes."""
        with self._lock:
            processes, self._processes = self._processes, []
            for process in processes:
                _kill(process)
        for process in processes:
            process.wait()


def run_syntax(
    sandbox: Sandbox, limits: Limits, program: str, cancellation: Cancellation
) -> Sequence[Any]:
    """Reports of the process that reads a program without running it.

    Args:
        sandbox: Where it runs.
        limits: What it may use.
        program: The text.
        cancellation: Ends it.
    """
    with ExitStack() as stack:
        stack.callback(cancellation.end)
        jobs, reports = _pipes(stack), _pipes(stack)
        _start(sandbox, limits, "syntax", (jobs, reports), cancellation)
        return _converse(jobs, reports, {"program": program}, limits.wall_s)


def run_tests(
    sandbox: Sandbox, limits: Limits, job: Mapping[str, Any], cancellation: Cancellation
) -> Sequence[Any]:
    """Reports of the tests' process about a program in another process.

    Args:
        sandbox: Where both run.
        limits: What each of them may use.
        job: For `worker.run_tests`.
        cancellation: Ends them.
    """
    with ExitStack() as stack:
        stack.callback(cancellation.end)
        jobs, reports, questions, answers = (_pipes(stack) for _ in range(4))
        _start(sandbox, limits, "program", (questions, answers), cancellation)
        _start(sandbox, limits, "tests", (jobs, reports), cancellation, answers, questions)
        questions.close()
        answers.close()
        return _converse(jobs, reports, job, limits.wall_s)


class _Pipe:
    """Both ends of a pipe, each closed once."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._open = {self.reader, self.writer}

    def close(self, *ends: int) -> None:
        for end in ends or (self.reader, self.writer):
            if end in self._open:
                self._open.remove(end)
                os.close(end)


def _pipes(stack: ExitStack) -> _Pipe:
    pipe = _Pipe()
    stack.callback(pipe.close)
    return pipe


def _start(
    sandbox: Sandbox,
    limits: Limits,
    role: str,
    ends: tuple[_Pipe, _Pipe],
    cancellation: Cancellation,
    *others: _Pipe,
) -> None:
    """Starts a worker that reads from the first pipe and writes to the second."""
    told: dict[str, Any] = {
        "rlimits": limits.rlimits(has_own_user=sandbox.has_own_user),
        "output_bytes": limits.output_bytes,
    }
    inherited: tuple[int, ...] = ()
    if others:
        inherited = (others[0].reader, others[1].writer)
        told["pipes"] = inherited
    with sandbox.command([role, json.dumps(told)], limits) as command:
        process = subprocess.Popen(
            command.arguments,
            stdin=ends[0].reader,
            stdout=ends[1].writer,
            stderr=subprocess.DEVNULL,
            env=command.environment,
            cwd="/",
            pass_fds=(*command.inherited, *inherited),
            start_new_session=True,
        )
    cancellation.add(process)


def _converse(jobs: _Pipe, reports: _Pipe, job: Mapping[str, Any], limit_s: float) -> Sequence[Any]:
    """Writes the job and reads reports until there are no more, too many, or no time."""
    jobs.close(jobs.reader)
    reports.close(reports.writer)
    deadline = time.monotonic() + limit_s
    _write(jobs.writer, json.dumps(job).encode() + b"\n", deadline)
    reported = _read(reports.reader, deadline)
    whole = reported[: reported.rfind(b"\n") + 1]  # the rest was cut off in the middle of a line
    return [json.loads(line) for line in whole.splitlines()]


def _write(descriptor: int, data: bytes, deadline: float) -> None:
    os.set_blocking(descriptor, False)
    with suppress(BrokenPipeError):
        while data and _is_ready(descriptor, select.POLLOUT, deadline):
            data = data[os.write(descriptor, data) :]


def _read(descriptor: int, deadline: float) -> bytes:
    found = bytearray()
    while len(found) < MAX_REPORT_BYTES and _is_ready(descriptor, select.POLLIN, deadline):
        part = os.read(descriptor, _PART)
        found += part
        if not part or found.endswith(_END):
            break
    return bytes(found)


def _is_ready(descriptor: int, event: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    left_s = deadline - time.monotonic()
    return left_s > 0 and bool(poll.poll(left_s * 1000))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a process and, where it has not been collected, its process group."""
    with suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
