"""Runs routed calls on an engine: in threads and event loops, whole or streamed."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

from fasttts.answers.extraction import Extractor
from fasttts.config import SearchConfig, search_config
from fasttts.engine import FastTTS
from fasttts.engine.request import Problem, Prompt
from fasttts.errors import ConfigurationError, SearchError, wrong_type
from fasttts.routing.decision import Decision, RoutingPolicy
from fasttts.routing.flow import EngineWork, RoutedCall, WorkOutcome, routing_flow
from fasttts.routing.threshold_store import default_policy
from fasttts.types import (
    AnswerChosen,
    Event,
    Finished,
    PrefixDelta,
    SearchResult,
    TextDelta,
    UsageReported,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision of a routed call; reported before its reply begins.

    Attributes:
        decision: The decision.
    """

    decision: Decision


RoutedEvent = Event | Decided


class Router:
    """An engine with a policy that decides between plain decoding and search.

    Its methods take the same arguments as the engine's and return the same results, whose `routing`
    is the decision, and whose cost includes all decodings for it. All of them may be called from
    any thread or event loop.

    Args:
        engine: Decodes and searches; not closed by the router.
        policy: Decides; None takes what `fasttts calibrate-router` stored for these models: a
            `Cascade` with its threshold, or `Never` where it found that searching does not help.
        untagged_calls: Whether a draft that is nothing but the JSON of a call is a call, as for
            `FastTTS.parse_tool_calls`.

    Raises:
        ConfigurationError: The engine or the policy is none.
    """

    def __init__(
        self,
        engine: FastTTS,
        policy: RoutingPolicy | None = None,
        *,
        untagged_calls: bool = True,
    ) -> None:
        if not isinstance(engine, FastTTS):
            raise wrong_type("engine", engine, "a FastTTS")
        if policy is not None and not callable(getattr(policy, "decide", None)):
            raise wrong_type("policy", policy, "a routing policy, with a method `decide`, or None")
        self.engine = engine
        self._untagged_calls = untagged_calls
        if policy is None:
            policy = default_policy(engine.generator_name, engine.verifier_name)
        self.policy: RoutingPolicy = policy

    def search(
        self, problem: Problem, *, extract: Extractor | None = None, **options: Any
    ) -> SearchResult:
        """Answers one call.

        Args:
            problem: A question, a conversation, or either one rendered by the engine.
            extract: Finds the answer in a candidate's text, as for `FastTTS.search`; None goes by
                the options.
            options: `config`, `system`, `tools` and fields of `SearchConfig`, as for
                `FastTTS.search`. They describe the search that runs if the policy decides for one;
                plain decoding takes its other options too. A counted budget limits the search: a
                draft is paid from it, but plain decoding is not cut by it.

        Raises:
            ConfigurationError: The input, an option or the policy cannot work.
            BackendError: The generator or the verifier failed.
            SearchError: No candidate was complete within the caps, and there is no draft.
        """
        steps = routing_flow(self._call(problem, **options), self.policy)
        step = next(steps)
        while not isinstance(step, SearchResult):
            step = steps.send(self._run(step, extract) if isinstance(step, EngineWork) else None)
        return step

    async def asearch(
        self, problem: Problem, *, extract: Extractor | None = None, **options: Any
    ) -> SearchResult:
        """Answers as `search` does, for event loops; cancelling the task stops the work.

        Args:
            problem: As for `search`.
            extract: As for `search`.
            options: As for `search`.
        """
        call = await asyncio.to_thread(self._call, problem, **options)
        steps = routing_flow(call, self.policy)
        step = next(steps)
        while not isinstance(step, SearchResult):
            step = steps.send(
                await self._arun(step, extract) if isinstance(step, EngineWork) else None
            )
        return step

    def stream(
        self, problem: Problem, *, extract: Extractor | None = None, **options: Any
    ) -> Generator[RoutedEvent, None, None]:
        """Answers as `search` does, and yields events: `Decided`, then those of the reply.

        A draft is not reported before it is accepted. Where a draft is among the candidates, the
        common prefix is reported at the end as a whole.

        Args:
            problem: As for `search`.
            extract: As for `search`.
            options: As for `search`.
        """
        steps = routing_flow(self._call(problem, **options), self.policy)
        shown_events = _RoutedEvents()
        step = next(steps)
        while not isinstance(step, SearchResult):
            if isinstance(step, Decision):
                yield Decided(decision=step)
                step = steps.send(None)
                continue
            stream = self.engine.stream(step.problem, config=step.config, extract=extract)
            try:
                with closing(stream) as events:
                    for event in events:
                        yield from shown_events.shown(step, event)
            except SearchError as error:
                shown_events.outcome = error
            step = steps.send(shown_events.outcome)
        yield from shown_events.closing(step)

    async def astream(
        self, problem: Problem, *, extract: Extractor | None = None, **options: Any
    ) -> AsyncGenerator[RoutedEvent, None]:
        """Streams as `stream` does, for event loops.

        Args:
            problem: As for `search`.
            extract: As for `search`.
            options: As for `search`.
        """
        call = await asyncio.to_thread(self._call, problem, **options)
        steps = routing_flow(call, self.policy)
        shown_events = _RoutedEvents()
        step = next(steps)
        while not isinstance(step, SearchResult):
            if isinstance(step, Decision):
                yield Decided(decision=step)
                step = steps.send(None)
                continue
            stream = self.engine.astream(step.problem, config=step.config, extract=extract)
            try:
                async with aclosing(stream) as events:
                    async for event in events:
                        for shown in shown_events.shown(step, event):
                            yield shown
            except SearchError as error:
                shown_events.outcome = error
            step = steps.send(shown_events.outcome)
        for told in shown_events.closing(step):
            yield told

    def _call(
        self,
        problem: Problem,
        *,
        config: SearchConfig | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> RoutedCall:
        resolved = search_config(config, **options)
        if resolved.search == "none":
            raise ConfigurationError(
                "search='none' leaves nothing to decide: name the search that the router may use"
            )
        prompt = self.engine.render(
            problem,
            system=system,
            tools=tools,
            chat_template_kwargs=resolved.chat_template_kwargs,
        )
        return RoutedCall(
            prompt=prompt,
            config=resolved,
            calls_tools=self._is_call_in(prompt),
            published=self.engine.published_sampling,
        )

    def _is_call_in(self, prompt: Prompt) -> Callable[[str], bool]:
        """Makes a predicate: whether a reply to the prompt is a tool call."""
        if not prompt.tools:
            return lambda text: False
        return lambda text: bool(
            self.engine.parse_tool_calls(
                text, prompt.tools, untagged_calls=self._untagged_calls
            ).tool_calls
        )

    def _run(self, work: EngineWork, extract: Extractor | None) -> WorkOutcome:
        try:
            return self.engine.search(work.problem, config=work.config, extract=extract)
        except SearchError as error:
            return error

    async def _arun(self, work: EngineWork, extract: Extractor | None) -> WorkOutcome:
        try:
            return await self.engine.asearch(work.problem, config=work.config, extract=extract)
        except SearchError as error:
            return error


class _RoutedEvents:
    """The reported events of a routed call: those of the reply, with text that never changes.

    Attributes:
        outcome: Outcome of the newest work.
    """

    def __init__(self) -> None:
        self.outcome: WorkOutcome | None = None
        self._text = ""

    def shown(self, work: EngineWork, event: Event) -> Iterator[Event]:
        """Yields the event, if it is to be reported now."""
        if isinstance(event, Finished):
            self.outcome = event.result
        elif isinstance(event, TextDelta | PrefixDelta):
            if work.is_reply:
                self._text += event.text
                yield event
        elif work.is_published and not isinstance(event, AnswerChosen | UsageReported):
            yield event

    def closing(self, result: SearchResult) -> Iterator[Event]:
        """Yields the remaining events."""
        assert result.routing is not None, "a routed result has a decision"
        is_plain = result.routing["route"] == "plain"
        if rest := result.text[len(self._text) :]:
            yield TextDelta(text=rest) if is_plain else PrefixDelta(text=rest)
        if not is_plain:
            yield AnswerChosen(text=result.text, answer=result.answer, score=result.score)
            yield UsageReported(usage=result.usage)
        yield Finished(result=result)
