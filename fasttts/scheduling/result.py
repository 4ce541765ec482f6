"""From a finished run to the result a caller gets: answers extracted, candidates ranked."""

from fasttts.answers.extraction import Answer, AnswerReader, Extractor, MalformedAnswer
from fasttts.errors import SearchError
from fasttts.memory import MemoryPlan
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.usage import plain_occupancy, token_counts
from fasttts.search.selection import rank
from fasttts.tree import Node
from fasttts.types import (
    Candidate,
    FinishReason,
    Occupancy,
    SearchResult,
    Step,
    Timings,
    TreeNode,
    Usage,
)


def make_result(
    run: SearchRun,
    extract: Extractor | None,
    *,
    total_s: float,
    num_slots: int,
    generator: str,
    verifier: str | None,
    plan: MemoryPlan | None = None,
) -> SearchResult:
    """The ranked result of a finished run; None extracts as its option `answer` says.

    Raises:
        SearchError: A search ended without one complete candidate, or `extract` failed. A plain
            decoding that hit a cap is a result with `finish_reason="length"` instead.
    """
    config = run.request.config
    ranked = _ranked_candidates(run, extract)
    best = ranked[0]
    return SearchResult(
        text=best.text,
        answer=best.answer,
        score=best.score,
        finish_reason=best.finish_reason,
        candidates=tuple(ranked),
        usage=_usage(run, returned_tokens=best.num_tokens),
        timings=_timings(run, total_s),
        occupancy=_occupancy(run, num_slots),
        seed=config.seed,
        config=config.model_dump(mode="json"),
        generator=generator,
        verifier=verifier if run.request.uses_verifier else None,
        plan=None if plan is None else plan.to_dict(),
        stop_reason=run.stop_reason,
    )


def _ranked_candidates(run: SearchRun, extract: Extractor | None) -> list[Candidate]:
    config = run.request.config
    if (error := nothing_complete(run)) is not None:
        raise error
    reader = run.answer_reader(extract)
    candidates = [_candidate(run, node, reader) for node in run.ended_nodes()]
    assert config.selection is not None, "the engine resolves the selection"
    return rank(candidates, config.selection)


def nothing_complete(run: SearchRun) -> SearchError | None:
    """Why a finished run has no result; None where it has one."""
    ended = run.ended_nodes()
    is_plain = run.request.config.search == "none"
    if any(is_plain or node.finish_reason == "stop" for node in ended):
        return None
    message = _why_nothing_complete(run, len(ended))
    return SearchError(
        message,
        stop_reason=run.stop_reason,
        tree=partial_tree(run),
        usage=_usage(run, returned_tokens=0),
    )


def partial_tree(run: SearchRun) -> tuple[TreeNode, ...]:
    """What a search has found so far, in depth-first order."""
    return tuple(
        TreeNode(
            path=node.path,
            text=node.text,
            score=run.score(node),
            finish_reason=node.finish_reason,
            num_tokens=len(node.token_ids),
        )
        for node in run.tree
    )


def _why_nothing_complete(run: SearchRun, num_candidates: int) -> str:
    config = run.request.config
    if run.stop_reason != "complete":
        spent = f"{run.stop_reason}={getattr(config.budget, run.stop_reason)}"
        return (
            f"no candidate finished within the budget of {spent} and its grace: raise them, or "
            "look at the error's tree for what there was"
        )
    return (
        f"none of {num_candidates} candidates finished within max_tokens={config.max_tokens} and "
        f"max_depth={config.max_depth}: raise them, or check that the model ends its answers"
    )


def _candidate(run: SearchRun, node: Node, reader: AnswerReader) -> Candidate:
    assert node.finish_reason is not None
    reason: FinishReason = node.finish_reason
    text = node.path_text()
    answer, is_malformed = _answer(reader, text)
    return Candidate(
        path=node.path,
        text=text,
        steps=_steps(node),
        score=run.score(node) if run.request.uses_verifier else None,
        answer=None if answer is None else answer.text,
        is_announced=answer is None or answer.is_announced,
        finish_reason=reason,
        num_tokens=node.num_path_tokens(len(run.tree.prompt_token_ids)),
        is_malformed=is_malformed,
    )


def _answer(reader: AnswerReader, text: str) -> tuple[Answer | None, bool]:
    """The answer in a text, and whether the extractor calls it malformed."""
    try:
        answer = reader.read(text)
    except MalformedAnswer:
        return None, True
    except Exception as error:  # a user's function raises what it likes
        raise SearchError(
            f"extract={reader.name} failed on a candidate's text: {type(error).__name__}: {error}"
        ) from error
    found: object = None if answer is None else answer.text
    if found is None or isinstance(found, str):
        return answer, False
    raise SearchError(
        f"extract={reader.name} returned {found!r}, a {type(found).__name__}: return a str or None"
    )


def _steps(node: Node) -> tuple[Step, ...]:
    steps: list[Step] = []
    for one in node.lineage():
        scores_S = one.scores_S or (None,) * len(one.steps)
        steps += (Step(text=t, score=s) for t, s in zip(one.steps, scores_S, strict=True))
    return tuple(steps)


def _usage(run: SearchRun, *, returned_tokens: int) -> Usage:
    counts = run.counts
    return Usage(
        **token_counts(counts, run.tree),
        prompt_tokens=len(run.tree.prompt_token_ids),
        returned_tokens=returned_tokens,
        num_nodes=len(run.tree),
        num_iterations=counts.num_iterations,
        num_preemptions=counts.num_preemptions,
        peak_kv_cache_usage=counts.peak_kv_cache_usage,
    )


def _timings(run: SearchRun, total_s: float) -> Timings:
    return Timings(
        total_s=total_s,
        generation_s=run.counts.generation_s,
        verification_s=run.counts.verification_s,
    )


def _occupancy(run: SearchRun, num_slots: int) -> Occupancy:
    return Occupancy(
        required=tuple(run.counts.num_required),
        speculative=tuple(run.counts.num_speculative),
        plain=plain_occupancy(run.tree, num_slots),
    )
