"""A verifier that scores while the generator decodes.

vLLM's forward pass keeps its context in module globals, so two engines of one process cannot run at
once. The verifier's model therefore runs in another process, and a thread here waits for it.
"""

import functools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.verifiers.async_scoring import AsyncScoring, finish

_WATCH_S = 0.5
"""Seconds between looks at whether the engine's process lives."""


class ConcurrentVerifier(VLLMVerifier):
    """A verifier in a process of its own; see `verifiers.async_scoring.AsyncVerifier`.

    Args:
        llm: As for `VLLMVerifier`, opened with `has_own_process`.
        others: As for `VLLMVerifier`.
    """

    is_serial = True

    def __init__(self, llm: Any, **others: Any) -> None:
        super().__init__(llm, **others)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fasttts-verifier")
        self._is_closing = threading.Event()
        watch = functools.partial(_watch, llm.llm_engine.engine_core, self._is_closing)
        threading.Thread(target=watch, name="fasttts-watch", daemon=True).start()

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """`score_async`, waited for."""
        return finish(self.score_async(requests))

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """Scores as `VLLMVerifier.score` does, without blocking."""
        self._check_usable()
        future = self._thread.submit(super().score, requests)
        yield future
        return future.result()

    def close(self) -> None:
        """Ends the engine's process, after the current batch."""
        self._thread.shutdown(cancel_futures=True)
        self._is_closing.set()
        super().close()


def _watch(core: Any, is_closing: threading.Event) -> None:
    """Ends the wait for an answer of an engine process that has died.

    vLLM 0.32 notices the death, but where a request was sent before, its client waits forever.
    """
    resources = getattr(core, "resources", None)  # an engine in this process has none
    while resources is not None and not is_closing.wait(_WATCH_S):
        if resources.engine_dead:
            from vllm.v1.engine.exceptions import EngineDeadError

            core.outputs_queue.put_nowait(EngineDeadError())
            return
