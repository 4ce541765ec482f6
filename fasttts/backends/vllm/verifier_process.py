"""A verifier that scores while the generator decodes.

vLLM's forward pass keeps its context in module globals, so two engines of one process cannot run at
once. The verifier's model therefore runs in another process, and a thread here waits for it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.verifiers.async_scoring import AsyncScoring, finish


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
        super().close()
