"""The programming problems: repeatable, different, and solved by what their sentences say."""

import random
import re
import subprocess
import sys
from typing import Any

import pytest

from fasttts.demo.number_operations import EASY_WITH_NUMBERS, HARD_WITH_NUMBERS
from fasttts.demo.operations import Draws
from fasttts.demo.programs import ProgramProblem, generate_program_problems
from fasttts.demo.text_operations import EASY_WITH_TEXTS, HARD_WITH_TEXTS


@pytest.fixture(scope="module")
def problems() -> list[ProgramProblem]:
    return generate_program_problems(5, 200)


def test_problems_are_different(problems: list[ProgramProblem]) -> None:
    assert len({problem.name for problem in problems}) == 200
    steps = {re.sub(r"task_\d+", "", problem.text.partition("Examples")[0]) for problem in problems}
    assert len(steps) == 200
    assert {problem.num_operations for problem in problems} == {2, 3, 4}


def test_hidden_calls_are_others_than_those_that_are_shown(problems: list[ProgramProblem]) -> None:
    for problem in problems:
        shown, hidden = (
            [repr(call[0]) for call in calls] for calls in (problem.shown, problem.hidden)
        )
        assert len(shown) == len(set(shown)) == 3
        assert len(hidden) == len(set(hidden)) >= 8
        assert not set(shown) & set(hidden)
        assert any(not argument for (argument,), _ in problem.hidden), "an empty one"
        for (argument,), expected in (*problem.shown, *problem.hidden):
            assert problem.reference(argument) == expected
        for (argument,), expected in problem.shown:
            assert f"{problem.name}({argument!r}) == {expected!r}" in problem.text


def test_no_problem_is_solved_by_a_constant(problems: list[ProgramProblem]) -> None:
    for problem in problems:
        expected = [repr(value) for _, value in (*problem.shown, *problem.hidden)]
        assert len(set(expected)) >= 6


def test_a_longer_list_begins_with_the_shorter_one() -> None:
    def texts(seed: int, count: int) -> list[str]:
        return [problem.text for problem in generate_program_problems(seed, count)]

    assert texts(1, 50)[:20] == texts(1, 20) != texts(2, 20)


def test_problems_are_the_same_in_every_process() -> None:
    code = (
        "from fasttts.demo.programs import generate_program_problems as draw\n"
        "print([(p.text, p.shown, p.hidden) for p in draw(0, 20)])"
    )
    own = [(p.text, p.shown, p.hidden) for p in generate_program_problems(0, 20)]
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(own)


@pytest.mark.parametrize("bounds", [(0, 2), (3, 2), (1, 9)])
def test_bounds_are_checked(bounds: tuple[int, int]) -> None:
    low, high = bounds
    with pytest.raises(ValueError, match="need 1 <="):
        generate_program_problems(0, 1, min_operations=low, max_operations=high)


EDGES: dict[int, tuple[Any, ...]] = {
    0: ([], [0], [-7], [5, 5, 5], [12, -12, 0, 12]),
    1: ("", " ", "a", "aaa", "  two  spaces ", "A1 b0"),
}
ALL: tuple[tuple[int, Draws], ...] = (
    (0, EASY_WITH_NUMBERS),
    (0, HARD_WITH_NUMBERS),
    (1, EASY_WITH_TEXTS),
    (1, HARD_WITH_TEXTS),
)
TYPES = {"numbers": list, "text": str, "number": int}


def test_operations_are_defined_everywhere_and_change_no_argument() -> None:
    for edges, draws in ALL:
        for kind, functions in draws.items():
            for draw in functions:
                for seed in range(5):
                    sentence, apply = draw(random.Random(seed))
                    for value in EDGES[edges]:
                        before = repr(value)
                        assert type(apply(value)) is TYPES[kind], sentence
                        assert repr(value) == before, sentence


