"""Runs routed calls on an engine: in threads and event loops, whole or as they happen."""

from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

from fasttts.config import SearchConfig, search_config
from fasttts.conversation import Conversation
from fasttts.engine import FastTTS
from fasttts.errors import ConfigurationError, SearchError
from fasttts.routing.course import Call, Outcome, Work, call_of, course
from fasttts.routing.decision import Decision, RoutingPolicy
from fasttts.routing.store import default_policy
from fasttts.types import (
    AnswerChosen,
    Event,
    Finished,
    SearchResult,
    TextDelta,
    TrunkDelta,
    UsageReported,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """How a routed call is answered; told before its reply begins."""

    decision: Decision


RoutedEvent = Event | Decided


class Router:
    """An engine in front of which a policy decides between plain decoding and search.

    Its methods take what the engine's take and return the same results, whose `routing` is the
    decision, and whose cost holds everything that was decoded for it. All of them may be called
    from any thread or event loop.

    Args:
        engine: Decodes and searches; not closed by the router.
        policy: Decides; None takes `Cascade` with the threshold that `fasttts calibrate-router`
            has found for these models.
    """

    def __init__(self, engine: FastTTS, policy: RoutingPolicy | None = None) -> None:
        self.engine = engine
        self.policy = policy or default_policy(engine.generator_name, engine.verifier_name)

    def search(self, problem: Conversation, **options: Any) -> SearchResult:
        """Answers one call.

        Args:
            problem: A question, or a conversation.
            options: `config`, `tools` and fields of `SearchConfig`, as for `FastTTS.search`;
                `is_constrained` says that the reply must have a given form. The search that is
                described is made where the policy wants one; plain decoding takes its options too.

        Raises:
            ConfigurationError: The input, an option or the policy cannot work.
            BackendError: The generator or the verifier failed.
            SearchError: No candidate was complete within the caps, and there is no draft.
        """
        steps = course(self._call(problem, **options), self.policy)
        step = next(steps)
        while not isinstance(step, SearchResult):
            step = steps.send(self._run(step) if isinstance(step, Work) else None)
        return step

    async def asearch(self, problem: Conversation, **options: Any) -> SearchResult:
        """`search` for event loops; cancelling the task stops the work."""
        steps = course(self._call(problem, **options), self.policy)
        step = next(steps)
        while not isinstance(step, SearchResult):
            step = steps.send(await self._arun(step) if isinstance(step, Work) else None)
        return step

    def stream(self, problem: Conversation, **options: Any) -> Generator[RoutedEvent, None, None]:
        """`search`, told as it happens: `Decided`, then the events of the reply.

        Nothing of a draft is told before it is accepted. Where a draft is among the candidates, the
        trunk comes at the end as a whole.
        """
        steps = course(self._call(problem, **options), self.policy)
        narration = _Narration()
        step = next(steps)
        while not isinstance(step, SearchResult):
            outcome: Outcome | None = None
            if isinstance(step, Decision):
                yield Decided(decision=step)
            else:
                try:
                    with closing(self.engine.stream(step.messages, **_arguments(step))) as events:
                        for event in events:
                            outcome = event.result if isinstance(event, Finished) else None
                            yield from narration.shown(step, event)
                except SearchError as error:
                    outcome = error
            step = steps.send(outcome)
        yield from narration.closing(step)

    async def astream(
        self, problem: Conversation, **options: Any
    ) -> AsyncGenerator[RoutedEvent, None]:
        """`stream` for event loops."""
        steps = course(self._call(problem, **options), self.policy)
        narration = _Narration()
        step = next(steps)
        while not isinstance(step, SearchResult):
            outcome: Outcome | None = None
            if isinstance(step, Decision):
                yield Decided(decision=step)
            else:
                arguments = _arguments(step)
                try:
                    async with aclosing(self.engine.astream(step.messages, **arguments)) as events:
                        async for event in events:
                            outcome = event.result if isinstance(event, Finished) else None
                            for shown in narration.shown(step, event):
                                yield shown
                except SearchError as error:
                    outcome = error
            step = steps.send(outcome)
        for told in narration.closing(step):
            yield told

    def _call(
        self,
        problem: Conversation,
        *,
        config: SearchConfig | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        is_constrained: bool = False,
        **options: Any,
    ) -> Call:
        resolved = search_config(config, **options)
        if resolved.search == "none":
            raise ConfigurationError(
                "search='none' leaves nothing to decide: name the search that the router may use"
            )
        return call_of(
            problem,
            resolved,
            tools=tools,
            is_constrained=is_constrained,
            calls_tools=lambda text: bool(
                tools and self.engine.parse_tool_calls(text, tools).tool_calls
            ),
        )

    def _run(self, work: Work) -> Outcome:
        try:
            return self.engine.search(work.messages, **_arguments(work))
        except SearchError as error:
            return error

    async def _arun(self, work: Work) -> Outcome:
        try:
            return await self.engine.asearch(work.messages, **_arguments(work))
        except SearchError as error:
            return error


def _arguments(work: Work) -> dict[str, Any]:
    return {"config": work.config, "tools": work.tools or None}


class _Narration:
    """What is told of a routed call: the reply's events, and text that is never taken back."""

    def __init__(self) -> None:
        self._text = ""

    def shown(self, work: Work, event: Event) -> Iterator[Event]:
        """The event, if it is to be told now."""
        if isinstance(event, TextDelta | TrunkDelta):
            if work.is_reply:
                self._text += event.text
                yield event
        elif work.is_told and not isinstance(event, AnswerChosen | Finished | UsageReported):
            yield event

    def closing(self, result: SearchResult) -> Iterator[Event]:
        """What is left to tell."""
        assert result.routing is not None, "a routed result has a decision"
        is_plain = result.routing["route"] == "plain"
        if rest := result.text[len(self._text) :]:
            yield TextDelta(text=rest) if is_plain else TrunkDelta(text=rest)
        if not is_plain:
            yield AnswerChosen(text=result.text, answer=result.answer, score=result.score)
            yield UsageReported(usage=result.usage)
        yield Finished(result=result)
