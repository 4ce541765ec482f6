"""The engine that users construct: `FastTTS` owns the models, the loop and its thread."""

import asyncio
import atexit
import functools
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from fasttts.answers.extraction import Extractor
from fasttts.config import (
    EngineConfig,
    SchedulingConfig,
    SearchConfig,
    TracingConfig,
    engine_config,
    search_config,
)
from fasttts.decoding.sampling import PublishedSampling
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.engine.core import EngineCore
from fasttts.engine.handle import SearchHandle
from fasttts.engine.loading import load_chosen
from fasttts.engine.many import check_limits, extractors_of, run_each, run_many, seeded
from fasttts.engine.messages import tools_in_form
from fasttts.engine.request import Problem, Prompt, check_extractor, prepare, render
from fasttts.engine.result_cache import ResultCache
from fasttts.engine.tool_template import renders_tools, unseen_tools
from fasttts.engine.untagged_calls import read_untagged_calls
from fasttts.errors import BackendError, ConfigurationError, SearchError, wrong_type
from fasttts.interfaces import Generator as GeneratorBackend
from fasttts.interfaces import Verifier
from fasttts.memory import MemoryPlan, planned_scheduling
from fasttts.observability.requests import RequestTracker
from fasttts.observability.stats import EngineStats
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.usage import EngineUsage
from fasttts.search import resolve
from fasttts.types import Event, Health, ParsedOutput, SearchResult
from fasttts.verifiers.ensemble import VerifierOption

logger = logging.getLogger(__name__)


