"""Makes results of finished runs: extracts answers and ranks candidates."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from fasttts.answers.canonical_json import MalformedAnswer
from fasttts.answers.extraction import Answer, AnswerReader
from fasttts.decoding.sampling import PublishedSampling
from fasttts.errors import SearchError
from fasttts.memory import MemoryPlan
from fasttts.scheduling.logprobs import text_logprobs
from fasttts.scheduling.node_lifecycle import own_steps, recorded
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.usage import plain_occupancy, token_counts
from fasttts.search.aggregation import Ranking, make_ranking
from fasttts.tree import Node
from fasttts.types import (
    Candidate,
    FinishReason,
    Numerics,
    Occupancy,
    SearchRecord,
    SearchResult,
    Step,
    Timings,
    TokenLogprob,
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
    numerics: Numerics = "default",
    plan: MemoryPlan | None = None,
    published: PublishedSampling = PublishedSampling(),  # noqa: B008, immutable
) -> SearchResult:
    """The ranked result of a finished run.

    Args:
        run: A search that has ended.
        total_s: Seconds from its submission to its end.
        num_slots: Sequences that could run together.
        generator: The generator's name.
        verifier: The verifier's; None without one.
        numerics: What the models that took part give.
        plan: How the two share the device; None where nothing was planned.
        published: The sampling that the generator's model comes with.

    Raises:
        SearchError: There is no text at all, or `extract` failed; with `on_cut="raise"` also where
            no candidate was complete. Without that, the best one that was cut off is a result with
            `finish_reason="length"` and a warning.
    """
    config = run.request.config
    ranking = _ranking(run)
    best = ranking.candidates[0]
    return SearchResult(
        text=best.text,
        answer=best.answer,
        score=best.score,
        finish_reason=best.finish_reason,
        candidates=ranking.candidates,
        usage=_usage(run, returned_tokens=best.num_tokens),
        timings=_timings(run, total_s),
        occupancy=_occupancy(run, num_slots),
        votes=ranking.votes or (),
        record=_record(run, num_slots),
        logprobs=_logprobs(run),
        seed=config.seed,
        config=config.model_dump(mode="json"),
        generator=generator,
        verifier=verifier if run.request.uses_verifier else None,
        numerics=numerics,
        plan=None if plan is None else plan.to_dict(),
        stop_reason=run.budget.stop_reason,
        warnings=_warnings(run, ranking),
        unlike_model=published.unlike(config.sampling),
    )


def _ranking(run: SearchRun) -> Ranking:
    config = run.request.config
    if (error := without_result(run)) is not None:
        raise error
    nodes = _last_nodes(run)
    with _blamed(run.beams.reader):
        run.beams.reader.look_ahead([node.path_text() for node in nodes])
    candidates = [_candidate(run, node, run.beams.reader) for node in nodes]
    assert config.selection is not None, "the engine resolves the selection"
    return make_ranking(candidates, config.selection)


def without_result(run: SearchRun) -> SearchError | None:
    """Makes the error of a finished run without a result; None where there is one."""
    if is_complete(run):
        return None
    if run.request.config.on_cut == "return" and _last_nodes(run):
        return None
    return SearchError(
        f"{_why_nothing_complete(run)}: {_remedy(run)}",
        stop_reason=run.budget.stop_reason,
        tree=partial_tree(run),
        usage=_usage(run, returned_tokens=0),
    )


def is_complete(run: SearchRun) -> bool:
    """Whether a candidate of a finished run ended by itself, or plain decoding ended at all."""
    ended = run.ended_nodes()
    is_plain = run.request.config.search == "none"
    return any(is_plain or node.finish_reason == "stop" for node in ended)


def _last_nodes(run: SearchRun) -> list[Node]:
    """The last nodes of all candidates: ended answers, else unfinished ones that have text."""
    ended = run.ended_nodes()
    if is_complete(run):
        return ended
    return [node for node in ended or run.budget.unfinished_nodes() if node.path_text().strip()]


def _warnings(run: SearchRun, ranking: Ranking) -> tuple[str, ...]:
    """Warnings of a result, each with the option to change."""
    if is_complete(run):
        is_vote = run.request.config.search != "none"
        of_vote = (ranking.warning,) if is_vote and ranking.warning is not None else ()
        return (*of_vote, *_unscored(run))
    found = f"this is the best of {len(ranking.candidates)} that were cut off"
    return (f"{_why_nothing_complete(run)}; {found}: {_remedy(run)}",)


def _unscored(run: SearchRun) -> tuple[str, ...]:
    """A warning where the deadline came before the scores of complete answers."""
    if not run.request.uses_verifier or run.budget.stop_reason != "seconds":
        return ()
    answers = [node for node in run.ended_nodes() if node.finish_reason == "stop"]
    num_unscored = sum(run.score(node) is None for node in answers)
    if not num_unscored:
        return ()
    warning = (
        f"{num_unscored} of {len(answers)} complete answers have no score, since the budget of "
        f"{run.request.config.budget.seconds:g} seconds was over first, and count as the worst: "
        "raise seconds"
    )
    return (warning,)


def partial_tree(run: SearchRun) -> tuple[TreeNode, ...]:
    """Lists the nodes of a search so far, in depth-first order.

    A finished step that nothing follows has no score: whether it was scored before it lost depends
    on what ran first.
    """
    return tuple(
        TreeNode(
            path=node.path,
            text=node.text,
            score=run.score(node) if node.children or node.is_answer_ended else None,
            finish_reason=node.finish_reason,
            num_tokens=len(node.token_ids),
        )
        for node in run.tree
    )


def _why_nothing_complete(run: SearchRun) -> str:
    config = run.request.config
    if run.budget.stop_reason != "complete":
        spent = f"{run.budget.stop_reason}={getattr(config.budget, run.budget.stop_reason)}"
        return f"no candidate finished within the budget of {spent} and its grace"
    return (
        f"none of {len(run.ended_nodes())} candidates finished within "
        f"max_tokens={config.max_tokens} and max_depth={config.max_depth}"
    )


def _remedy(run: SearchRun) -> str:
    if run.budget.stop_reason != "complete":
        return "raise them, or search less"
    return "raise them, or check that the model ends its answers"


def _candidate(run: SearchRun, node: Node, reader: AnswerReader) -> Candidate:
    reason: FinishReason = "stop" if node.finish_reason == "stop" else "length"
    text = node.path_text()
    answer, is_malformed = _answer(reader, text)
    return Candidate(
        path=node.path,
        text=text,
        steps=_steps(node),
        score=_known_score(run, node) if run.request.uses_verifier else None,
        answer=None if answer is None else answer.text,
        is_announced=answer is None or answer.is_announced,
        finish_reason=reason,
        num_tokens=node.num_path_tokens(len(run.tree.prompt_token_ids)),
        is_malformed=is_malformed,
    )


def _known_score(run: SearchRun, node: Node) -> float | None:
    """The score of a path, or of as much of it as was scored before it was cut off."""
    scores = (run.score(one) for one in reversed(node.lineage()))
    return next((score for score in scores if score is not None), None)


def _answer(reader: AnswerReader, text: str) -> tuple[Answer | None, bool]:
    """The answer in a text, and whether the extractor reports it as malformed."""
    try:
        with _blamed(reader):
            answer = reader.read(text)
    except MalformedAnswer:
        return None, True
    _check_answer(reader, None if answer is None else answer.text)
    return answer, False


@contextmanager
def _blamed(reader: AnswerReader) -> Iterator[None]:
    """Names the extractor in its errors.

    Raises:
        SearchError: It failed.
    """
    try:
        yield
    except MalformedAnswer:
        raise
    except BaseException as error:  # a user's function may raise anything
        if _is_of_the_keyboard(error):
            raise
        raise SearchError(
            f"extract={reader.name} failed on a candidate's text: {type(error).__name__}: {error}"
        ) from error


def _check_answer(reader: AnswerReader, answer: object) -> None:
    """Checks an answer of a user's function: documents can hold nothing but text."""
    try:
        if not isinstance(answer, str | None):
            raise ValueError(f"a {type(answer).__name__}")
        (answer or "").encode()
    except ValueError as error:  # half of a character is one too
        raise SearchError(
            f"extract={reader.name} returned {answer!r}, {error}: return a str or None"
        ) from error


def _is_of_the_keyboard(error: BaseException) -> bool:
    """Whether an exception is Ctrl-C, which Python raises in the main thread alone."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
    )


def _steps(node: Node) -> tuple[Step, ...]:
    steps = [step for one in node.lineage() for step in own_steps(one)]
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


def _logprobs(run: SearchRun) -> tuple[TokenLogprob, ...]:
    num_likeliest = run.request.config.num_logprobs
    if num_likeliest is None:
        return ()
    (node,) = _last_nodes(run)  # of plain decoding
    return tuple(text_logprobs(node, run.tokenizer, num_likeliest))


def _occupancy(run: SearchRun, num_slots: int) -> Occupancy:
    return Occupancy(
        required=tuple(run.counts.num_required),
        speculative=tuple(run.counts.num_speculative),
        plain=plain_occupancy(run.tree, num_slots),
    )


def _record(run: SearchRun, num_slots: int) -> SearchRecord:
    in_tree = set(run.tree)
    return SearchRecord(
        problem=run.request.problem,
        num_slots=num_slots,
        nodes=tuple(
            recorded(node, run.score(node), is_wasted=node not in in_tree)
            for node in run.recorded_nodes()
        ),
    )
