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
        Problem(id="1", text="How many?", answer="1,072"),
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
        ("p.jsonl", '{"problem": "a", "answer": NaN}', "line 1: it has no answer"),
        ("p.json", '[{"problem": "a", "answer": -Infinity}]', "row 1: it has no answer"),
        ("p.jsonl", '{"problem": "a", "target": 1e999}', "line 1: it has no answer"),
        ("p.jsonl", '{"problem": NaN, "answer": 1}', "line 1: the field 'problem' is None"),
        ("p.jsonl", '{"problem": "a", "answer": 1, "Answer": 2}', "the field 'answer' twice"),
        ("p.jsonl", '{"problem": "a", "answer": 1, "answer": 2}', "two fields of one name"),
        ("p.json", '[\n{"text": "a", "text": "b", "answer": 2}]', "row 1: it has two fields"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_problems(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "problem,answer\nTom has 3 pens, and buys 2. How many?,5\n",
            "line 2: the row has 3 cells, and the header 2: put texts that contain commas in",
        ),
        (
            'id,problem,answer\n1,a,2\n2,"b\n",5,,x\n',
            "line 4: the row has 5 cells, and the header 3",
        ),
        ("problem,answer,\nOne, two?,5\n", "line 2: the row has 3 cells, and the header 2"),
        ("problem,answer\na,b,,0\n", "line 2: the row has 4 cells, and the header 2"),
        ("problem,answer,answer\na,1,2\n", "line 1: the header has 'answer' twice"),
        ("Problem,problem,answer\na,b,2\n", "line 1: the header has 'problem' twice"),
        ('\n\nid,"x\ny",id\na,b,c\n', "line 4: the header has 'id' twice"),
    ],
)
def test_cells_of_csv_that_no_column_is_for_are_refused(
    tmp_path: Path, rows: str, message: str
) -> None:
    file = tmp_path / "p.csv"
    file.write_text(rows, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_problems(file)
    assert f"{file}, {message}" in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        'problem,answer\n"a, b",1\n',
        'problem,answer\n"a, b",1,, \n',
        'problem,answer,,\n"a, b",1,,\n',
        ',problem,answer\n0,"a, b",1\n',
        ',problem,,answer\n0,"a, b",,1\n',
        'problem,answer,hint\n"a, b",1\n',
        '\nproblem,answer\n\n"a, b",1\n',
    ],
)
def test_empty_and_missing_cells_of_csv_are_none(tmp_path: Path, rows: str) -> None:
    file = tmp_path / "p.csv"
    file.write_text(rows, encoding="utf-8")
    assert [(each.text, each.answer) for each in read_problems(file)] == [("a, b", "1")]


def test_a_text_of_csv_is_an_answer_whatever_it_says(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text("problem,answer\na,nan\nb,inf\n", encoding="utf-8")
    assert [problem.answer for problem in read_problems(file)] == ["nan", "inf"]


def test_a_number_that_is_none_is_a_missing_answer(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"problem": "a", "answer": NaN, "solution": "\\\\boxed{3}"}')
    assert read_problems(file)[0].answer == "3"
    file.write_text('{"problem": "a", "answer": Infinity}')
    assert read_problems(file, needs_answers=False)[0].answer is None


DIGITS = "1" * 5000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "p.json",
            '[\n  {"problem": "a", "answer": 1},\n]',
            ", line 3: it cannot be read as JSON: Expecting value: column 1",
        ),
        (
            "p.json",
            '{\n "data": [\n  {"problem": "a" "answer": 1}]\n}',
            ", line 3: it cannot be read as JSON: Expecting ',' delimiter: column 19",
        ),
        ("p.json", '[{"problem": "a", "answer": 1}', ", line 1: it cannot be read as JSON: Expect"),
        ("p.txt", '{"problem": "a",\n"answer": 1,}', ", line 2: it cannot be read as JSON: "),
        (
            "p.json",
            '{"problem": "a", "answer": 1}\n{"problem": 1',
            ", line 2: '{\"problem\": 1' is not of the form",
        ),
        (
            "p.json",
            f'[\n{{"problem": "a", "answer": {DIGITS}}}]',
            ": it cannot be read as JSON: Exc",
        ),
        ("p.json", "[" * 100_000, ": it cannot be read as JSON: nested too deeply to be read"),
        ("p.json", '{\n"problem": "a", "answer": 1}', " is a JSON document without a list"),
        ("p.json", '{"data":\n{"train": []}}', " is a JSON document without a list"),
    ],
)
def test_errors_of_documents_are_where_they_are(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_problems(file)
    assert f"{file}{message}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"problem": "a", "answer": 1,}', "Expecting property name enclosed in double quotes"),
        ('{"problem": "a', "Unterminated string starting at: column 13"),
        (f'{{"problem": "a", "answer": {DIGITS}}}', "Exceeds the limit (4300 digits)"),
        ("[" * 100_000, "nested too deeply to be read"),
    ],
)
def test_errors_of_lines_say_what_the_decoder_says(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(f'{{"problem": "a", "answer": 1}}\n{line}\n', encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_problems(file)
    assert f"{file}, line 2: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_compressed_file_that_is_broken_inside_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl.gz"
    data = bytearray(gzip.compress(b'{"problem": "a", "answer": 1}'))
    data[10:14] = b"\xff" * 4
    file.write_bytes(data)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_problems(file)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "p.jsonl",
            {"min_operations": 3},
            "--min-operations is about demo and programs, so it does not go with DATASET 'p.jsonl'",
        ),
        ("p.csv", {"max_operations": 0}, "--max-operations is about demo and programs, so"),
        ("p.json", {"own_scoring": True}, "--own-scoring is about reasoning-gym:NAME, so"),
        ("demo", {"own_scoring": True}, "so it does not go with DATASET 'demo'"),
        ("demo", {"problem_field": "x"}, "--problem-field is about a file, so it does not go with"),
        ("programs", {"answer_field": ""}, "--answer-field is about a file, so it does not go"),
        ("programs", {"own_scoring": True}, "--own-scoring is about reasoning-gym:NAME, so"),
        ("reasoning-gym:gsm_symbolic", {"answer_field": "x"}, "--answer-field is about a file"),
        ("reasoning-gym:gsm_symbolic", {"min_operations": 2}, "--min-operations is about demo and"),
        ("nothing", {"min_operations": 2}, "unknown data set 'nothing'"),
    ],
)
def test_options_that_are_about_other_sets_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load_problems(name, **options)
    assert message in str(caught.value)


def test_options_go_with_the_sets_that_they_are_about(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"q": "a", "a": 1}', encoding="utf-8")
    (problem,) = load_problems(str(file), problem_field="q", answer_field="A").problems
    assert (problem.text, problem.answer) == ("a", "1")
    assert load_problems("programs", count=1, min_operations=3, max_operations=3).problems
    assert load_problems("demo", count=1, min_operations=3, max_operations=3).problems


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
