"""Step ends on token ids, stop strings, and text that is streamed without being taken back."""

import itertools
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.backends.fake import BLANK_LINE, EOS, FakeTokenizer
from fasttts.decoding.reader import ReadingRules, find_stop
from fasttts.decoding.steps import StepRule, StepScan
from fasttts.streaming.text_stream import TextStream

TOKENIZER = FakeTokenizer()
TEXT = st.text(alphabet="ab \n.é", max_size=60)
MARKED = st.lists(
    st.sampled_from(["a", "b.", " ", "\n", "\n\n", "```", "\n```\n", "<think>", "</think>"]),
    max_size=20,
).map("".join)


def ends(
    text: str, separator: str = "\n\n", num_steps: int = 1, rule: StepRule | None = None
) -> list[int]:
    """Where nodes that are cut at every step end would end, as token counts."""
    rules = ReadingRules(TOKENIZER, rule or StepRule(separator=separator))
    token_ids, found, start, reader = TOKENIZER.encode(text), [], 0, rules.reader("")
    for end in range(1, len(token_ids) + 1):
        if rules.may_end(token_ids[end - 1]):
            reader.read(token_ids[start:end])
        if rules.has_steps(token_ids[start:end], num_steps, reader):
            found.append(end)
            start, reader = end, rules.reader(TOKENIZER.decode(token_ids[:end]))
    return found


def split(text: str, rule: StepRule) -> tuple[str, ...]:
    return ReadingRules(TOKENIZER, rule).split(TOKENIZER.encode(text), text)


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
    reader = ReadingRules(TOKENIZER, StepRule()).reader("")
    for n, num_steps in ((1, 0), (2, 0), (3, 1)):
        reader.read(token_ids[:n])
        assert reader.num_steps == num_steps


def test_a_separator_may_end_with_a_character_of_several_tokens() -> None:
    assert ends("ab。cd。", separator="。") == [5, 10]


def test_several_separators_make_one_node() -> None:
    assert ends("a\n\nb\n\nc\n\nd\n\n", num_steps=2) == [4, 8]


def test_a_separator_belongs_to_its_step() -> None:
    assert ends("a. b. c", separator=". ") == [3, 6]
    assert split("a. b. c", StepRule(separator=". ")) == ("a.", "b.", "c")


def test_what_the_last_token_brings_beyond_the_end_belongs_to_the_last_step() -> None:
    cutter = ReadingRules(TOKENIZER, StepRule(separator=". "))
    token_ids = TOKENIZER.encode("a. b. The")
    assert cutter.split(token_ids, "a. b. The", num_steps=2) == ("a.", "b. The")
    assert cutter.split(token_ids, "a. b. The", num_steps=1) == ("a. b. The",)


def test_a_pattern_ends_steps() -> None:
    rule = StepRule(pattern=r"[.!?]\s|\n\n")
    assert split("One. Two!\nThree\n\n4.5", rule) == ("One.", "Two!", "Three", "4.5")
    assert ends("One. Two!\n", rule=rule) == [5, 10]


def test_steps_of_tokens_are_cut_wherever_they_reach() -> None:
    rule = StepRule(num_tokens=4)
    assert ends("abcdefghij", rule=rule) == [4, 8]
    assert ends("abcdefghij", rule=rule, num_steps=2) == [8]
    assert split("abcdefghij", rule) == ("abcd", "efgh", "ij")
    assert split("abcd", rule) == ("abcd",)
    assert split("abc\u00e9fg", rule) == ("abc", "\u00e9fg")  # a character is not cut


CODE = "Run:\n\n```python\nx = 1\n\n\nprint(x)\n```\n\nDone\n\n"


def test_code_between_fences_is_not_cut() -> None:
    assert split(CODE, StepRule()) == (
        "Run:", "```python\nx = 1\n\n\nprint(x)\n```", "Done"
    )  # fmt: skip
    assert len(split(CODE, StepRule(keeps_code=False))) == 4
    assert split("a\n\n~~~\n```\n\nb\n~~~\n\nc", StepRule())[1:] == ("~~~\n```\n\nb\n~~~", "c")
    assert split("a\n\n```\nb\n\nc", StepRule()) == ("a", "```\nb\n\nc")  # never closed


def test_a_node_that_was_cut_inside_code_goes_on_inside_it() -> None:
    for before, num_steps in (("```\na\n\nb", 0), ("```\na\n```\n\n", 1)):
        scan = StepScan(StepRule(), before)
        scan.push("x\n\n")
        assert len(scan.ends) == num_steps


THOUGHTS = "<think>\nOne\n\nTwo\n</think>\n\nThe answer\n\nis 3."


@pytest.mark.parametrize("text", [THOUGHTS, THOUGHTS.removeprefix("<think>\n")])
def test_thoughts_are_steps_and_the_answer_is_one(text: str) -> None:
    rule = StepRule(has_thinking=True)
    assert split(text, rule) == ("One", "Two", "The answer\n\nis 3.")
    assert len(ends(text, rule=rule)) == 2
    assert split("One\n\n</think>\n\n3", rule) == ("One", "3")
    assert split("no thoughts\n\nat all", rule) == ("no thoughts", "at all")
    assert split("One\n\nTwo", StepRule(has_thinking=True, separator="x")) == ("One\n\nTwo",)


RULES = [
    StepRule(),
    StepRule(separator=". "),
    StepRule(keeps_code=False),
    StepRule(pattern=r"\n\n|[.]\s"),
    StepRule(num_tokens=5),
    StepRule(has_thinking=True),
]


@given(MARKED, st.sampled_from(RULES), st.integers(1, 3))
def test_steps_found_on_tokens_are_the_steps_of_the_text(
    text: str, rule: StepRule, num_steps: int
) -> None:
    token_ids, cutter = TOKENIZER.encode(text), ReadingRules(TOKENIZER, rule)
    bounds = [0, *ends(text, rule=rule, num_steps=num_steps), len(token_ids)]
    found: list[str] = []
    for i, j in itertools.pairwise(bounds):
        piece = TOKENIZER.decode(token_ids[i:j])
        before = partial(TOKENIZER.decode, token_ids[:i])
        found += cutter.split(token_ids[i:j], piece, num_steps, before)
    assert tuple(found) == cutter.split(token_ids, text)


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
