"""Stop strings end answers wherever they begin and end: in a step, across steps, in streams."""

import itertools
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasttts import FastTTS, Finished, PrefixDelta, SearchError, SearchResult, TextDelta
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.config import PLAIN, SearchMethod
from fasttts.decoding.reader import StopScan, find_stop
from tests.searches import UNTIMED

pytestmark = pytest.mark.usefixtures("unmeasured")

TOKENIZER = FakeTokenizer()
QUESTION = "Step one.\n\nThe answer is 5.\n\nQuestion: next?\n\nThe answer is 9."
ACTION = "Thought: look it up.\n\nAction: search\n\nObservation: nothing\n\nAnswer: 3."
CASES = [
    (QUESTION, ["\n\nQuestion:"], "Step one.\n\nThe answer is 5."),
    (QUESTION, ["5.\n\nQ"], "Step one.\n\nThe answer is "),
    (QUESTION, ["one.\n\nThe answer is 5.\n\nQuestion"], "Step "),
    (QUESTION, ["5.\n\nq", "9."], QUESTION.removesuffix("9.")),
    (QUESTION, ["Question"], "Step one.\n\nThe answer is 5.\n\n"),
    (ACTION, ["\nObservation:"], "Thought: look it up.\n\nAction: search\n"),
    (ACTION, ["\n\nObservation:", "\nAction"], "Thought: look it up.\n"),
    (ACTION, ["absent"], ACTION),
]
STEPS: list[dict[str, Any]] = [
    {},
    {"step_pattern": r"[.:?] ?\s"},
    {"step_tokens": 4},
    {"step_separator": " "},
    {"max_step_tokens": 3},
]


def answering(text: str) -> FastTTS:
    generator = FakeGenerator(lambda prompt: text)
    return FastTTS(generator, FakeVerifier(), scheduling=UNTIMED)


def expected(text: str, stop: list[str]) -> str:
    """The text before the first stop string that a token completes."""
    token_ids = TOKENIZER.encode(text)
    for count in range(1, len(token_ids) + 1):
        seen = TOKENIZER.decode(token_ids[:count])
        if (at := find_stop(seen, stop)) is not None:
            return seen[:at]
    return text


def num_tokens_until(text: str, stop: list[str]) -> int:
    """Tokens up to the one that completes the stop string."""
    token_ids = TOKENIZER.encode(text)
    counts = range(1, len(token_ids) + 1)
    seen = (find_stop(TOKENIZER.decode(token_ids[:count]), stop) for count in counts)
    return next((n for n, at in zip(counts, seen, strict=False) if at is not None), len(token_ids))


def check(result: SearchResult, text: str, stop: list[str]) -> None:
    for candidate in result.candidates:
        assert candidate.text == expected(text, stop)
        assert candidate.finish_reason == "stop"
        start = 0
        for step in candidate.steps:
            start = candidate.text.index(step.text, start) + len(step.text)
        assert candidate.text[start:].strip() == ""
        # What is behind the stop string was never part of the tree; one token may end the answer.
        assert candidate.num_tokens <= num_tokens_until(text, stop) + 1


@pytest.mark.parametrize("search", get_args(SearchMethod))
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_every_search_ends_before_the_stop_string(search: str, steps: dict[str, Any]) -> None:
    for text, stop, right in CASES:
        assert expected(text, stop) == right
        with answering(text) as engine:
            check(engine.search("?", search=search, n=4, stop=stop, **steps), text, stop)


@settings(max_examples=150)
@example(text=["a", "\n\n", "b"], stop=["a\n\nb"], search="beam_search", steps={})
@given(
    text=st.lists(st.sampled_from(["a", "b", ". ", "\n\n", "c", "\n"]), min_size=1, max_size=12),
    stop=st.lists(
        st.text(alphabet="ab.\n c", min_size=1, max_size=5), min_size=1, max_size=3, unique=True
    ),
    search=st.sampled_from(["none", "best_of_n", "beam_search", "lookahead", "dvts"]),
    steps=st.sampled_from(STEPS),
)
def test_streams_say_what_results_say(
    text: list[str], stop: list[str], search: str, steps: dict[str, Any]
) -> None:
    with answering("".join(text)) as engine:
        try:
            events = list(engine.stream("?", search=search, n=4, stop=stop, **steps))
        except SearchError:  # the depth ended all candidates
            return
        last = events[-1]
        assert isinstance(last, Finished)
        deltas = [e.text for e in events if isinstance(e, TextDelta | PrefixDelta)]
        assert "".join(deltas) == last.result.text
        if last.result.finish_reason == "stop":
            check(last.result, "".join(text), stop)


def test_a_stop_string_changes_no_schedule() -> None:
    """The same candidates with everything off, although steps behind it ran ahead."""
    found = []
    for scheduling in (PLAIN, UNTIMED):
        generator = FakeGenerator(mean_step_tokens=6)
        with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
            stop = [f"{a}\n\n{b}" for a, b in itertools.product("aeiou", "aeioulrst")]
            found.append(engine.search("a", n=16, stop=stop, max_tokens=200, seed=3).candidates)
        assert generator.num_unfinished() == 0
    assert found[0] == found[1]
    assert any(not "".join(s.text for s in one.steps).endswith(".") for one in found[0])


@given(
    st.text(alphabet="ab\n", max_size=40),
    st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), max_size=20),
    st.integers(0, 10),
)
def test_a_scan_finds_what_a_whole_search_finds(
    text: str, stop: list[str], sizes: list[int], start: int
) -> None:
    """In pieces of any size, with any part of the text before the scanned one."""
    before, rest = text[:start], text[start:]
    scan = StopScan(stop, before)
    if find_stop(before, stop) is not None:
        return  # the answer would have ended before
    seen = before
    for size in [*sizes, len(rest)]:
        piece, rest = rest[:size], rest[size:]
        seen += piece
        scan.push(piece)
        at = find_stop(seen, stop)
        assert scan.found_at == (None if at is None else at - len(before))
        if at is not None:
            return
