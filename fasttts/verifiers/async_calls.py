"""Calls of async functions of users, all in one event loop, so that their clients can be shared."""

import asyncio
import contextlib
import itertools
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import InvalidStateError
from typing import Any

from fasttts.verifiers.daemon_pool import GRACE_S, Call, run_in_daemon

_BATCH = "fasttts-batch-"
_numbers = itertools.count(1)


class _AsyncCall(Call[Any]):
    """A call of an async function.

    Args:
        function: Makes the coroutine.
        batch: Name of the batch that it belongs to, and of its task.
    """

    def __init__(self, function: Callable[[], Awaitable[Any]], batch: str) -> None:
        super().__init__(function)
        self._begin = function
        self.batch = batch
        self.task: asyncio.Task[None] | None = None

    def running(self) -> bool:
        """Whether the call has begun, and no call of another batch holds up the event loop."""
        if self.task is None or not super().running():
            return False
        current = asyncio.current_task(self.task.get_loop())
        holder = self.batch if current is None else current.get_name()
        return holder == self.batch or not holder.startswith(_BATCH)

    async def awaited(self) -> None:
        """Awaits the function, and gives its value or its exception to the future."""
        if self.done() or not (super().running() or self.set_running_or_notify_cancel()):
            return
        try:
            value = await self._begin()
        except BaseException as error:  # noqa: BLE001, what ends a task here would end the loop
            with contextlib.suppress(InvalidStateError):
                self.set_exception(error)
        else:
            with contextlib.suppress(InvalidStateError):  # it was begun again in another loop
                self.set_result(value)


class AsyncCalls:
    """Runs calls of async functions in an event loop in a daemon thread.

    An event loop that a function blocks is left behind with it, once the function's call is given
    up; the other calls begin again in a new one.
    """

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pending: dict[Any, None] = {}
        """Calls that have not ended, in their order."""
        self._start()

    def submit(self, functions: Sequence[Callable[[], Any]]) -> list[Call[Any]]:
        """Calls a batch of functions in the event loop.

        Args:
            functions: Async functions, pure: one may be called again.
        """
        if self._pid != os.getpid():  # a fork copies no thread, and may copy a held lock
            self._open()
        batch = f"{_BATCH}{next(_numbers)}"
        calls = [_AsyncCall(function, batch) for function in functions]
        with self._lock:
            for call in calls:
                self._pending[call] = None
                call.add_done_callback(self._forget)
                self._loop.call_soon_threadsafe(self._begin, call)
        return list(calls)

    def give_up(self, call: Call[Any]) -> None:
        """Cancels a call whose value nobody needs."""
        assert isinstance(call, _AsyncCall)
        if call.cancel() or call.done():
            return
        self._forget(call)
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            if call.task is not None:
                self._loop.call_soon_threadsafe(call.task.cancel)
            run_in_daemon(self._leave_if_blocked)

    def close(self) -> None:
        """Cancels all calls; does not wait for a function that blocks the event loop."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(GRACE_S)

    def _begin(self, call: _AsyncCall) -> None:
        if not call.done():
            call.task = asyncio.get_running_loop().create_task(call.awaited(), name=call.batch)

    def _forget(self, call: Any) -> None:
        self._pending.pop(call, None)

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        run = self._run
        self._thread = threading.Thread(
            target=run, args=[self._loop], name="fasttts-verifier", daemon=True
        )
        self._thread.start()

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:  # cancels pending calls
            runner.get_loop().run_forever()

    def _leave_if_blocked(self) -> None:
        loop, is_alive = self._loop, threading.Event()
        loop.call_soon_threadsafe(is_alive.set)
        if is_alive.wait(GRACE_S):
            return
        with self._lock:
            if self._loop is loop:
                loop.call_soon_threadsafe(loop.stop)
                self._start()
                for call in list(self._pending):
                    self._loop.call_soon_threadsafe(self._begin, call)
