"""What is drawn for values that the fake models do not produce."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console, RenderableType

from fasttts.cli import render
from fasttts.types import (
    Candidate,
    Event,
    FinishReason,
    Progress,
    SearchResult,
    Step,
    Timings,
    Usage,
)

WIDE = Console(file=io.StringIO(), width=80)


def drawn(view: RenderableType) -> str:
    screen = io.StringIO()
    Console(file=screen, width=80, highlight=False).print(view)
    return screen.getvalue()


def result(*, answer: str | None = "7", finish_reason: FinishReason = "stop") -> SearchResult:
    steps = (Step(text="[red]1 + 6 = 7.", score=0.91), Step(text="So \\boxed{7}.", score=None))
    text = "\n\n".join(step.text for step in steps)
    candidate = Candidate(
        path=(0,),
        text=text,
        steps=steps,
        score=0.91,
        answer=answer,
        finish_reason=finish_reason,
        num_tokens=20,
    )
    return SearchResult(
        text=text,
        answer=answer,
        score=0.91,
        finish_reason=finish_reason,
        candidates=(candidate,),
        usage=Usage(
            generated_tokens=1500,
            required_tokens=1300,
            returned_tokens=20,
            verifier_computed_tokens=1200,
            verifier_cached_tokens=3400,
            num_verifications=9,
        ),
        timings=Timings(total_s=2.0),
        seed=3,
        config={"search": "beam_search", "n": 16},
        generator="fake",
        verifier="fake",
    )


def progress(**changes: object) -> Progress:
    values: dict[str, object] = {
        "depth": 2,
        "num_beams": 16,
        "num_finished": 1,
        "best_text": "",
        "best_score": None,
        "generated_tokens": 1200,
        "elapsed_s": 1.5,
    }
    return Progress(**{**values, **changes})


def test_the_outcome_is_laid_out_like_this() -> None:
    lines = [line.rstrip() for line in drawn(render.outcome_view(result())).splitlines()]
    assert lines == [
        "Answer: 7",
        "",
        "  0.9100  [red]1 + 6 = 7.",
        "          So \\boxed{7}.",
        "",
        "beam_search, n=16, score 0.9100, seed 3: 2.00 s, 750 tokens/s",
        "generator: 1,500 tokens generated, 1,300 required, 20 returned",
        "verifier: fake, 1,200 tokens computed, 3,400 cached",
    ]


def test_an_answer_may_be_missing_or_cut_off() -> None:
    assert drawn(render.answer_line(result(answer=None))) == "Answer: none found\n"
    cut_off = drawn(render.answer_line(result(finish_reason="length")))
    assert cut_off == "Answer: 7 (cut off at the token limit)\n"


def test_progress_counts_on_one_line() -> None:
    line = render.counts_line(progress())
    assert line == "step 2  16 beams  1 finished  1,200 tokens  800 tokens/s"
    assert render.counts_line(progress(elapsed_s=0.0)).endswith("1,200 tokens  0 tokens/s")


def test_the_best_path_shows_its_last_lines() -> None:
    text = "\n\n".join(f"step {number} [red]" for number in range(30))
    lines = drawn(render.best_path(progress(best_text=text, best_score=0.5), WIDE)).splitlines()
    assert lines[0] == "best path so far, score 0.5000"
    assert [line.strip() for line in lines[1:]] == [f"step {n} [red]" for n in range(20, 30)]


def test_long_lines_of_the_best_path_count_as_they_wrap() -> None:
    view = render.best_path(progress(best_text="word " * 400), WIDE)
    assert len(drawn(view).splitlines()) == 1 + render.MAX_LIVE_LINES


def test_there_may_be_no_best_path_yet() -> None:
    assert drawn(render.best_path(progress(), WIDE)).strip() == ""
    unscored = drawn(render.best_path(progress(best_text="one"), WIDE))
    assert unscored.splitlines()[0] == "best path so far"


@pytest.mark.parametrize("watch", [render.follow, render.write_text])
def test_a_stream_without_a_result_is_a_bug(watch: object) -> None:
    def events() -> Iterator[Event]:
        yield progress()

    assert callable(watch)
    with pytest.raises(AssertionError, match="without a result"):
        watch(events(), Console(file=io.StringIO()))
