"""Combines finished steps into verifier requests, and follows each until its scores are there.

With lookahead, a speculative step and its parent that are queued together share one request, so
that their common prefix is run once. Source: FastTTS, arXiv 2509.00195, section 4.2.

With the aggregation "model" each request is a path as one step, and its score is that of the path.
"""

import concurrent.futures
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fasttts.config import Aggregation, SchedulingConfig
from fasttts.errors import BackendError
from fasttts.interfaces import Verification, VerificationRequest, Verifier
from fasttts.scheduling.recovery import retrying
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.timeline import VerifierBatch
from fasttts.search.aggregation import on_grid
from fasttts.tree import Node
from fasttts.types import TokenLogprobs
from fasttts.verifiers.async_scoring import AsyncScoring, scoring_of

_RETRYING = retrying()

_TOKENS_PER_BEAM = 16
_FEWEST_TOKENS, _MOST_TOKENS = 256, 1024
WAITED_FOR_TOKENS = 8192
"""Queued tokens from which on steps are scored that only the end of their search waits for. A call
holds up all sequences: many small ones cost the most, and one of everything lasts too long."""


def early_batch_tokens(num_beams: int, *, is_beside: bool = False) -> int:
    """Queued tokens from which on an early batch is worth its fixed cost, unless calibrated.

    More than the upper bound gained nothing at any number of beams, and the lower one is half of
    what a search of 8 scores at once anyway (docs/log.md). A verifier that works in parallel with
    the generator does not block it, and takes the lower one.

    Args:
        num_beams: Beams of the searches with queued steps.
        is_beside: Whether the verifier works in parallel with the generator.
    """
    if is_beside:
        return _FEWEST_TOKENS
    return min(max(_FEWEST_TOKENS, _TOKENS_PER_BEAM * num_beams), _MOST_TOKENS)


@dataclass(frozen=True, slots=True)
class Batch:
    """One request, and the nodes whose steps it scores.

    Attributes:
        request: The request.
        nodes: A downward path, parents first.
        is_whole: Whether there is one node, whose steps share the one score of the path.
    """

    request: VerificationRequest
    nodes: tuple[Node, ...]
    is_whole: bool = False


def batches(
    queued: Sequence[Node], problem: str, config: SchedulingConfig, aggregation: Aggregation
) -> list[Batch]:
    """Makes the requests of queued nodes.

    Args:
        queued: The nodes.
        problem: The text their steps answer.
        config: Whether lookahead combines a step with its parent.
        aggregation: "model" makes each path one step.
    """
    if aggregation == "model":
        return [_whole(node, problem) for node in queued]
    paths = _chains(queued) if config.lookahead_verification else [(node,) for node in queued]
    return [_batch(nodes, problem) for nodes in paths]


def _chains(queued: Sequence[Node]) -> list[tuple[Node, ...]]:
    """Queued nodes as downward paths; a node whose parent is queued joins its first free end."""
    chains: dict[Node, list[Node]] = {}
    ordered = sorted(queued, key=lambda node: node.path)
    for node in ordered:
        chain = chains.pop(node.parent, []) if node.parent is not None else []
        chain.append(node)
        chains[node] = chain
    return [tuple(chain) for chain in chains.values()]


def _batch(nodes: tuple[Node, ...], problem: str) -> Batch:
    steps = nodes[-1].path_steps()
    num_asked = sum(len(node.steps) for node in nodes)
    request = VerificationRequest(
        problem=problem,
        steps=steps,
        num_scored=len(steps) - num_asked,
        logprobs=_step_logprobs(nodes) if any(node.logprobs for node in nodes) else None,
    )
    return Batch(request, nodes)


def _step_logprobs(nodes: Sequence[Node]) -> tuple[Sequence[TokenLogprobs], ...]:
    """The log-probabilities of the sampled tokens of each step of some nodes."""
    return tuple(
        [found for found in node.logprobs[i:j] if found]
        for node in nodes
        for i, j in node.step_spans
    )


def _whole(node: Node, problem: str) -> Batch:
    steps = (node.path_text().strip(),)
    num_scored = 0 if node.steps else 1
    logprobs: tuple[Sequence[TokenLogprobs], ...] | None = None
    if node.logprobs:
        own = tuple(one for each in node.lineage() for one in each.logprobs if one)
        logprobs = () if num_scored else (own,)
    request = VerificationRequest(
        problem=problem, steps=steps, num_scored=num_scored, logprobs=logprobs
    )
    return Batch(request, (node,), is_whole=True)


ScoringWork = tuple[SearchRun, list[Batch]]
"""A search and what is scored for it."""


