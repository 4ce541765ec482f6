"""The thread that owns the loop; other threads send it commands."""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from fasttts.errors import BackendError, SearchError
from fasttts.scheduling.gauges import Gauges
from fasttts.scheduling.listener import Listener
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node

Command = Callable[[], None]

logger = logging.getLogger(__name__)


class ResultListener:
    """Resolves a future with a search once it has ended, and reports nothing before.

    Args:
        run: The search it will be submitted with.
        end: Called in the loop's thread with the search and its error, None for success, before
            anybody who waits is woken; must not raise.

    Attributes:
        run: The same.
        future: The search that has ended, or what it failed with.
        total_s: Seconds from the listener's creation to the search's end.
    """

    reads_tokens = False

    def __init__(
        self,
        run: SearchRun,
        end: Callable[[SearchRun, BaseException | None], None] = lambda run, error: None,
    ) -> None:
        self.run = run
        self.future: Future[SearchRun] = Future()
        self.future.set_running_or_notify_cancel()
        self.total_s = 0.0
        self._end = end
        self._started = time.perf_counter()

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """Nobody reads them."""

    def on_commit(self, run: SearchRun) -> None:
        """Nobody reads decisions."""

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """Resolves the future."""
        self.total_s = time.perf_counter() - self._started
        self._end(run, error)
        if error is None:
            self.future.set_result(run)
        else:
            self.future.set_exception(error)


class LoopThread:
    """Runs a loop in a daemon thread, asleep while there is no work.

    It ends when it is closed, when the generator is lost, and when the loop itself fails; every
    search in flight is then ended, and none is admitted afterwards.

    Args:
        loop: Used by this thread alone from now on.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closing = False
        self._num_submitted = 0
        """Searches whose commands have not run yet."""
        self._fault: BackendError | None = None
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="fasttts-loop", daemon=True)
        self._thread.start()

    @property
    def gauges(self) -> Gauges:
        """Present use of the loop and the KV cache."""
        return self._loop.gauges

    @property
    def fault(self) -> BackendError | None:
        """The error that ended the thread; None while it works and once it was closed."""
        return self._fault or self._loop.fault

    @property
    def forked(self) -> str | None:
        """That this process was forked from the thread's, and what helps; None where it was not."""
        if os.getpid() == self._pid:
            return None
        return (
            f"the engine lives in process {self._pid} and this one was forked from it: load "
            "models after the fork, or start processes with 'spawn'"
        )

    def submit(self, run: SearchRun, listener: Listener) -> None:
        """Admits a search.

        Args:
            run: The search.
            listener: Receives its events.

        Raises:
            BackendError: The engine is closed, failed, or belongs to another process.
            OverloadedError: Too many searches wait already.
        """
        run.budget.begin(self._loop.now())

        def admit() -> None:
            self._num_submitted -= 1
            try:
                self._loop.submit(run, listener)
            except BaseException as error:  # the loop does not know its listener yet
                listener.on_done(run, _loop_failed(error))
                raise

        self.check_process()
        with self._lock:
            self.check_accepting()
            self._loop.scheduler.check_room(self._num_submitted)
            self._num_submitted += 1
            self._commands.put(admit)

    def cancel(self, run: SearchRun) -> None:
        """Ends a search between two iterations; no effect on an ended one."""
        error = SearchError("the search was cancelled", stop_reason="cancelled")
        with contextlib.suppress(BackendError):  # a closed engine has ended it already
            self._call(lambda: self._loop.cancel(run, error))

    def check_process(self) -> None:
        """Checks that this is the process of the thread, which a fork does not copy.

        Raises:
            BackendError: This process was forked from it.
        """
        if (forked := self.forked) is not None:
            raise BackendError(forked, role="generator")

    def check_accepting(self) -> None:
        """Checks that searches are accepted.

        Raises:
            BackendError: As for `submit`.
        """
        self.check_process()
        if (fault := self.fault) is not None:
            message = f"the engine failed: {fault}; restart() loads it again"
            raise BackendError(message, role=fault.role) from fault
        if self._is_closing:
            raise BackendError("the engine is closed", role="generator")

    def _call(self, command: Command) -> None:
        self.check_process()  # first: in a forked process, the lock may be held forever
        with self._lock:
            self.check_accepting()
            self._commands.put(command)

    def close(self) -> None:
        """Ends every search with an error and waits for the thread; safe to call twice."""
        if self.forked is not None:
            return
        with self._lock:
            self._is_closing = True
        self._commands.put(lambda: None)  # wakes the thread
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._is_closing and self._loop.fault is None:
                self._run_commands()
                self._loop.step()
        except BaseException as error:  # a bug of ours must not leave callers waiting
            logger.exception("the step loop failed")
            self._end(_loop_failed(error))
        else:
            lost = self._loop.fault
            if lost is not None:
                logger.error("the engine is lost: %s", lost, extra={"role": lost.role})
            self._end(lost)

    def _run_commands(self) -> None:
        if not self._loop.has_work:
            self._commands.get()()
        while not self._commands.empty():
            self._commands.get()()

    def _end(self, fault: BackendError | None) -> None:
        """Refuses further calls, and ends those that were admitted."""
        with self._lock:
            self._fault = fault
            self._is_closing = True
        while not self._commands.empty():
            with contextlib.suppress(Exception):  # the loop may be broken; listeners are notified
                self._commands.get()()
        closed = BackendError("the engine was closed during the search", role="generator")
        self._loop.fail_all(fault or closed)


def _loop_failed(error: BaseException) -> BackendError:
    fault = BackendError(f"the step loop failed: {type(error).__name__}: {error}", role="generator")
    fault.__cause__ = error
    return fault