NUMBERS = [4, -3, 7, 7, 0, 12, -12, 9]
TEXT = "aab  Cat7 zoo2"
EXPECTED: tuple[tuple[str, Any, Any], ...] = (
    (r"Keep only the numbers x with x % 3 == 1\.", NUMBERS, [4, 7, 7]),
    (r"Remove every number below -5 or above 10\.", NUMBERS, [4, -3, 7, 7, 0, 9]),
    (r"Replace every even number by its half .* 3 times", NUMBERS, [2, -9, 21, 21, 0, 6, -6, 27]),
    (r"Remove duplicates: keep only the first", NUMBERS, [4, -3, 7, 0, 12, -12, 9]),
    (r"Remove duplicates: keep only the last", [1, 2, 1, 3, 2], [1, 3, 2]),
    (r"Sort by absolute value", NUMBERS, [0, -3, 4, 7, 7, 9, -12, 12]),
    (r"Sort by the last decimal digit", [31, 19, -28, 8, 40], [19, -28, 8, 31, 40]),
    (r"sum of all numbers up to", [1, 2, -4], [1, 3, -1]),
    (r"largest of all numbers up to", [1, 3, 2, 5], [1, 3, 3, 5]),
    (r"differences of neighbours", [1, 5, 3], [4, -2]),
    (r"blocks of 3 .* reverse", [1, 2, 3, 4, 5], [3, 2, 1, 5, 4]),
    (r"blocks of 2 .* sum", [1, 2, 3, 4, 5], [3, 7, 5]),
    (r"Move the last 2 numbers", [1, 2, 3], [2, 3, 1]),
    (r"Remove the numbers at the positions 2, 4, 6", [1, 2, 3, 4], [1, 3]),
    (r"Add to every number 2 times its position", [5, 5], [7, 9]),
    (r"Keep the first number", [3, 1, 2, 2, 5], [3, 2, 5]),
    (r"Move all multiples of 2", [2, 3, 0, 5], [3, 5, 2, 0]),
    (r"Swap the first number with the second", [1, 2, 3], [2, 1, 3]),
    (r"sum of the decimal digits", [-38, 5], [11, 5]),
    (r"second largest", [4, 4, 2], 2),
    (r"occurs most often", [3, 3, 1, 1, 2], 1),
    (r"first number minus the second", [5, 2, 1], 4),
    (r"one is negative and the other", [1, -1, -2, 0], 2),
    (r"one character for each number", [3, -1, 0], "pnz"),
    (r"reverse the letters of each word", TEXT, "baa 7taC 2ooz"),
    (r"sort them by length", "a bcd ef gh", "bcd ef gh a"),
    (r"fewer than 4 characters", TEXT, "Cat7 zoo2"),
    (r"move the first word to the end", TEXT, "Cat7 zoo2 aab"),
    (r"Swap the case", TEXT, "AAB  cAT7 ZOO2"),
    (r"d copies of '#'", "a3b0", "a###b"),
    (r"the letter 2 places later", "xyzA", "zabA"),
    (r"positions 3, 6, 9 .* capital", "ABCDEF", "abCdeF"),
    (r"directly on each other", "aabBB  c", "abB c"),
    (r"length of the run", "aab", "a2b1"),
    (r"Swap the two halves", "abcde", "decab"),
    (r"different letters", "Aab7", 2),
    (r"sum of all digits", "a12 3", 6),
    (r"positions, counted from 0, of the vowels", "bAe", [1, 2]),
    (r"places of the letters in the alphabet", "aZ1b", [1, 26, 2]),
)


@pytest.mark.parametrize(("pattern", "value", "expected"), EXPECTED, ids=str)
def test_operations_do_what_their_sentences_say(pattern: str, value: Any, expected: Any) -> None:
    drawn = (
        draw(random.Random(seed))
        for _, draws in ALL
        for functions in draws.values()
        for draw in functions
        for seed in range(100)
    )
    apply = next(apply for sentence, apply in drawn if re.search(pattern, sentence))
    assert apply(value) == expected