@dataclass(slots=True, eq=False)
class Job:
    """Work that a verifier has begun.

    Attributes:
        work: The searches and what is scored for each.
        scoring: The scoring, as far as it has come.
        began_at: When it began.
        seconds: Time in which it blocked the loop, by its own work or by waiting.
        waits_for: What it waits for; None before it begins.
        watched: What it waits for, as last seen.
        watched_at: When that was.
        watched_s: How long it has been seen running.
        ended: Searches that have ended and need no scores.
    """

    work: list[ScoringWork]
    scoring: AsyncScoring
    began_at: float
    seconds: float = 0.0
    waits_for: "concurrent.futures.Future[Any] | None" = None
    watched: "concurrent.futures.Future[Any] | None" = None
    watched_at: float = 0.0
    watched_s: float = 0.0
    ended: set[SearchRun] = field(default_factory=set)

    def nodes(self) -> Iterator[Node]:
        """The nodes that are scored."""
        return (node for _, own in self.work for batch in own for node in batch.nodes)

    def resume(self) -> list[Verification] | None:
        """Returns the verifications; None while they are not complete."""
        while self.waits_for is None or self.waits_for.done():
            try:
                self.waits_for = next(self.scoring)
            except StopIteration as end:
                verifications: list[Verification] = end.value
                return verifications
        return None

    def running_s(self, now: float) -> float:
        """Seconds for which the call that the job waits for has been seen running."""
        if self.watched is not self.waits_for:
            self.watched, self.watched_s = self.waits_for, 0.0
        elif self.waits_for is not None and self.waits_for.running():
            self.watched_s += now - self.watched_at
        self.watched_at = now
        return self.watched_s

    def note(
        self,
        run: SearchRun,
        own: Sequence[Batch],
        now: float,
        *,
        num_tokens: tuple[int, int] = (0, 0),
        error: BaseException | None = None,
    ) -> None:
        """Notes its end in the timeline of a search that has one.

        Args:
            run: The search.
            own: What was scored for it.
            now: When the job ended.
            num_tokens: Tokens that the verifier computed for it, and that its prefix cache
                supplied.
            error: Why there are no scores; None where there are.
        """
        if run.timeline is None:
            return
        run.timeline.batches.append(
            VerifierBatch(
                began_at=self.began_at,
                ended_at=now,
                num_searches=len(self.work),
                num_requests=len(own),
                num_steps=sum(len(node.steps) for batch in own for node in batch.nodes),
                num_computed_tokens=num_tokens[0],
                num_cached_tokens=num_tokens[1],
                error=error,
            )
        )

    def give_up(self) -> None:
        """Drops the calls that the verifier has begun."""
        with contextlib.suppress(Exception):  # a verifier may be a user's class
            self.scoring.close()


def asked(verifier: Verifier, requests: list[VerificationRequest]) -> AsyncScoring:
    """Scores with a verifier; retries where that may help, and translates its errors.

    Args:
        verifier: The verifier; one that is not asynchronous blocks when the scoring begins.
        requests: As for `Verifier.score`.

    Raises:
        BackendError: It failed, or returned what is no list of verifications.
    """
    if not requests:
        return []
    try:
        for attempt in _RETRYING.copy():  # several batches may be tried again at a time
            with attempt:
                return (yield from scoring_of(verifier, requests))
    except Exception as error:  # a verifier may be a user's class and raise anything
        raise translated(error) from error
    raise AssertionError("an attempt returns or raises")


def translated(error: BaseException) -> BackendError:
    """Converts an exception of a verifier, which may be a user's class, to an error of ours."""
    if isinstance(error, BackendError):
        return error
    message = f"the verifier failed: {type(error).__name__}: {error}"
    failure = BackendError(message, role="verifier")
    failure.__cause__ = error
    return failure


def take_scores(batch: Batch, verification: Verification) -> None:
    """Sets the scores of each node of a batch, on the grid.

    Args:
        batch: The batch.
        verification: Its scores.
    """
    scores = verification.scores
    is_nan = verification.is_nan or (False,) * len(scores)
    if batch.is_whole:
        scores *= len(batch.nodes[0].steps)
        is_nan *= len(batch.nodes[0].steps)
    start = 0
    for node in batch.nodes:
        end = start + len(node.steps)
        node.scores_S = tuple(on_grid(score) for score in scores[start:end])
        node.num_nan_scores = sum(is_nan[start:end])
        start = end
        if not batch.is_whole:  # a whole path is read again with each of its steps
            node.logprobs.clear()
