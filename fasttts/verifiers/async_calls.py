"""Calls of async functions of users, all in one event loop, so that their clients can be shared."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import InvalidStateError
from typing import Any

from fasttts.verifiers.daemon_pool import GRACE_S, Call, run_in_daemon


class _AsyncCall(Call[Any]):
    """A call of an async function.

    Args:
        function: Makes the coroutine.
    """

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(function)
        self._begin = function
        self.task: asyncio.Task[None] | None = None

    async def awaited(self) -> None:
        """Awaits the function, and gives its value or its exception to the future."""
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
        self._lock = threading.Lock()
        self._pending: set[_AsyncCall] = set()
        self._start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Call[Any]:
        """Calls a function in the event loop.

        Args:
            function: An async function, pure: it may be called again with the same arguments.
            arguments: Its arguments.
        """
        call = _AsyncCall(lambda: function(*arguments))
        with self._lock:
            self._pending.add(call)
            self._loop.call_soon_threadsafe(self._begin, call)
        call.add_done_callback(lambda _: self._pending.discard(call))
        return call

    def give_up(self, call: Call[Any]) -> None:
        """Cancels a call whose value nobody needs."""
        assert isinstance(call, _AsyncCall)
        if call.cancel() or call.done():
            return
        self._pending.discard(call)
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
        if not call.done() and (call.running() or call.set_running_or_notify_cancel()):
            call.task = asyncio.get_running_loop().create_task(call.awaited())

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
