"""The word problems: exact, repeatable, in splits that never overlap."""

import re
import subprocess
import sys

import pytest

from fasttts.demo.problems import Problem, generate_problems, label_steps, split_of

_EQUATION = re.compile(r": (\d+) ([-+*/]) (\d+) = (\d+)\.$")
_SPLITS = ("train", "dev", "test")


def _problems(count: int = 300) -> list[Problem]:
    return [p for split in _SPLITS for p in generate_problems(split, 7, count)]


def _printed(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_every_equation_holds_and_uses_known_numbers() -> None:
    for problem in _problems():
        known = {int(n) for n in re.findall(r"\d+", problem.text)} | {2, 3, 4, 5}
        for step in problem.steps[:-1]:
            found = _EQUATION.search(step)
            assert found, step
            a, sign, b, result = int(found[1]), found[2], int(found[3]), int(found[4])
            exact = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign]
            assert exact == result
            assert {a, b} <= known
            assert 0 < result <= 9999
            known.add(result)


def test_the_last_step_boxes_the_last_result() -> None:
    for problem in _problems():
        assert problem.steps[-1] == f"The answer is \\boxed{{{problem.answer}}}."
        assert problem.steps[-2].endswith(f"= {problem.answer}.")
        assert problem.num_operations == len(problem.steps) - 1
        assert 2 <= problem.num_operations <= 8
        assert problem.text == f"{problem.facts} {problem.question}"
        assert problem.question.endswith("?")
        assert "?" not in problem.facts


def test_splits_share_no_problem_and_no_arithmetic() -> None:
    seen: dict[str, set[str]] = {}
    for split in _SPLITS:
        problems = generate_problems(split, 11, 1000)
        assert {split_of(problem.steps) for problem in problems} == {split}
        equations = [re.findall(r"\d+ [-+*/] \d+", " ".join(p.steps)) for p in problems]
        seen[split] = {p.text for p in problems} | {";".join(found) for found in equations}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["dev"]
    assert not seen["dev"] & seen["test"]


def test_problems_are_the_same_in_another_process() -> None:
    code = (
        "from fasttts.demo.problems import generate_problems as g;"
        "print([p.text for p in g('test', 5, 20)])"
    )
    texts = str([p.text for p in generate_problems("test", 5, 20)])
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == texts


def test_a_longer_list_begins_with_the_shorter_one_without_repeats() -> None:
    long = generate_problems("dev", 3, 200)
    assert long[:50] == generate_problems("dev", 3, 50)
    assert len({p.text for p in long}) == 200
    assert long != generate_problems("dev", 4, 200)


@pytest.mark.parametrize(("low", "high"), [(2, 3), (4, 8), (8, 8)])
def test_bounds_hold(low: int, high: int) -> None:
    problems = generate_problems("test", 0, 100, min_operations=low, max_operations=high)
    assert {p.num_operations for p in problems} == set(range(low, high + 1))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="split is 'exam'"):
        generate_problems("exam", 0, 1)
    for low, high in ((1, 8), (5, 4)):
        with pytest.raises(ValueError, match="operations"):
            generate_problems("test", 0, 1, min_operations=low, max_operations=high)


def test_importing_loads_neither_torch_nor_vllm() -> None:
    code = "import sys, fasttts.demo.problems; print({'torch', 'vllm'} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"


def test_the_text_varies() -> None:
    problems = generate_problems("test", 1, 500)
    words = {word.strip(".,?").lower() for p in problems for word in p.text.split()}
    assert len({word for word in words if word.isalpha()}) > 200
    assert {sign for p in problems for sign in re.findall(r" ([-+*/]) ", " ".join(p.steps))} == set(
        "+-*/"
    )
    magnitudes = {len(n) for p in problems for n in re.findall(r"\d+", p.text)}
    assert magnitudes == {1, 2, 3, 4}


PROBLEM = Problem(
    text="Tom has 10 pens. Tom buys 3 boxes of 4 pens each. How many pens does Tom have now?",
    facts="Tom has 10 pens. Tom buys 3 boxes of 4 pens each.",
    question="How many pens does Tom have now?",
    steps=(
        "Tom buys 3 boxes of 4: 3 * 4 = 12.",
        "In all: 10 + 12 = 22.",
        "The answer is \\boxed{22}.",
    ),
    answer=22,
    num_operations=2,
)
FIRST, SECOND, LAST = PROBLEM.steps


def test_exact_solutions_are_right() -> None:
    for problem in _problems(100):
        assert all(label_steps(problem, problem.steps))


@pytest.mark.parametrize(
    ("steps", "labels"),
    [
        ((FIRST,), [True]),
        (("4 * 3 = 12.", "All: 12 + 10 = 22.", LAST), [True, True, True]),
        (("Boxes: 3 * 4 = 13.", SECOND, LAST), [False, False, False]),
        ((FIRST, "In all: 10 + 13 = 23.", LAST), [True, False, False]),
        ((FIRST, "What is left: 12 - 10 = 2.", LAST), [True, False, False]),
        ((FIRST, FIRST), [True, False]),
        ((SECOND, FIRST), [False, False]),
        ((FIRST, "Twelve and ten are 22.", LAST), [True, False, False]),
        ((FIRST, SECOND, "The answer is \\boxed{21}."), [True, True, False]),
        ((FIRST, SECOND, "The answer is 22."), [True, True, False]),
        ((FIRST, SECOND, LAST, SECOND), [True, True, False, False]),
        ((), []),
    ],
)
def test_labels(steps: tuple[str, ...], labels: list[bool]) -> None:
    assert label_steps(PROBLEM, steps) == labels


def test_independent_steps_may_change_places() -> None:
    swapped = Problem(
        text="",
        facts="",
        question="",
        steps=("A: 2 * 3 = 6.", "B: 4 * 5 = 20.", "C: 6 + 20 = 26.", "The answer is \\boxed{26}."),
        answer=26,
        num_operations=3,
    )
    a, b, c, last = swapped.steps
    assert label_steps(swapped, (b, a, c, last)) == [True] * 4


def test_a_changed_digit_is_found_wherever_it_is() -> None:
    for problem in _problems(60):
        for index, step in enumerate(problem.steps):
            digit = re.search(r"\d(?=\}?\.$)", step)
            assert digit
            wrong = step[: digit.start()] + str((int(digit[0]) + 1) % 10) + step[digit.end() :]
            steps = (*problem.steps[:index], wrong, *problem.steps[index + 1 :])
            labels = label_steps(problem, steps)
            assert labels == [True] * index + [False] * (len(steps) - index)
