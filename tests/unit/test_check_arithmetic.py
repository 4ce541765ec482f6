"""The example of a verifier that checks sums."""

import pytest

from examples.check_arithmetic import checked_sums, sums_are_right
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom has 30 + 12 = 42 pens.", [True]),
        ("Tom has 30 + 12 = 41 pens.", [False]),
        ("2 + 3 * 4 = 14, 2 + 3 * 4 = 20", [True, False]),
        ("10 - 2 - 3 = 5 and 10 / 4 * 2 = 5 and 7 ÷ 2 = 3.5", [True, True, True]),
        ("3 × $4.50 = $13.50; 1,200 + 34 = 1,234", [True, True]),
        (r"\( 5 \times 3 = 15 \), \(6 \div 4 = 1.6\)", [True, False]),
        ("10 / 3 = 3.33, 10 / 3 = 3.34", [True, False]),
        ("4 - 7 = -3 and 1-2=-1", [True, True]),
        ("5 / 0 = 0", [False]),
        ("30+12=42.", [True]),
        ("0.1 + 0.2 = 0.3", [True]),
        ("(2 + 3) * 4 = 20", []),
        ("- 30 + 12 = 42\n* 1 + 1 = 3\n**2 * 2 = 4** (5 + 5 = 11)", [True, False, True, False]),
        ("So: 30 + 12 = 42, y = 3 + 4 = 7", [True, True]),
        ("2 + 3 = 5 * 4 = 20", [True]),
        ("1 + 2 = 3% of 100, 2 + 2 = 4^1", []),
        ("a1 + 2 = 4 and x - 1 + 2 = 5 and 3 apples + 2 apples = 6", []),
        ("It is 2024-11-29. No sum here = 5", []),
    ],
)
def test_equations_of_numbers_are_checked(text: str, expected: list[bool]) -> None:
    assert list(checked_sums(text)) == expected


def test_the_last_step_is_scored() -> None:
    assert sums_are_right("p", ("1 + 1 = 3", "1 + 1 = 2")) == 1.0
    assert sums_are_right("p", ("1 + 1 = 2", "1 + 1 = 2, 2 + 2 = 5")) == 0.0
    assert sums_are_right("p", ("1 + 1 = 3", "So two.")) == 0.5


@pytest.mark.parametrize("part", ["1+", "9", "1,111", "1 + 1 = ", "$-", "1" * 15 + " "])
def test_long_texts_are_read_to_their_end(part: str) -> None:
    """In a time that grows with their length; else the test's own limit ends it."""
    assert list(checked_sums(part * 20_000 + "\n1 + 1 = 2"))[-1:] == [True]


def test_a_search_takes_the_answer_with_right_sums() -> None:
    def script(prompt: str) -> str:
        return "20 + 22 = 42\n\nThe answer is 42."

    with FastTTS(FakeGenerator(script), sums_are_right) as engine:
        result = engine.search("What is 20 + 22?", search="best_of_n", n=2, aggregation="min")
    assert result.score == 0.5
    assert result.verifier == "sums_are_right"
