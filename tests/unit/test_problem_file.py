"""Problems from files, in every layout, and what is wrong with them by line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fasttts import ConfigurationError
from fasttts.code import CodeTests
from fasttts.evaluation import Problem, load_problems, read_problems
from fasttts.evaluation.problem_file import sample
from fasttts.types import Candidate

ROWS: dict[str, tuple[dict[str, Any], Problem]] = {
    "plain": (
        {"problem": " 6 * 7? ", "answer": 42},
        Problem(id="1", text="6 * 7?", answer="42"),
    ),
    "GSM8K": (
        {"question": "How many?", "answer": "She has 1,000 + 72.\n#### 1,072"},
        Problem(id="1", text="How many?", answer="1072"),
    ),
    "MATH-500": (
        {
            "problem": "Area?",
            "solution": "so \\boxed{1}",
            "answer": "\\pi",
            "unique_id": "t/1.json",
        },
        Problem(id="t/1.json", text="Area?", answer="\\pi"),
    ),
    "MATH": (
        {"problem": "Area?", "solution": "so \\boxed{\\frac{1}{2}}.", "level": "Level 3"},
        Problem(id="1", text="Area?", answer="\\frac{1}{2}"),
    ),
    "AIME": (
        {"ID": "2024-I-1", "Problem": "Find n.", "Answer": 204},
        Problem(id="2024-I-1", text="Find n.", answer="204"),
    ),
    "HumanEval": (
        {
            "task_id": "HumanEval/0",
            "prompt": "def f(x):\n    ...\n",
            "entry_point": "f",
            "canonical_solution": "    return x\n",
            "test": "def check(candidate):\n    assert candidate(1) == 1\n",
        },
        Problem(
            id="HumanEval/0",
            text="Write this Python function, all of it:\n\n```python\ndef f(x):\n    ...\n```",
            tests=CodeTests(
                tests=("assert candidate(1) == 1",),
                names=("f",),
                setup="\n\ncandidate = f",
                prompt="def f(x):\n    ...\n",
            ),
            shown=CodeTests(
                tests=("assert callable(f)",), names=("f",), prompt="def f(x):\n    ...\n"
            ),
        ),
    ),
    "MBPP": (
        {
            "task_id": 11,
            "text": "Write f.",
            "code": "def f(x): return x",
            "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
            "test_setup_code": "import math",
            "challenge_test_list": [],
        },
        Problem(
            id="11",
            text="Write f.\nYour Python code has to pass this test:\n\nassert f(1) == 1",
            tests=CodeTests(
                tests=("assert f(1) == 1", "assert f(2) == 2"), names=("f",), setup="import math"
            ),
            shown=CodeTests(tests=("assert f(1) == 1",), names=("f",), setup="import math"),
        ),
    ),
    "tests of one's own": (
        {"problem": "Write g.", "shown_tests": ["assert g()"], "hidden_tests": ["assert g() == 1"]},
        Problem(
            id="1",
            text="Write g.",
            tests=CodeTests(tests=("assert g() == 1",), names=("g",)),
            shown=CodeTests(tests=("assert g()",), names=("g",)),
        ),
    ),
}


@pytest.mark.parametrize("layout", ROWS)
def test_layouts_are_recognised_by_their_fields(tmp_path: Path, layout: str) -> None:
    row, problem = ROWS[layout]
    file = tmp_path / "problems.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    assert read_problems(file) == (problem,)


PAIR = [{"question": "a", "answer": "1"}, {"question": "b", "answer": "2"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", "\n".join(map(json.dumps, PAIR)) + "\n\n"),
        ("p.ndjson", "\r\n".join(map(json.dumps, PAIR))),
        ("p.txt", "\ufeff" + "\n".join(map(json.dumps, PAIR))),
        ("p.json", json.dumps(PAIR, indent=2)),
        ("p.json", json.dumps({"data": PAIR})),
        ("p.json", json.dumps({"version": 1, "problems": PAIR})),
        ("p.json", "\n".join(map(json.dumps, PAIR))),
        ("p.csv", 'question,answer\na,1\n"b",2\n'),
        ("p.CSV", "\ufeffquestion,answer\r\na,1\r\nb,2\r\n"),
        ("p.jsonl.gz", "\n".join(map(json.dumps, PAIR))),
    ],
)
def test_files_of_every_kind(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / name
    data = content.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = [(problem.text, problem.answer) for problem in read_problems(file)]
    assert found == [("a", "1"), ("b", "2")]


def test_fields_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("Aufgabe,answer,Lösung\neins?,no,1\n", encoding="utf-8")
    (problem,) = read_problems(file, problem_field="Aufgabe", answer_field="Lösung")
    assert (problem.text, problem.answer) == ("eins?", "1")


def test_names_that_occur_twice_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(json.dumps({**row, "id": "same"}) for row in PAIR), encoding="utf-8")
    assert [problem.id for problem in read_problems(file)] == ["1", "2"]


def test_answers_may_be_missing_where_none_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"problem": "a"}', encoding="utf-8")
    (problem,) = read_problems(file, needs_answers=False)
    assert problem.answer is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", "", "holds no problems"),
        ("p.jsonl", '{"problem": "a", "answer": 1}\n{"answer": 2}', "line 2: the field 'problem'"),
        (
            "p.jsonl",
            '{"problem": "a", "answer": 1}\n\n{"pro',
            "line 3: '{\"pro' is not of the form",
        ),
        ("p.jsonl", "[1]", "line 1: it is no object"),
        ("p.jsonl", '{"problem": "a"}', "line 1: it has no answer (answer, final_answer"),
        ("p.jsonl", '{"problem": "a", "answer": true}', "line 1: the field 'answer' is True"),
        ("p.jsonl", '{"problem": "a", "answer": [1]}', "not a text or a number"),
        ("p.jsonl", '{"problem": " ", "answer": 1}', "line 1: the field 'problem' is ' '"),
        ("p.json", '[{"problem": "a", "answer": 1}, {"problem": 2}]', "row 2: the field 'problem'"),
        ("p.csv", "problem,answer\na,1\nb,\n", "line 3: it has no answer"),
        ("p.csv", 'problem,answer\na,"1\n', "line 2: unexpected end of data"),
        ("p.jsonl", '{"text": "a", "test_list": []}', "line 1: the field 'test_list' is []"),
        (
            "p.jsonl",
            '{"prompt": "a", "test": "b", "entry_point": "f()"}',
            "line 1: entry_point 'f()' is no name",
        ),
        ("p.jsonl.gz", "no", "cannot be read"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_problems(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_a_sample_follows_from_the_seed() -> None:
    problems = [Problem(id=str(number), text="?") for number in range(100)]
    first = sample(problems, 10, 0)
    assert first == sample(problems, 10, 0) != sample(problems, 10, 1)
    assert [int(problem.id) for problem in first] == sorted(int(problem.id) for problem in first)
    assert sample(problems, None, 0) == sample(problems, 1000, 0) == tuple(problems)


def answered(answer: str | None) -> Candidate:
    """A candidate with an answer."""
    return Candidate(
        path=(0,),
        text=answer or "",
        steps=(),
        score=None,
        answer=answer,
        is_announced=True,
        finish_reason="stop",
        num_tokens=1,
    )


def test_a_set_of_reasoning_gym_follows_from_the_seed() -> None:
    pytest.importorskip("reasoning_gym")
    found = load_problems("reasoning-gym:gsm_symbolic", count=5, seed=1)
    assert len(found.problems) == 5
    assert found.problems == load_problems("reasoning-gym:gsm_symbolic", count=5, seed=1).problems
    assert found.problems != load_problems("reasoning-gym:gsm_symbolic", count=5, seed=2).problems
    for problem in found.problems:
        answers = [answered(problem.answer), answered("-1"), answered(None)]
        assert list(found.judge.right(problem, answers)) == [True, False, False]


def test_a_set_of_reasoning_gym_may_score_answers_itself() -> None:
    pytest.importorskip("reasoning_gym")
    plain = load_problems("reasoning-gym:countdown", count=1, seed=0)
    own = load_problems("reasoning-gym:countdown", count=1, seed=0, own_scoring=True)
    (problem,) = own.problems
    assert problem.answer == "6*(98 - 54) - 34 - 66"
    other = "(98 - 54)*6 - 66 - 34"
    answers = [answered(other), answered("6 + 98"), answered("nonsense")]
    assert list(own.judge.right(problem, answers)) == [True, False, False]
    assert plain.note is not None
    assert "--own-scoring" in plain.note


def test_programs_are_drawn_by_the_seed() -> None:
    found = load_problems("programs", count=20, seed=1)
    assert found.problems == load_problems("programs", count=20, seed=1).problems
    assert found.problems != load_problems("programs", count=20, seed=2).problems
    for problem in found.problems:
        assert problem.tests is not None
        assert problem.shown is not None
        assert problem.tests.names == problem.shown.names == (problem.id,)
        assert len(problem.shown.calls()) == 3, "what programs vote by"
        assert not set(problem.shown.calls()) & set(problem.tests.calls())
    with pytest.raises(ConfigurationError, match="need 1 <="):
        load_problems("programs", min_operations=5, max_operations=4)


def test_an_unknown_set_of_reasoning_gym_is_named() -> None:
    pytest.importorskip("reasoning_gym")
    with pytest.raises(ConfigurationError, match="did you mean 'gsm_symbolic'"):
        load_problems("reasoning-gym:gsm_symbolik")


def test_reasoning_gym_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'fasttts\[reasoning-gym\]'"):
        load_problems("reasoning-gym:gsm_symbolic")
