"""The two models and their loop: the part of an engine that a restart replaces."""

import contextlib
import functools

from fasttts.config import SchedulingConfig
from fasttts.engine.cache_key import SearchIdentity
from fasttts.engine.dispatch import Dispatch
from fasttts.engine.result_cache import EngineCache, ResultCache
from fasttts.interfaces import Generator, Verifier
from fasttts.memory import MemoryPlan
from fasttts.observability.requests import RequestTracker
from fasttts.scheduling.gauges import Gauges
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.loop_thread import LoopThread
from fasttts.scheduling.result import make_result
from fasttts.scheduling.usage import EngineUsage
from fasttts.types import Health
from fasttts.verifiers.ensemble import VerifierOption, check_loaded, resolve_verifier
from fasttts.verifiers.resolve import fault_of


class EngineCore:
    """A generator, a verifier and the thread that drives them.

    Args:
        generator: Owned and closed here.
        verifier: The same; None for none.
        scheduling: Slots and optimisations.
        plan: The memory plan, stored in every result; None without one.
        requests: Counts requests and their cost.
        cache: Stores results; None disables caching.

    Attributes:
        generator: The generator; driven by the loop.
        verifier: The same; several verifiers are combined to one.
        dispatch: Accepts searches.
        is_closed: Whether `close` was called.

    Raises:
        ConfigurationError: The verifier cannot score, or its model is not loaded.
    """

    def __init__(
        self,
        generator: Generator,
        verifier: VerifierOption | None,
        *,
        scheduling: SchedulingConfig,
        plan: MemoryPlan | None,
        requests: RequestTracker,
        cache: ResultCache | None,
    ) -> None:
        self.generator = generator
        self.verifier: Verifier | None = None if verifier is None else resolve_verifier(verifier)
        if self.verifier is not None:
            check_loaded(self.verifier)
        known = None
        if cache is not None:
            known = EngineCache(cache, SearchIdentity(generator, self.verifier), requests)
        loop = Loop(generator, self.verifier, scheduling, account=requests.account)
        self._thread = LoopThread(loop)
        slots = scheduling.slots or generator.max_num_seqs
        verifier_name = None if self.verifier is None else self.verifier.name
        result = functools.partial(
            make_result,
            num_slots=min(slots, generator.max_num_seqs),
            generator=generator.name,
            verifier=verifier_name,
            plan=plan,
        )
        begin = functools.partial(requests.begin, generator=generator.name, verifier=verifier_name)
        self.dispatch = Dispatch(self._thread, generator.tokenizer, result, begin, known)
        self.is_closed = False

    @property
    def health(self) -> Health:
        """Whether both models work; a closed core is one that a restart could not replace."""
        lost = self._thread.fault or (self.verifier and fault_of(self.verifier))
        reason = "the last restart failed" if self.is_closed else lost
        if reason is None:
            return Health(is_healthy=True)
        return Health(is_healthy=False, reason=f"{reason}; restart() loads the engine again")

    @property
    def gauges(self) -> Gauges:
        """Present use of the loop and the KV cache."""
        return self._thread.gauges

    @property
    def usage(self) -> EngineUsage:
        """Cost of all searches together; from any thread, also once closed."""
        return self._thread.usage

    def close(self) -> None:
        """Ends every search, stops the loop and frees both models.

        In a forked process it does nothing: the parent owns them.
        """
        if self._thread.is_of_another_process:
            return
        self.is_closed = True
        self._thread.close()
        with contextlib.ExitStack() as stack:  # both are closed even if one fails
            stack.callback(self.generator.close)
            if self.verifier is not None:
                stack.callback(self.verifier.close)
