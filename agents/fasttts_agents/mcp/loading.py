"""An engine that is loaded while its server already answers.

Clients wait some 30 seconds for a server to greet them; large models take longer to load.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from fasttts import FastTTS
from fasttts.errors import OverloadedError
from fasttts.verifiers.daemon_pool import run_in_daemon

_RETRY_AFTER_S = 30.0


class BackgroundEngine:
    """One engine for all calls, loaded once, in a thread of its own.

    Args:
        load: Loads the engine.
    """

    def __init__(self, load: Callable[[], FastTTS]) -> None:
        self._load = load
        self._loading: Future[FastTTS] | None = None

    def begin(self) -> Future[FastTTS]:
        """Begins to load the engine, where nobody has yet."""
        if self._loading is None:
            self._loading = run_in_daemon(self._load)
        return self._loading

    @property
    def is_loading(self) -> bool:
        """Whether the models are being loaded."""
        return self._loading is not None and not self._loading.done()

    async def loaded(self, timeout_s: float | None = None) -> FastTTS:
        """Waits for the engine.

        Args:
            timeout_s: Most seconds to wait; None waits without limit.

        Raises:
            OverloadedError: It is not loaded by then.
            FastTTSError: It cannot be loaded.
        """
        waiting = asyncio.shield(asyncio.wrap_future(self.begin()))
        try:
            return await asyncio.wait_for(waiting, timeout_s)
        except TimeoutError as error:
            raise OverloadedError(
                f"the models are still being loaded: call again in {_RETRY_AFTER_S:.0f} seconds",
                num_waiting=0,
                retry_after_s=_RETRY_AFTER_S,
            ) from error

    def close(self) -> None:
        """Closes the engine, unless it is still being loaded or could not be."""
        if self._loading is not None and self._loading.done() and not self._loading.exception():
            self._loading.result().close()
