"""Step ends on token ids, stop strings, and text that is streamed without being taken back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.backends.fake import BLANK_LINE, EOS, FakeTokenizer
from fasttts.steps import StepDetector, TextStream, find_stop, split_steps

TOKENIZER = FakeTokenizer()
TEXT = st.text(alphabet="ab \n.é", max_size=60)


def ends(text: str, separator: str = "\n\n", num_separators: int = 1) -> list[int]:
    """Where a detector that starts anew after every step end finds ends, as token counts."""
    detector, found, start = StepDetector(TOKENIZER, separator), [], 0
    token_ids = TOKENIZER.encode(text)
    for end in range(1, len(token_ids) + 1):
        if detector.is_step_end(token_ids[start:end], num_separators):
            found.append(end)
            start = end
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab\n\ncd\n\n", [3, 6]),
        ("\n\nab\n\n", [4]),  # nothing stands before the first separator
        ("ab\n", []),
        ("ab", []),
        (" \n\n \n\n", []),
    ],
)
def test_a_step_ends_at_a_separator_after_text(text: str, expected: list[int]) -> None:
    assert ends(text) == expected


def test_a_separator_may_arrive_in_several_tokens() -> None:
    token_ids = [ord("a"), ord("\n"), ord("\n")]
    detector = StepDetector(TOKENIZER, "\n\n")
    assert [detector.is_step_end(token_ids[:n], 1) for n in (1, 2, 3)] == [False, False, True]


def test_several_separators_make_one_step() -> None:
    assert ends("a\n\nb\n\nc\n\nd\n\n", num_separators=2) == [4, 8]


def test_other_separators() -> None:
    assert ends("a. b. c", separator=". ") == [3, 6]


@given(TEXT)
def test_steps_found_on_tokens_are_the_steps_of_the_text(text: str) -> None:
    token_ids = TOKENIZER.encode(text)
    bounds = [0, *ends(text), len(token_ids)]
    pieces = [TOKENIZER.decode(token_ids[i:j]) for i, j in itertools.pairwise(bounds)]
    assert tuple(p.strip() for p in pieces if p.strip()) == split_steps(text, "\n\n")


def test_find_stop_takes_the_earliest() -> None:
    assert find_stop("one two three", ["three", "two"]) == 4
    assert find_stop("one", ["two"]) is None
    assert find_stop("one", []) is None


@given(TEXT, st.lists(st.sampled_from(["a", "ab", "b.", "\n\na", "éa"]), max_size=2))
def test_streamed_text_is_the_text_before_the_stop(text: str, stop: list[str]) -> None:
    stream, deltas, token_ids = TextStream(TOKENIZER, stop), [], TOKENIZER.encode(text)
    stop_at = find_stop(text, stop)
    final = text if stop_at is None else text[:stop_at]
    for token_id in token_ids:
        deltas.append(stream.push([token_id]))
        assert final.startswith("".join(deltas))
    deltas.append(stream.finish(final))
    assert "".join(deltas) == final


def test_streaming_holds_back_no_more_than_it_must() -> None:
    stream = TextStream(TOKENIZER, ["STOP"])
    assert [stream.push([token]) for token in b"aSTxSTOPb"] == [
        "a", "", "", "STx", "", "", "", "", "",
    ]  # fmt: skip


def test_markers_are_no_text() -> None:
    assert TOKENIZER.decode([*b"a", BLANK_LINE, *b"b", EOS]) == "a\n\nb"
