"""Makes results of finished runs: extracts answers and ranks candidates."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fasttts.answers.extraction import Extractor, MalformedAnswer, make_extractor
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
    *,
    total_s: float,
    num_slots: int,
    generator: str,
    verifier: str | None,
    plan: MemoryPlan | None = None,
) -> SearchResult:
    """The ranked result of a finished run.

    Args:
        run: A search that has ended.
        total_s: Seconds from its submission to its end.
        num_slots: Sequences that could run together.
        generator: The generator's name.
        verifier: The verifier's; None without one.
        plan: How the two share the device; None where nothing was planned.

    Raises:
        SearchError: A search ended without one complete candidate, or `extract` failed. A plain
            decoding that hit a cap is a result with `finish_reason="length"` instead.
    """
    config = run.request.config
    ranked = _ranked_candidates(run)
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
        stop_reason=run.budget.stop_reason,
    )


def _ranked_candidates(run: SearchRun) -> list[Candidate]:
    config = run.request.config
    if (error := nothing_complete(run)) is not None:
        raise error
    extractor = run.request.extract or make_extractor(config.answer)
    candidates = [_candidate(run, node, extractor) for node in run.ended_nodes()]
    assert config.selection is not None, "the engine resolves the selection"
    return rank(candidates, config.selection)


def nothing_complete(run: SearchRun) -> SearchError | None:
    """Makes the error of a finished run without a result; None where there is one."""
    ended = run.ended_nodes()
    is_plain = run.request.config.search == "none"
    if any(is_plain or node.finish_reason == "stop" for node in ended):
        return None
    message = _why_nothing_complete(run, len(ended))
    return SearchError(
        message,
        stop_reason=run.budget.stop_reason,
        tree=partial_tree(run),
        usage=_usage(run, returned_tokens=0),
    )


def partial_tree(run: SearchRun) -> tuple[TreeNode, ...]:
    """Lists the nodes of a search so far, in depth-first order."""
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
    if run.budget.stop_reason != "complete":
        spent = f"{run.budget.stop_reason}={getattr(config.budget, run.budget.stop_reason)}"
        return (
            f"no candidate finished within the budget of {spent} and its grace: raise them, or "
            "look at the error's tree for what there was"
        )
    return (
        f"none of {num_candidates} candidates finished within max_tokens={config.max_tokens} and "
        f"max_depth={config.max_depth}: raise them, or check that the model ends its answers"
    )


def _candidate(run: SearchRun, node: Node, extract: Extractor) -> Candidate:
    assert node.finish_reason is not None
    reason: FinishReason = node.finish_reason
    text = node.path_text()
    answer, is_malformed = _answer(extract, text)
    return Candidate(
        path=node.path,
        text=text,
        steps=_steps(node),
        score=run.score(node) if run.request.uses_verifier else None,
        answer=answer,
        finish_reason=reason,
        num_tokens=node.num_path_tokens(len(run.tree.prompt_token_ids)),
        is_malformed=is_malformed,
    )


def _answer(extract: Extractor, text: str) -> tuple[str | None, bool]:
    """The answer in a text, and whether the extractor reports it as malformed."""
    name = getattr(extract, "__qualname__", repr(extract))
    try:
        answer: object = extract(text)
    except MalformedAnswer:
        return None, True
    except Exception as error:  # a user's function may raise anything
        raise SearchError(
            f"extract={name} failed on a candidate's text: {type(error).__name__}: {error}"
        ) from error
    if answer is None or isinstance(answer, str):
        return answer, False
    raise SearchError(
        f"extract={name} returned {answer!r}, a {type(answer).__name__}: return a str or None"
    )


def _steps(node: Node) -> tuple[Step, ...]:
    steps: list[Step] = []
    for one in node.lineage():
        scores_S = one.scores_S or (None,) * len(one.steps)
        steps += (Step(text=t, score=s) for t, s in zip(one.steps, scores_S, strict=True))
    return tuple(_within(node.path_text(), steps) if node.num_cut_chars else steps)


def _within(text: str, steps: Sequence[Step]) -> Iterator[Step]:
    """The steps as far as a text holds them; the last one may be cut."""
    start = 0
    for step in steps:
        at = text.find(step.text, start)
        if at < 0:
            if rest := text[start:].strip():
                yield replace(step, text=rest)
            return
        yield step
        start = at + len(step.text)


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
