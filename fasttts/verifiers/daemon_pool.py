"""Daemon threads for functions of users, which may hang.

`concurrent.futures.ThreadPoolExecutor` does not fit: the interpreter waits for its threads when it
exits, and a call that hangs holds its thread for ever.
"""

import contextvars
import itertools
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

GRACE_S = 1.0
"""How long a call that nobody waits for any more keeps its thread from other calls."""


class Call(Future[Value], Generic[Value]):
    """A call of a function, and the future of its value.

    Args:
        function: Called without arguments; whatever it raises is the future's exception.

    Attributes:
        is_left_behind: Whether another thread has taken the place of the one that runs it.
    """

    def __init__(self, function: Callable[[], Value]) -> None:
        super().__init__()
        self._function = function
        self.is_left_behind = False

    def run(self) -> None:
        """Calls the function, unless the call was cancelled before."""
        if not self.set_running_or_notify_cancel():
            return
        try:
            value = self._function()
        except BaseException as error:  # noqa: BLE001, it is raised again where it is waited for
            self.set_exception(error)
        else:
            self.set_result(value)


class DaemonPool:
    """Runs calls in daemon threads, in the order in which they were submitted.

    Args:
        num_threads: Calls that run at the same time; the threads start when they are needed.
        name: Name of the threads.
    """

    def __init__(self, num_threads: int, *, name: str) -> None:
        self._num_threads = num_threads
        self._name = name
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._calls: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._num_started = 0

    def submit(self, function: Callable[[], Value]) -> Call[Value]:
        """Runs a function as soon as a thread is free."""
        if self._pid != os.getpid():  # a fork copies no thread, and may copy a held lock
            self._begin()
        call = Call(function)
        self._calls.put(call)
        with self._lock:
            if self._num_started < self._num_threads:
                self._start()
        return call

    def give_up(self, call: Call[Any]) -> None:
        """Drops a call whose value nobody needs.

        One that runs cannot be stopped. Where it takes longer than `GRACE_S`, it is left behind
        with its thread, and the next calls have another.
        """
        if call.cancel() or call.done():
            return
        timer = threading.Timer(GRACE_S, self._leave_behind, [call])
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """Drops the calls that wait, and ends each thread after its call; waits for none."""
        for call in _waiting(self._calls):
            call.cancel()
        for _ in range(self._num_started):
            self._calls.put(None)

    def _start(self) -> None:
        self._num_started += 1
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _leave_behind(self, call: Call[Any]) -> None:
        with self._lock:
            if not call.done():
                call.is_left_behind = True
                self._start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            with self._lock:
                if call.is_left_behind:
                    self._num_started -= 1
                    return


def _waiting(calls: "queue.SimpleQueue[Call[Any] | None]") -> list[Call[Any]]:
    """Removes all calls from a queue."""
    found: list[Call[Any]] = []
    try:
        while True:
            found += filter(None, [calls.get_nowait()])
    except queue.Empty:
        return found


_numbers = itertools.count(1)


def run_in_daemon(function: Callable[[], Value]) -> Call[Value]:
    """Runs a function in a daemon thread of its own, in the caller's context."""
    call = Call(function)
    run = contextvars.copy_context().run
    name = f"fasttts-call-{next(_numbers)}"
    threading.Thread(target=run, args=(call.run,), name=name, daemon=True).start()
    return call
