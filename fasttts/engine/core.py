"""The two models and the thread that drives them; a restart of the engine replaces all of it.

Whoever stops waiting for a search, by an interrupt, a cancelled task or a closed stream, stops its
work.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any

from fasttts.config import SchedulingConfig
from fasttts.engine.cache_key import SearchIdentity
from fasttts.engine.handle import SearchHandle
from fasttts.engine.result_cache import EngineCache, ResultCache
from fasttts.errors import BackendError, FastTTSError, wrong_type
from fasttts.interfaces import Generator as GeneratorBackend
from fasttts.interfaces import Verifier, numerics, published_sampling
from fasttts.memory import MemoryPlan
from fasttts.observability.requests import RequestTracker
from fasttts.scheduling.gauges import Gauges
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.loop_thread import LoopThread, ResultListener
from fasttts.scheduling.recovery import user_failure
from fasttts.scheduling.result import make_result
from fasttts.scheduling.run import SearchRun
from fasttts.streaming.listener import SearchListener
from fasttts.types import Event, Health, Numerics, SearchResult
from fasttts.verifiers.ensemble import VerifierOption, check_loaded, resolve_verifier
from fasttts.verifiers.resolve import fault_of, joint_num_logprobs, joint_numerics

logger = logging.getLogger(__name__)


class EngineCore:
    """A generator, a verifier and the thread that drives them.

    Args:
        generator: Owned and closed here.
        verifier: The same; None for none.
        scheduling: Slots and optimisations.
        plan: How the two share the device, kept in every result; None where nothing was planned.
        requests: Counts requests and costs.
        cache: Results on disk; None computes each.

    Attributes:
        generator: The loop drives it.
        verifier: The same; a choice of several as one.
        published_sampling: The sampling that the generator's model comes with.
        num_logprobs: How many of the likeliest tokens the verifier reads; None reads none.
        is_closed: Whether `close` was called.

    Raises:
        ConfigurationError: The generator is none, the verifier cannot score, or its model is not
            loaded.
    """

    def __init__(
        self,
        generator: GeneratorBackend,
        verifier: VerifierOption | None,
        *,
        scheduling: SchedulingConfig,
        plan: MemoryPlan | None,
        requests: RequestTracker,
        cache: ResultCache | None,
    ) -> None:
        if not callable(getattr(generator, "step", None)):
            raise wrong_type("generator", generator, "a generator; FastTTS.load takes names")
        self.generator = generator
        self.verifier: Verifier | None = None if verifier is None else resolve_verifier(verifier)
        if self.verifier is not None:
            check_loaded(self.verifier)
        self.num_logprobs = None if self.verifier is None else joint_num_logprobs(self.verifier)
        self._cache = None
        if cache is not None:
            identity = SearchIdentity(generator, self.verifier)
            self._cache = EngineCache(cache, identity, requests)
        self.published_sampling = published_sampling(generator)
        self._own_numerics = self._joint_numerics = numerics(generator)
        if self.verifier is not None and self._own_numerics == "deterministic":
            self._joint_numerics = joint_numerics(self.verifier)
        loop = Loop(generator, self.verifier, scheduling, account=requests.account)
        self._thread = LoopThread(loop)
        slots = scheduling.slots or generator.max_num_seqs
        verifier_name = None if self.verifier is None else self.verifier.name
        self._read = functools.partial(
            _read_result,
            cache=self._cache,
            numerics_of=self._numerics,
            num_slots=min(slots, generator.max_num_seqs),
            generator=generator.name,
            verifier=verifier_name,
            plan=plan,
            published=self.published_sampling,
        )
        self._begin = functools.partial(
            requests.begin, generator=generator.name, verifier=verifier_name
        )
        self.is_closed = False

    def _numerics(self, run: SearchRun) -> Numerics:
        """What the models that take part in a search give."""
        return self._joint_numerics if run.request.uses_verifier else self._own_numerics

    @property
    def health(self) -> Health:
        """Whether both models work; a closed core is one that a restart could not replace."""
        if self.forked is not None:
            return Health(is_healthy=False, reason=self.forked)
        lost = self._thread.fault or (self.verifier and fault_of(self.verifier))
        reason = "the last restart failed" if self.is_closed else lost
        if reason is None:
            return Health(is_healthy=True)
        return Health(is_healthy=False, reason=f"{reason}; restart() loads the engine again")

    @property
    def forked(self) -> str | None:
        """That this process was forked from the engine's; see `LoopThread.forked`."""
        return self._thread.forked

    def check_process(self) -> None:
        """Checks that this is the engine's process: in a fork of it, locks may be held forever.

        Raises:
            BackendError: This process was forked from it.
        """
        self._thread.check_process()

    @property
    def gauges(self) -> Gauges:
        """Present use of the loop and the KV cache."""
        return self._thread.gauges

    def submit(self, run: SearchRun, *, is_watched: bool) -> SearchHandle:
        """Starts a search, unless its result is in the cache.

        Args:
            run: The search.
            is_watched: Whether its events are kept for readers.

        Raises:
            BackendError: The engine is closed, failed, or belongs to another process.
        """
        return self._submit(run, self._made_ready(run), is_watched=is_watched)

    def run(self, run: SearchRun) -> SearchResult:
        """Runs one search and waits for it.

        Args:
            run: The search.
        """
        with self.submit(run, is_watched=False) as handle:
            return handle.result()

    async def arun(self, run: SearchRun) -> SearchResult:
        """Waits for one search without blocking the event loop."""
        with await self._asubmit(run, is_watched=False) as handle:
            return await handle.aresult()

    def stream(self, run: SearchRun) -> Generator[Event, None, None]:
        """The events of one search; the work starts with the first of them."""
        with self.submit(run, is_watched=True) as handle, closing(handle.events()) as events:
            yield from events

    async def astream(self, run: SearchRun) -> AsyncGenerator[Event, None]:
        """Streams as `stream` does, for event loops.

        Args:
            run: The search.
        """
        with await self._asubmit(run, is_watched=True) as handle:
            async with aclosing(handle.aevents()) as events:
                async for event in events:
                    yield event

    def close(self) -> None:
        """Ends every search, stops the loop and frees both models.

        In a forked process it does nothing: the parent owns them.
        """
        if self.forked is not None:
            return
        self.is_closed = True
        self._thread.close()
        with contextlib.ExitStack() as stack:  # both are closed even if one fails
            stack.callback(self.generator.close)
            if self.verifier is not None:
                stack.callback(self.verifier.close)

    async def _asubmit(self, run: SearchRun, *, is_watched: bool) -> SearchHandle:
        """`submit` without reading a disk, or compiling a grammar, in the event loop."""
        found = None
        if self._cache is not None or run.request.grammar is not None:
            found = await asyncio.to_thread(self._made_ready, run)
        return self._submit(run, found, is_watched=is_watched)

    def _made_ready(self, run: SearchRun) -> SearchResult | None:
        """Returns the cache's result, or compiles what the loop would have to wait for."""
        found = None if self._cache is None else self._cache.find(run.request)
        if found is None and run.request.grammar is not None:
            self._thread.check_accepting()
            run.compiled_grammar = self._compiled(run.request.grammar)
        return found

    def _compiled(self, grammar: str) -> object:
        """Compiles a grammar in the generator, which may be a user's class."""
        try:
            return self.generator.compile_grammar(grammar)
        except FastTTSError:
            raise
        except Exception as error:  # a generator may be a user's class and raise anything
            message = f"the generator failed to compile: {type(error).__name__}: {error}"
            raise BackendError(message, role="generator") from error

    def _submit(
        self, run: SearchRun, found: SearchResult | None, *, is_watched: bool
    ) -> SearchHandle:
        request = self._begin(run.request, is_streamed=is_watched)
        run.timeline = request.timeline()
        end = request.ended if found is None else lambda run, error: request.found(found)
        try:
            listener = ResultListener(run, end)
            if is_watched:
                listener = SearchListener(run, self.generator.tokenizer, end)
            if found is not None:
                self._thread.check_accepting()
                listener.on_done(run, None)
                return SearchHandle(self._thread, listener, lambda _: found)
            self._thread.submit(run, listener)
        except BackendError as error:
            request.refused(error)
            raise
        except Exception as error:  # a tokenizer may be a user's class and raise anything
            failure = user_failure("tokenizer", error)
            request.refused(failure)
            raise failure from error
        return SearchHandle(self._thread, listener, self._read)


def _read_result(
    ended: ResultListener,
    *,
    cache: EngineCache | None,
    numerics_of: Callable[[SearchRun], Numerics],
    **described: Any,
) -> SearchResult:
    """The result of a search that has ended, kept in the cache."""
    run = ended.future.result()
    result = make_result(run, total_s=ended.total_s, numerics=numerics_of(run), **described)
    for warning in result.warnings:
        logger.warning("%s", warning)
    if cache is not None:
        cache.keep(ended.run.request, result)
    return result
