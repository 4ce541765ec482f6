"""What users construct: `FastTTS` owns the models, the loop and the thread that drives it."""

import asyncio
import atexit
import contextlib
import functools
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self

from fasttts.backends.base import Generator, Tokenizer, Verifier
from fasttts.config import (
    EngineConfig,
    SchedulingConfig,
    SearchConfig,
    engine_config,
    search_config,
)
from fasttts.errors import SearchError
from fasttts.outcome import Extractor, make_result
from fasttts.preparation import Problem, prepare, seeded
from fasttts.scheduling.accounting import EngineUsage
from fasttts.scheduling.driver import LoopThread
from fasttts.scheduling.handle import SearchHandle, Sink
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.memory import MemoryPlan, planned_scheduling
from fasttts.scheduling.run import SearchRun
from fasttts.search import resolve
from fasttts.search.answers import extract_boxed
from fasttts.types import Event, Finished, ParsedOutput, Progress, SearchResult, TextDelta


class FastTTS:
    """A generator, a verifier and the loop that searches with them.

    All methods may be called from any thread or event loop; calls in flight share the models'
    batches and do not change each other's results. Most users want `FastTTS.load`.

    Args:
        generator: Any implementation of the protocol; owned and closed by the engine.
        verifier: The same; None for an engine that only decodes plainly or votes.
        scheduling: Slots and optimisations of the step loop; no option changes a result.
        plan: How the two share the device, kept in every result; None where nothing was planned.

    Attributes:
        plan: The same.
    """

    def __init__(
        self,
        generator: Generator,
        verifier: Verifier | None = None,
        *,
        scheduling: SchedulingConfig = SchedulingConfig(),  # noqa: B008, immutable
        plan: MemoryPlan | None = None,
    ) -> None:
        self.plan: Final = plan
        self._generator = generator
        self._verifier = verifier
        self._num_slots = min(scheduling.slots or generator.max_num_seqs, generator.max_num_seqs)
        self._thread = LoopThread(Loop(generator, verifier, scheduling))
        self._is_closed = False
        atexit.register(self.close)

    @classmethod
    def load(cls, generator: str | None = None, **options: Any) -> Self:
        """Loads models on vLLM.

        Args:
            generator: "demo" (the default), a local model directory, or a hub name.
            options: Fields of `EngineConfig`, among them `verifier`.

        Raises:
            ConfigurationError: An option or a model cannot work; no memory was taken.
            BackendError: vLLM could not start.
        """
        if generator is not None:
            options["generator"] = generator
        return cls.from_config(engine_config(**options))

    @classmethod
    def from_config(cls, config: EngineConfig) -> Self:
        """Loads models on vLLM as `config` says; raises as `load` does."""
        from fasttts.backends.vllm import load_planned

        loaded = load_planned(config)
        return cls(
            loaded.generator,
            loaded.verifier,
            scheduling=planned_scheduling(config.scheduling, loaded.plan),
            plan=loaded.plan,
        )

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    @property
    def generator(self) -> Generator:
        """The generator; the loop drives it, so measure with it while no search is in flight."""
        return self._generator

    @property
    def verifier(self) -> Verifier | None:
        """The verifier, for the same use; None without one."""
        return self._verifier

    @property
    def tokenizer(self) -> Tokenizer:
        """The generator's tokenizer."""
        return self._generator.tokenizer

    @property
    def max_model_len(self) -> int:
        """The generator's context in tokens."""
        return self._generator.max_model_len

    @property
    def generator_name(self) -> str:
        """Name or path of the generator."""
        return self._generator.name

    @property
    def verifier_name(self) -> str | None:
        """Name or path of the verifier."""
        return self._verifier.name if self._verifier else None

    def search(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor = extract_boxed,
        **options: Any,
    ) -> SearchResult:
        r"""Solves one problem.

        Args:
            problem: A question, or a conversation.
            config: Search options; `options` override it.
            system: A system message put before the conversation.
            tools: Tool schemas in OpenAI's form, rendered by the model's chat template.
            extract: Finds the answer in a candidate's text; by default the last `\boxed{}`.
            options: Fields of `SearchConfig`.

        Raises:
            ConfigurationError: The input or an option cannot work.
            BackendError: The generator or the verifier failed.
            SearchError: No candidate was complete within the caps.
        """
        handle = self._submit(self._prepare(problem, config, system, tools, options))
        try:
            handle.future.result()
        except BaseException:
            self._cancel(handle)  # of no effect unless the wait was interrupted
            raise
        return self._result(handle, extract)

    async def asearch(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor = extract_boxed,
        **options: Any,
    ) -> SearchResult:
        """`search` for event loops; cancelling the task stops the work."""
        handle = self._submit(self._prepare(problem, config, system, tools, options))
        try:
            await asyncio.wrap_future(handle.future)
        except BaseException:
            self._cancel(handle)
            raise
        return await asyncio.to_thread(self._result, handle, extract)

    def search_many(
        self,
        problems: Sequence[Problem],
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        seeds: Sequence[int] | None = None,
        extract: Extractor = extract_boxed,
        on_result: Callable[[int, SearchResult], None] | None = None,
        **options: Any,
    ) -> list[SearchResult | SearchError]:
        """Solves problems together, in shared batches; each result is that of `search` alone.

        Args:
            problems: Questions or conversations.
            config: Search options for all; `options` override it.
            system: A system message put before each conversation.
            seeds: A search seed for each problem; None gives all of them the config's.
            extract: Finds the answer in a candidate's text.
            on_result: Called with index and result as soon as one is there, in the caller's
                thread; not for problems that ended in a `SearchError`.
            options: Fields of `SearchConfig`.

        Returns:
            For each problem its result, or the error when no candidate was complete.
        """
        configs = seeded(search_config(config, **options), seeds, len(problems))
        runs = [
            self._prepare(problem, each, system, None, {})
            for problem, each in zip(problems, configs, strict=True)
        ]
        done: queue.SimpleQueue[int] = queue.SimpleQueue()
        handles: list[SearchHandle] = []
        try:
            for index, run in enumerate(runs):
                handle = self._submit(run)
                handles.append(handle)
                handle.future.add_done_callback(functools.partial(_put, done, index))
            return self._collect(handles, done, extract, on_result)
        except BaseException:
            for handle in handles:
                self._cancel(handle)
            raise

    def stream(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor = extract_boxed,
        **options: Any,
    ) -> Iterator[Event]:
        """`search`, told as it happens; the last event is `Finished`.

        Plain decoding yields `TextDelta`s, which joined are the result's text; searches yield
        `Progress`. Closing the iterator stops the work. The work starts with the first event.
        """
        run = self._prepare(problem, config, system, tools, options)
        return self._events(run, extract)

    async def astream(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor = extract_boxed,
        **options: Any,
    ) -> AsyncIterator[Event]:
        """`stream` for event loops."""
        run = self._prepare(problem, config, system, tools, options)
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[TextDelta | Progress | None] = asyncio.Queue()
        handle = self._submit(run, lambda event: _call_soon(loop, events.put_nowait, event))
        try:
            while (event := await events.get()) is not None:
                yield event
            handle.future.result()
            yield Finished(result=await asyncio.to_thread(self._result, handle, extract))
        finally:
            self._cancel(handle)

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput:
        """Separates tool calls from text in the format of the generator's model."""
        return self._generator.parse_tool_calls(text, tools)

    @property
    def usage(self) -> EngineUsage:
        """What all searches of this engine have cost so far; from any thread, also once closed."""
        return self._thread.usage

    def close(self) -> None:
        """Ends every search with a `BackendError` and frees both models; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        self._thread.close()
        self._generator.close()
        if self._verifier is not None:
            self._verifier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(
        self,
        problem: Problem,
        base: SearchConfig | None,
        system: str | None,
        tools: Sequence[Mapping[str, Any]] | None,
        options: Mapping[str, Any],
    ) -> SearchRun:
        """Checks everything about a search and renders its prompt."""
        config = resolve(search_config(base, **options), has_verifier=self._verifier is not None)
        return prepare(problem, config, self._generator, system=system, tools=tools)

    def _submit(self, run: SearchRun, sink: Sink | None = None) -> SearchHandle:
        handle = SearchHandle(run, self.tokenizer, sink)
        self._thread.submit(run, handle)
        return handle

    def _cancel(self, handle: SearchHandle) -> None:
        """Stops a search that nobody waits for any more; nothing happens to an ended one."""
        if not handle.future.done():
            self._thread.cancel(handle.run)

    def _result(self, handle: SearchHandle, extract: Extractor) -> SearchResult:
        return make_result(
            handle.run,
            extract,
            total_s=handle.total_s,
            num_slots=self._num_slots,
            generator=self.generator_name,
            verifier=self.verifier_name,
            plan=self.plan,
        )

    def _events(self, run: SearchRun, extract: Extractor) -> Iterator[Event]:
        events: queue.SimpleQueue[TextDelta | Progress | None] = queue.SimpleQueue()
        handle = self._submit(run, events.put)
        try:
            while (event := events.get()) is not None:
                yield event
            handle.future.result()
            yield Finished(result=self._result(handle, extract))
        finally:
            self._cancel(handle)

    def _collect(
        self,
        handles: Sequence[SearchHandle],
        done: "queue.SimpleQueue[int]",
        extract: Extractor,
        on_result: Callable[[int, SearchResult], None] | None,
    ) -> list[SearchResult | SearchError]:
        results: dict[int, SearchResult | SearchError] = {}
        while len(results) < len(handles):
            index = done.get()
            handles[index].future.result()
            try:
                result = self._result(handles[index], extract)
            except SearchError as error:
                results[index] = error
                continue
            results[index] = result
            if on_result is not None:
                on_result(index, result)
        return [results[index] for index in range(len(handles))]


def _put(done: "queue.SimpleQueue[int]", index: int, _: "Future[SearchRun]") -> None:
    done.put(index)


def _call_soon(
    loop: asyncio.AbstractEventLoop, put: Callable[[Any], None], event: TextDelta | Progress | None
) -> None:
    """Hands an event to an event loop that may be gone: then nobody waits for it."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(put, event)
