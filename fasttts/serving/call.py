"""One call: requests to the engine, and the choices that become of them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fasttts.chat import ChatRequest, Delta, Reply, ReplyFormat, cost_report
from fasttts.config import SearchConfig
from fasttts.decoding.sampling import derive_seed
from fasttts.decoding.structured_outputs import THINK_END, THINK_START
from fasttts.engine import FastTTS
from fasttts.routing import RoutedEvent
from fasttts.types import SearchResult, StepFinished, TokenLogprob

Item = TypeVar("Item")
Listen = Callable[[RoutedEvent], None]
"""Receives the events of a search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of the replies to a call.

    Attributes:
        index: Its position.
        reply: The reply.
        text: The text it was read from, all of it.
        score: The verifier's score; None where none took part.
        num_tokens: Its tokens.
        logprobs: Its tokens with their log-probabilities, where plain decoding was asked for them.
    """

    index: int
    reply: Reply
    text: str
    score: float | None
    num_tokens: int
    logprobs: Sequence[TokenLogprob] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All replies to a call, and the results that they were read from.

    Attributes:
        choices: The replies; of a search the chosen one, and then the others, best first.
        results: One for each search; of plain decoding one for each choice.
    """

    choices: tuple[Choice, ...]
    results: tuple[SearchResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """New text of one choice.

    Attributes:
        index: Position of the choice.
        delta: The new text.
        logprobs: Its tokens, where plain decoding was asked for their log-probabilities.
        ended: The whole choice, with its last text; None before.
    """

    index: int
    delta: Delta
    logprobs: Sequence[TokenLogprob] = ()
    ended: Choice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is checked and ready to run.

    Attributes:
        id: Random, so that nobody else can guess the address of its page.
        model: The name that the client gave the model.
        created: When it came, in seconds since 1970.
        requests: What is asked of the engine: one request for each prompt.
        num_choices: Replies to each of them.
        shows_steps: Whether the steps of a search, losing ones too, are part of the first reply's
            reasoning.
    """

    id: str
    model: str
    created: int
    requests: tuple[ChatRequest, ...]
    num_choices: int = 1
    shows_steps: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is plain decoding and nothing decides otherwise."""
        request = self.requests[0]
        return isinstance(request.engine, FastTTS) and request.config.search == "none"

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of all its prompts."""
        return sum(len(request.prompt.token_ids) for request in self.requests)

    async def run(self, listen: Listen | None = None) -> Outcome:
        """Runs the call; cancelling the task stops the engine's work.

        Args:
            listen: Receives the events of a search; None for no calls.
        """
        if self.is_plain and len(self.requests) == self.num_choices == 1:
            result = await self.requests[0].asearch()
            choice = _chosen(0, self.requests[0].reply_format, result)
            return Outcome(choices=(choice,), results=(result,))
        outcome: Outcome | None = None
        async with aclosing(self.stream(listen)) as items:
            async for item in items:
                if isinstance(item, Outcome):
                    outcome = item
        assert outcome is not None, "a stream that raises nothing ends with its outcome"
        return outcome

    async def stream(self, listen: Listen | None = None) -> AsyncGenerator[Growth | Outcome, None]:
        """Runs the call and yields the growing choices, and at last all of them.

        Args:
            listen: As for `run`.
        """
        choices: dict[int, Choice] = {}
        results: dict[int, SearchResult] = {}
        asked = self._asked()
        indices = list(asked)
        steps = ""
        async with aclosing(_merged([each.aevents() for each in asked.values()])) as items:
            async for number, (event, chunk) in items:
                if listen is not None:
                    listen(event)
                if self.shows_steps and isinstance(event, StepFinished):
                    shown = _shown_step(event.text)
                    steps += shown
                    yield Growth(index=0, delta=Delta(reasoning=shown, content=""))
                if chunk is None:
                    continue
                index, delta, ended = indices[number], chunk.delta, None
                if chunk.end is not None:
                    reply, results[index] = chunk.end
                    if steps:  # behind which the answer's own thoughts come as a whole
                        delta = replace(delta, reasoning=reply.reasoning)
                        reply = replace(reply, reasoning=steps + reply.reasoning)
                    ended = _chosen(index, asked[index].reply_format, results[index], reply)
                    choices[index] = ended
                elif self.shows_steps and not self.is_plain:
                    delta = replace(delta, reasoning="")
                yield Growth(index=index, delta=delta, logprobs=chunk.logprobs, ended=ended)
        for other in self._others(results):
            choices[other.index] = other
            delta = Delta(reasoning=other.reply.reasoning, content=other.reply.content)
            yield Growth(index=other.index, delta=delta, ended=other)
        yield Outcome(
            choices=tuple(choices[index] for index in sorted(choices)),
            results=tuple(results[index] for index in sorted(results)),
        )

    def _asked(self) -> dict[int, ChatRequest]:
        """The requests by the index of their choice: one for each of plain decoding."""
        if not self.is_plain:
            return {n * self.num_choices: request for n, request in enumerate(self.requests)}
        return {
            n * self.num_choices + number: replace(request, config=_seeded(request.config, number))
            for n, request in enumerate(self.requests)
            for number in range(self.num_choices)
        }

    def _others(self, results: Mapping[int, SearchResult]) -> Iterator[Choice]:
        """Further candidates of searches, best first; there may be fewer than are asked for."""
        if self.is_plain:
            return
        for first, result in sorted(results.items()):
            reply_format = self.requests[first // self.num_choices].reply_format
            others = result.candidates[1 : self.num_choices]
            for index, candidate in enumerate(others, start=first + 1):
                yield Choice(
                    index=index,
                    reply=reply_format.read(candidate.text, candidate.finish_reason),
                    text=candidate.text,
                    score=candidate.score,
                    num_tokens=candidate.num_tokens,
                )


def _shown_step(text: str) -> str:
    """A step of a search as a part of reasoning, which has no tags of thoughts."""
    return f"{text.replace(THINK_START, '').replace(THINK_END, '').strip()}\n\n"


def _seeded(config: SearchConfig, number: int) -> SearchConfig:
    """The options of one of several replies; the first one is that of a call of one."""
    return (
        config.model_copy(update={"seed": derive_seed(config.seed, number)}) if number else config
    )


def _chosen(
    index: int, reply_format: ReplyFormat, result: SearchResult, reply: Reply | None = None
) -> Choice:
    return Choice(
        index=index,
        reply=reply or reply_format.read(result.text, result.finish_reason),
        text=result.text,
        score=result.score,
        num_tokens=result.usage.returned_tokens,
        logprobs=result.logprobs,
    )


async def _merged(
    streams: Sequence[AsyncGenerator[Item, None]],
) -> AsyncGenerator[tuple[int, Item], None]:
    """Yields the items of all streams as they come, each with the position of its stream."""
    if len(streams) == 1:  # which needs no task and no queue
        async with aclosing(streams[0]) as items:
            async for item in items:
                yield 0, item
        return
    queue: asyncio.Queue[tuple[int, Item] | Exception | None] = asyncio.Queue(maxsize=64)
    tasks = [asyncio.ensure_future(_pump(*each, queue)) for each in enumerate(streams)]
    num_open = len(tasks)
    try:
        while num_open:
            found = await queue.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                num_open -= 1
            else:
                yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    index: int,
    stream: AsyncGenerator[Item, None],
    queue: "asyncio.Queue[tuple[int, Item] | Exception | None]",
) -> None:
    """Puts the items of one stream into a queue, and at last None, or its error."""
    try:
        async with aclosing(stream) as items:
            async for item in items:
                await queue.put((index, item))
    except Exception as error:  # noqa: BLE001, it is raised again where the items are read
        await queue.put(error)
    else:
        await queue.put(None)


def total_cost(outcome: Outcome) -> dict[str, int]:
    """Tokens and nodes of all paths of a call, beside those of the returned ones."""
    names = (
        "generated_tokens",
        "required_tokens",
        "verifier_computed_tokens",
        "verifier_cached_tokens",
        "num_nodes",
        "num_verifications",
        "num_iterations",
        "num_compared_scores",
        "num_tied_scores",
        "num_nan_scores",
    )
    return {name: sum(getattr(result.usage, name) for result in outcome.results) for name in names}


def report(outcome: Outcome, page: str | None) -> dict[str, Any]:
    """Describes how a call was answered, beside OpenAI's fields.

    Args:
        outcome: The replies.
        page: Address of the page that shows its search; None without one.
    """
    told = cost_report(outcome.results[0])
    names = ("answer", "score", "num_candidates", "seed", "timings", "routing", "warnings")
    return {
        "search": told["config"]["search"],
        **{name: told[name] for name in names},
        "stop_reason": outcome.results[0].stop_reason,
        "numerics": told["numerics"],
        "scores": [choice.score for choice in outcome.choices],
        "page": page,
    }