class FastTTS:
    """A generator, a verifier and the loop that searches with them.

    All methods may be called from any thread or event loop; calls in flight share the models'
    batches and, where `SearchResult.numerics` is "deterministic", do not change each other's
    results. Most users want `FastTTS.load`.

    Args:
        generator: Any implementation of the protocol; owned and closed by the engine.
        verifier: The same, or a function `score(problem, steps)`, or a sequence of both, whose mean
            is taken; None for an engine that only decodes plainly or votes.
        scheduling: Slots and optimisations of the step loop; see `SchedulingConfig`.
        plan: How the two share the device, stored in every result; None where memory is not
            planned.
        reload: Returns new models for `restart`; None for an engine that cannot be restarted.
        cache: Stores results and finds them again; None computes each.
        tracing: Spans and their attributes, where the application has set OpenTelemetry up.

    Attributes:
        scheduling: The options of the step loop.
        plan: The same.

    Raises:
        ConfigurationError: An argument is of the wrong type, or the verifier cannot score.
    """

    def __init__(
        self,
        generator: GeneratorBackend,
        verifier: VerifierOption | None = None,
        *,
        scheduling: SchedulingConfig = SchedulingConfig(),  # noqa: B008, immutable
        plan: MemoryPlan | None = None,
        reload: Callable[[], tuple[GeneratorBackend, VerifierOption | None]] | None = None,
        cache: ResultCache | None = None,
        tracing: TracingConfig = TracingConfig(),  # noqa: B008, immutable
    ) -> None:
        if not isinstance(scheduling, SchedulingConfig):
            raise wrong_type("scheduling", scheduling, "a SchedulingConfig")
        if not isinstance(tracing, TracingConfig):
            raise wrong_type("tracing", tracing, "a TracingConfig")
        if not isinstance(plan, MemoryPlan | None):
            raise wrong_type("plan", plan, "a MemoryPlan or None")
        if not isinstance(cache, ResultCache | None):
            raise wrong_type("cache", cache, "a ResultCache or None")
        if reload is not None and not callable(reload):
            raise wrong_type("reload", reload, "a function or None")
        self.plan: Final = plan
        self.scheduling: Final = scheduling
        self._reload = reload
        self._lifetime = threading.Lock()
        self._cache = cache
        self._requests = RequestTracker(tracing)
        self._num_restarts = 0
        self._warned: set[str] = set()
        self._core = self._open(generator, verifier)
        self._is_closed = False
        atexit.register(self.close)

    def _open(self, generator: GeneratorBackend, verifier: VerifierOption | None) -> EngineCore:
        return EngineCore(
            generator,
            verifier,
            scheduling=self.scheduling,
            plan=self.plan,
            requests=self._requests,
            cache=self._cache,
        )

    @classmethod
    def load(cls, generator: str | None = None, **options: Any) -> Self:
        """Loads models on vLLM.

        Args:
            generator: "demo" (the default), a local model directory, or a hub name.
            options: Fields of `EngineConfig`, among them `verifier`, which may also be a function
                `score(problem, steps)`, a verifier, a combination of several
                (`fasttts.verifiers`), or a sequence of these, whose mean is taken.

        Raises:
            ConfigurationError: An option or a model cannot work; no memory was taken.
            BackendError: vLLM could not start.
        """
        if generator is not None:
            options["generator"] = generator
        verifier = options.get("verifier")
        if verifier is None or isinstance(verifier, str):
            return cls.from_config(engine_config(**options))
        return cls.from_config(engine_config(**{**options, "verifier": None}), verifier=verifier)

    @classmethod
    def from_config(cls, config: EngineConfig, *, verifier: VerifierOption | None = None) -> Self:
        """Loads the models of a configuration on vLLM; raises as `load` does.

        Args:
            config: The options of the engine.
            verifier: Replaces the configuration's verifier, as in `load`; None keeps it.
        """
        if not isinstance(config, EngineConfig):
            raise wrong_type("config", config, "an EngineConfig; FastTTS.load takes its fields")
        cache = None if config.cache_dir is None else ResultCache(config.cache_dir)
        loaded = load_chosen(config, verifier)

        def reload() -> tuple[GeneratorBackend, VerifierOption | None]:
            again = load_chosen(config, verifier)
            return again.generator, again.verifier

        return cls(
            loaded.generator,
            loaded.verifier,
            scheduling=planned_scheduling(config.scheduling, loaded.plan),
            plan=loaded.plan,
            reload=reload,
            cache=cache,
            tracing=config.tracing,
        )

    @property
    def health(self) -> Health:
        """Whether both models work; costs nothing, from any thread.

        In a process that was forked from the engine's it says so: nothing works there.
        """
        if self._is_closed:
            return Health(is_healthy=False, reason="the engine is closed")
        return self._core.health

    def restart(self) -> None:
        """Ends every search with a `BackendError`, frees both models and loads them again.

        Raises:
            ConfigurationError: The engine was made of backends and without `reload`.
            BackendError: The engine is closed, or the models could not be loaded.
        """
        if self._reload is None:
            raise ConfigurationError(
                "this engine was made of backends: give it reload=..., or load it by name"
            )
        self._core.check_process()
        with self._lifetime:
            if self._is_closed:
                raise BackendError("the engine is closed", role="generator")
            self._core.close()
            self._core = self._open(*self._reload())
            self._num_restarts += 1
            logger.info("the models were loaded again", extra={"num_restarts": self._num_restarts})

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    @property
    def generator(self) -> GeneratorBackend:
        """The generator; the loop drives it, so measure it only while no search is in flight."""
        return self._core.generator

    @property
    def verifier(self) -> Verifier | None:
        """The verifier, under the same condition; None without one."""
        return self._core.verifier

    @property
    def tokenizer(self) -> Tokenizer:
        """The generator's tokenizer."""
        return self.generator.tokenizer

    @property
    def max_model_len(self) -> int:
        """The generator's context in tokens."""
        return self.generator.max_model_len

    @property
    def published_sampling(self) -> PublishedSampling:
        """The sampling that the generator's model comes with, in `generation_config.json`."""
        return self._core.published_sampling

    @property
    def generator_name(self) -> str:
        """Name or path of the generator."""
        return self.generator.name

    @property
    def verifier_name(self) -> str | None:
        """Name or path of the verifier; None without one."""
        return None if self.verifier is None else self.verifier.name

    @functools.cached_property
    def renders_tools(self) -> bool:
        """Whether the generator's chat template tells the model of the tools it is offered."""
        return renders_tools(self.generator.tokenizer)

    def search(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor | None = None,
        **options: Any,
    ) -> SearchResult:
        """Solves one problem.

        Args:
            problem: A question, or a conversation.
            config: Search options; `options` override it. None takes the defaults.
            system: A system message put before the conversation; None for none.
            tools: Tool schemas in OpenAI's form, rendered by the model's chat template; None for
                none.
            extract: Finds the answer in a candidate's text; None goes by the option `answer`.
            options: Fields of `SearchConfig`.

        Raises:
            ConfigurationError: The input or an option cannot work.
            BackendError: The generator or the verifier failed.
            SearchError: No candidate was complete within the caps, or `extract` failed.
        """
        return self._core.run(
            self._prepare(problem, config, options, system=system, tools=tools, extract=extract)
        )

    async def asearch(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor | None = None,
        **options: Any,
    ) -> SearchResult:
        """Solves as `search` does, for event loops; cancelling the task stops the work.

        Args:
            problem: As for `search`.
            config: As for `search`.
            system: As for `search`.
            tools: As for `search`.
            extract: As for `search`.
            options: As for `search`.
        """
        prepare = functools.partial(
            self._prepare, problem, config, options, system=system, tools=tools, extract=extract
        )
        has_format = _has_format(config, options)
        run = await asyncio.to_thread(prepare) if has_format else prepare()
        return await self._core.arun(run)

    def search_many(
        self,
        problems: Sequence[Problem],
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        seeds: Sequence[int] | None = None,
        extract: Extractor | None = None,
        on_result: Callable[[int, SearchResult], None] | None = None,
        **options: Any,
    ) -> list[SearchResult | SearchError]:
        """Solves problems together, in shared batches; each result is that of `search` alone.

        Args:
            problems: Questions or conversations.
            config: Search options for all; `options` override it. None takes the defaults.
            system: A system message put before each conversation; None for none.
            seeds: A search seed for each problem; None gives all of them the config's.
            extract: Finds the answer in a candidate's text; None goes by the option `answer`.
            on_result: Called with index and result of each search that has one, in the caller's
                thread; None for no calls.
            options: Fields of `SearchConfig`.

        Returns:
            For each problem its result, or the error when no candidate was complete.

        Raises:
            ConfigurationError: An argument or an option cannot work.
        """
        if on_result is not None and not callable(on_result):
            raise wrong_type("on_result", on_result, "a function or None")
        configs = seeded(search_config(config, **options), seeds, problems)
        runs = [
            self._prepare(problem, each, {}, system=system, extract=extract)
            for problem, each in zip(problems, configs, strict=True)
        ]
        return run_many(self._core, runs, on_result)

    def search_each(
        self,
        problems: Sequence[Problem],
        *,
        config: SearchConfig | None = None,
        seeds: Sequence[int] | None = None,
        extractors: Sequence[Extractor | None] | None = None,
        max_in_flight: int = 256,
        timeout_s: float | None = None,
        **options: Any,
    ) -> Generator[tuple[int, SearchResult | SearchError], None, None]:
        """Solves problems together as `search_many` does, and yields each outcome as it ends.

        Nothing is kept of what was yielded, so the number of problems is no matter of memory.
        Closing the generator cancels what has not ended.

        Args:
            problems: Questions or conversations.
            config: As for `search_many`.
            seeds: As for `search_many`.
            extractors: For each problem what finds the answer in a candidate's text; None goes by
                the option `answer`, for one problem or for all.
            max_in_flight: Most problems that are in work, or wait for a place, at a time.
            timeout_s: Seconds after which searches that have not ended are cancelled, and not
                yielded; None waits for all.
            options: Fields of `SearchConfig`.

        Returns:
            A generator of each problem's index, with its result or the error when no candidate was
            complete.

        Raises:
            ConfigurationError: An argument or an option cannot work; of a problem, when its turn
                comes.
        """
        check_limits(max_in_flight, timeout_s)
        configs = seeded(search_config(config, **options), seeds, problems)
        extracts = extractors_of(extractors, len(configs))
        runs = (
            self._prepare(problem, each, {}, system=None, extract=extract)
            for problem, each, extract in zip(problems, configs, extracts, strict=True)
        )
        return run_each(self._core, runs, max_in_flight=max_in_flight, timeout_s=timeout_s)

    def submit(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor | None = None,
        **options: Any,
    ) -> SearchHandle:
        """Starts a search and returns at once.

        The handle waits for the result, yields the events, and stops the work, from any thread. Its
        methods raise as `search` does; bad input is refused here.

        Args:
            problem: As for `search`.
            config: As for `search`.
            system: As for `search`.
            tools: As for `search`.
            extract: As for `search`.
            options: As for `search`.
        """
        run = self._prepare(problem, config, options, system=system, tools=tools, extract=extract)
        return self._core.submit(run, is_watched=True)

    def stream(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor | None = None,
        **options: Any,
    ) -> Generator[Event, None, None]:
        """Solves as `search` does, and yields events; the last one is `Finished`.

        Plain decoding yields `TextDelta`s, which joined are the result's text; searches yield
        `SearchStarted`, `StepFinished`, `StepScored`, `Pruned`, `PrefixDelta`s, which joined are
        the result's text too, `Progress`, `AnswerChosen` and `UsageReported`. Closing the generator
        stops the work. The work starts with the first event.

        Args:
            problem: As for `search`.
            config: As for `search`.
            system: As for `search`.
            tools: As for `search`.
            extract: As for `search`.
            options: As for `search`.
        """
        return self._core.stream(
            self._prepare(problem, config, options, system=system, tools=tools, extract=extract)
        )

    def astream(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor | None = None,
        **options: Any,
    ) -> AsyncGenerator[Event, None]:
        """Streams as `stream` does, for event loops.

        Structured outputs are checked with the first event, in a thread; other input at once.

        Args:
            problem: As for `search`.
            config: As for `search`.
            system: As for `search`.
            tools: As for `search`.
            extract: As for `search`.
            options: As for `search`.
        """
        prepare = functools.partial(
            self._prepare, problem, config, options, system=system, tools=tools, extract=extract
        )
        if _has_format(config, options):
            return self._astream_checked(prepare)
        return self._core.astream(prepare())

    async def _astream_checked(
        self, prepare: Callable[[], SearchRun]
    ) -> AsyncGenerator[Event, None]:
        run = await asyncio.to_thread(prepare)
        async with aclosing(self._core.astream(run)) as events:
            async for event in events:
                yield event

    def render(
        self,
        problem: Problem,
        *,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """Renders a problem to the prompt of `search`, which accepts it in place of the problem.

        Args:
            problem: A question, or a conversation.
            system: A system message put before the conversation; None for none.
            tools: Tool schemas in OpenAI's form; None for none.
            chat_template_kwargs: Switches of the model's chat template, as in `SearchConfig`, whose
                field a rendered prompt does not follow any more; None for none.

        Raises:
            ConfigurationError: The input cannot work.
        """
        prompt = render(
            problem,
            self.generator,
            system=system,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
        )
        if not prompt.shows_tools:
            self._warn_once(unseen_tools(self.generator_name, prompt.tools))
        return prompt

    def parse_tool_calls(
        self, text: str, tools: Sequence[Mapping[str, Any]], *, untagged_calls: bool = True
    ) -> ParsedOutput:
        """Separates tool calls from text in the format of the generator's model.

        Args:
            text: Generated text of one answer.
            tools: The tools of the conversation, in OpenAI's form.
            untagged_calls: Whether a text that is nothing but the JSON of calls of these tools,
                with arguments that they take and without the format's tags, is calls as well.

        Raises:
            ConfigurationError: The text is none, or the tools are no list of tools.
        """
        if not isinstance(text, str):
            raise wrong_type("text", text, "a str")
        if not isinstance(untagged_calls, bool):
            raise wrong_type("untagged_calls", untagged_calls, "a bool")
        tools = tools_in_form(tools)
        parsed = self.generator.parse_tool_calls(text, tools)
        if parsed.tool_calls or not untagged_calls:
            return parsed
        return read_untagged_calls(text, tools) or parsed

    def stats(self) -> EngineStats:
        """Returns counters since the engine was made, and present gauges, its health among them.

        Costs microseconds and stops nothing; from any thread, also once closed.

        Raises:
            BackendError: This process was forked from the engine's.
        """
        self._core.check_process()
        return EngineStats(
            health=self.health,
            requests=self._requests.stats(),
            gauges=self._core.gauges,
            usage=self.usage,
            num_restarts=self._num_restarts,
        )

    @property
    def usage(self) -> EngineUsage:
        """Cost of all searches of this engine so far; from any thread, also once closed.

        Raises:
            BackendError: This process was forked from the engine's.
        """
        self._core.check_process()
        return self._requests.account.snapshot()

    def close(self) -> None:
        """Ends every search with a `BackendError` and frees both models; safe to call twice.

        In a process that was forked from the engine's it does nothing: the parent owns them.
        """
        if self._core.forked is not None:
            return
        with self._lifetime:
            if self._is_closed:
                return
            self._is_closed = True
            atexit.unregister(self.close)
            self._core.close()

    def __copy__(self) -> Self:
        """Returns the engine itself: models are shared, so copies of its holders keep working."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        """Refuses to be pickled.

        Raises:
            ConfigurationError: Always; it says what to pass to another process instead.
        """
        raise ConfigurationError(
            f"an engine of generator={self.generator_name!r} cannot be pickled, and neither can "
            "what holds it: pass an EngineConfig, and open it there with shared_engine; or make "
            "the chat class with model=... and engine_args=... in place of engine=..."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s", text)

    def _prepare(
        self,
        problem: Problem,
        base: SearchConfig | None,
        options: Mapping[str, Any],
        *,
        system: str | None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extract: Extractor | None,
    ) -> SearchRun:
        """Checks everything about a search and renders its prompt."""
        self._core.check_process()
        check_extractor("extract", extract)
        config = resolve(
            search_config(base, **options),
            has_verifier=self.verifier is not None,
            published=self.published_sampling,
        )
        switches = config.chat_template_kwargs
        prompt = self.render(problem, system=system, tools=tools, chat_template_kwargs=switches)
        return prepare(prompt, config, self.generator, extract, self._core.num_logprobs)


def _has_format(config: SearchConfig | None, options: Mapping[str, Any]) -> bool:
    """Whether structured outputs have to be checked, which may take longer than an event loop."""
    own = config.structured_outputs if isinstance(config, SearchConfig) else None
    return options.get("structured_outputs", own) is not None
