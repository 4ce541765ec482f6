"""One call: requests to the engine, and the choices that become of them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fasttts.chat import ChatRequest, Delta, Reply, ReplyFormat, cost_report
from fasttts.decoding.sampling import derive_seed
from fasttts.engine import FastTTS
from fasttts.routing import RoutedEvent
from fasttts.types import SearchResult

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
    """

    index: int
    reply: Reply
    text: str
    score: float | None
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All replies to a call, and the results that they were read from.

    Attributes:
        choices: The replies; of a search the chosen one, and then the others, best first.
        results: One result of a search; of plain decoding one for each choice.
    """

    choices: tuple[Choice, ...]
    results: tuple[SearchResult, ...]

    @property
    def first(self) -> SearchResult:
        """The result of the first choice."""
        return self.results[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """New text of one choice.

    Attributes:
        index: Position of the choice.
        delta: The new text.
        ended: The whole choice, with its last text; None before.
    """

    index: int
    delta: Delta
    ended: Choice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is checked and ready to run.

    Attributes:
        id: Random, so that nobody else can guess the address of its page.
        model: The name that the client gave the model.
        created: When it came, in seconds since 1970.
        request: What is asked of the engine.
        num_choices: Replies that are asked for.
    """

    id: str
    model: str
    created: int
    request: ChatRequest
    num_choices: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether it is plain decoding and nothing decides otherwise."""
        return isinstance(self.request.engine, FastTTS) and self.request.config.search == "none"

    async def run(self, listen: Listen | None = None) -> Outcome:
        """Runs the call; cancelling the task stops the engine's work.

        Args:
            listen: Receives the events of a search; None for no calls.
        """
        if self.is_plain and self.num_choices == 1:
            result = await self.request.asearch()
            return Outcome(choices=(_chosen(self.request.reply_format, result),), results=(result,))
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
        seeded = self._seeded()
        streams = [request.astream(listen) for request in seeded]
        async with aclosing(_merged(streams)) as chunks:
            async for index, chunk in chunks:
                ended = None
                if chunk.end is not None:
                    results[index] = chunk.end[1]
                    ended = _chosen(seeded[index].reply_format, *chunk.end[::-1], index=index)
                    choices[index] = ended
                yield Growth(index=index, delta=chunk.delta, ended=ended)
        if not self.is_plain:
            for other in _others(self.request.reply_format, results[0], self.num_choices):
                choices[other.index] = other
                delta = Delta(reasoning=other.reply.reasoning, content=other.reply.content)
                yield Growth(index=other.index, delta=delta, ended=other)
        yield Outcome(
            choices=tuple(choices[index] for index in sorted(choices)),
            results=tuple(results[index] for index in sorted(results)),
        )

    def _seeded(self) -> list[ChatRequest]:
        """A request for each choice of plain decoding, with seeds of their own; one of a search."""
        if not self.is_plain:
            return [self.request]
        config = self.request.config
        seeds = (derive_seed(config.seed, number) for number in range(1, self.num_choices))
        configs = [config, *(config.model_copy(update={"seed": seed}) for seed in seeds)]
        return [replace(self.request, config=config) for config in configs]


def _chosen(
    reply_format: ReplyFormat, result: SearchResult, reply: Reply | None = None, *, index: int = 0
) -> Choice:
    return Choice(
        index=index,
        reply=reply or reply_format.read(result.text, result.finish_reason),
        text=result.text,
        score=result.score,
        num_tokens=result.usage.returned_tokens,
    )


def _others(reply_format: ReplyFormat, result: SearchResult, num_choices: int) -> Sequence[Choice]:
    """Further candidates of a search, best first; there may be fewer than are asked for."""
    return [
        Choice(
            index=index,
            reply=reply_format.read(candidate.text, candidate.finish_reason),
            text=candidate.text,
            score=candidate.score,
            num_tokens=candidate.num_tokens,
        )
        for index, candidate in enumerate(result.candidates[1:num_choices], start=1)
    ]


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
    )
    return {name: sum(getattr(result.usage, name) for result in outcome.results) for name in names}


def report(outcome: Outcome, call: Call, page: str | None) -> dict[str, Any]:
    """Describes how a call was answered, beside OpenAI's fields.

    Args:
        outcome: The replies.
        call: The call.
        page: Address of the page that shows its search; None without one.
    """
    told = cost_report(outcome.first)
    names = ("answer", "score", "num_candidates", "seed", "timings", "routing", "warnings")
    return {
        "search": told["config"]["search"],
        **{name: told[name] for name in names},
        "stop_reason": outcome.first.stop_reason,
        "numerics": told["numerics"],
        "scores": [choice.score for choice in outcome.choices],
        "page": page,
    }
