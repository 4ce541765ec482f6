"""The thread that owns the loop; everything else hands it commands."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

from fasttts.errors import BackendError
from fasttts.scheduling.accounting import EngineUsage
from fasttts.scheduling.loop import Listener, Loop
from fasttts.scheduling.run import SearchRun

Command = Callable[[], None]

logger = logging.getLogger(__name__)


class LoopThread:
    """Runs a loop in a daemon thread, asleep while there is no work.

    Args:
        loop: Touched by this thread alone from now on.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="fasttts-loop", daemon=True)
        self._thread.start()

    @property
    def usage(self) -> EngineUsage:
        """What all searches have cost together."""
        return self._loop.usage()

    def submit(self, run: SearchRun, listener: Listener) -> None:
        """Admits a search.

        Raises:
            BackendError: The engine is closed.
        """
        self._call(lambda: self._loop.submit(run, listener))

    def cancel(self, run: SearchRun) -> None:
        """Ends a search between two iterations; nothing happens to an ended one."""
        error = BackendError("the search was cancelled", role="generator")
        with contextlib.suppress(BackendError):  # a closed engine has ended it already
            self._call(lambda: self._loop.cancel(run, error))

    def _call(self, command: Command) -> None:
        with self._lock:
            if self._is_closing:
                raise BackendError("the engine is closed", role="generator")
            self._commands.put(command)

    def close(self) -> None:
        """Ends every search with an error and waits for the thread; safe to call twice."""
        with self._lock:
            self._is_closing = True
        self._commands.put(lambda: None)  # wakes the thread
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closing:
            self._run_commands()
            try:
                self._loop.step()
            except Exception as error:  # a bug of ours must not leave callers waiting
                logger.exception("the step loop failed")
                self._fail_all(f"the step loop failed: {type(error).__name__}: {error}", error)
        self._fail_all("the engine was closed during the search")

    def _run_commands(self) -> None:
        if not self._loop.has_work:
            self._commands.get()()
        while not self._commands.empty():
            self._commands.get()()

    def _fail_all(self, message: str, cause: BaseException | None = None) -> None:
        while not self._commands.empty():
            self._commands.get()()
        error = BackendError(message, role="generator")
        error.__cause__ = cause
        self._loop.fail_all(error)
