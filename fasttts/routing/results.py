"""Results of routed calls: one result for all decodings of a call."""

from collections.abc import Iterable
from dataclasses import fields, replace

from fasttts.routing.context import Draft
from fasttts.routing.decision import Decision
from fasttts.search.aggregation import Ranking, make_ranking
from fasttts.types import AnswerPrefix, Path, SearchResult, Timings, Usage

DRAFT_PATH: Path = ()
"""Path of a draft among the candidates of a search: in no tree, and first of equals."""


def draft_of(result: SearchResult, *, calls_tools: bool) -> Draft:
    """Makes the draft of a scored plain decoding.

    Args:
        result: The result of the decoding.
        calls_tools: Whether its text is a tool call.
    """
    return Draft(
        text=result.text,
        steps=result.candidates[0].steps,
        is_complete=result.finish_reason == "stop",
        calls_tools=calls_tools,
    )


def answer_prefix_of(draft: SearchResult, num_steps: int) -> AnswerPrefix | None:
    """Cuts a draft where step `num_steps` begins; None if no step or every step is kept.

    Args:
        draft: The result of the draft.
        num_steps: Leading steps to keep.
    """
    steps, start = draft.candidates[0].steps, 0
    if not 0 < num_steps < len(steps):
        return None
    for step in steps[:num_steps]:
        start = draft.text.index(step.text, start) + len(step.text)
    start = draft.text.index(steps[num_steps].text, start)
    return AnswerPrefix(text=draft.text[:start], steps=steps[:num_steps])


def with_draft(result: SearchResult, draft: SearchResult) -> SearchResult:
    """Adds the draft to a search's candidates and ranks them by the search's own rule.

    Args:
        result: The result of the search.
        draft: The result of the draft.
    """
    candidate = replace(draft.candidates[0], path=DRAFT_PATH)
    selection = result.config["selection"]
    return _headed(result, make_ranking([candidate, *result.candidates], selection))


def routed(
    result: SearchResult, decision: Decision, timings: Iterable[Timings], *, is_draft: bool
) -> SearchResult:
    """Makes the result of a routed call, with the cost of the reply and of the decision together.

    Args:
        result: The reply.
        decision: The decision.
        timings: Timings of all decodings for the decision.
        is_draft: Whether the reply is the draft, whose cost is already the decision's.
    """
    if is_draft:
        usage, total = decision.cost, added_timings(timings)
    else:
        usage = added_usage(decision.cost, result.usage)
        total = added_timings([*timings, result.timings])
    usage = replace(
        usage,
        prompt_tokens=result.usage.prompt_tokens,
        returned_tokens=result.candidates[0].num_tokens,
    )
    return replace(result, usage=usage, timings=total, routing=decision.to_dict())


def added_usage(*parts: Usage) -> Usage:
    """Adds several costs; takes the peak of the KV cache's use and the longest prompt.

    The sum counts as cached where all of it is.
    """
    total = {
        field.name: sum(getattr(part, field.name) for part in parts) for field in fields(Usage)
    }
    for name in ("prompt_tokens", "peak_kv_cache_usage"):
        total[name] = max(getattr(part, name) for part in parts)
    costly = [part.is_cached for part in parts if part.generated_tokens]
    return Usage(**{**total, "is_cached": bool(costly) and all(costly)})


def added_timings(parts: Iterable[Timings]) -> Timings:
    """Adds the seconds of consecutive work."""
    timings = list(parts)
    return Timings(
        total_s=sum(part.total_s for part in timings),
        generation_s=sum(part.generation_s for part in timings),
        verification_s=sum(part.verification_s for part in timings),
    )


def _headed(result: SearchResult, ranking: Ranking) -> SearchResult:
    best = ranking.candidates[0]
    return replace(
        result,
        text=best.text,
        answer=best.answer,
        score=best.score,
        finish_reason=best.finish_reason,
        candidates=ranking.candidates,
        votes=ranking.votes or (),
    )
