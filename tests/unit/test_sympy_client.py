"""Mathematics read within limits: what is refused, what is given up, and what is read how."""

import itertools
import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fasttts.answers import sympy_client, sympy_worker
from fasttts.answers.normal_form import make_form
from fasttts.answers.sympy_client import Algebra, Description, OutOfTime, is_readable
from fasttts.answers.value_keys import description_key

Reader = Callable[[str], Description | None]

ENDLESS = r"\int \int \int e^{x^y} dx dy dz"


@pytest.fixture(scope="module")
def reader() -> Reader:
    return sympy_worker.load_reader()


@pytest.fixture(scope="module")
def worker() -> Iterator[Algebra]:
    """Shared, because a start takes seconds: whatever a test does to it, the next one goes on."""
    worker = Algebra()
    yield worker
    worker.close()


@pytest.mark.parametrize("text", ["9^9^9", "10000!", "x" * 201, "(" * 20, "2^{99999}", "a$b"])
def test_huge_texts_are_refused_unread(text: str) -> None:
    assert not is_readable(text)


@pytest.mark.parametrize("text", ["x^2+y^2+z^2+" * 4 + "1", "e^{x^2}", "2^{n+1}", "100!"])
def test_usual_texts_are_read(text: str) -> None:
    assert is_readable(text)


def test_a_worker_that_ends_is_replaced(worker: Algebra) -> None:
    with pytest.raises(OutOfTime, match="ended"):
        worker.describe(ENDLESS)
    assert worker.describe(r"\sqrt{4}") == {"kind": "number", "parts": ["2/1", "0"]}
    assert worker.describe(r"\frac{1}{") is None


def test_a_worker_that_someone_else_ends_is_asked_again(
    worker: Algebra, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = sympy_client._ask

    def killed_first(process: subprocess.Popen[bytes], line: bytes, limit_s: float) -> bytes:
        monkeypatch.setattr(sympy_client, "_ask", ask)
        process.kill()
        process.wait()
        return ask(process, line, limit_s)

    first = worker.describe("x+1")
    monkeypatch.setattr(sympy_client, "_ask", killed_first)
    assert worker.describe("x+1") == first


def test_a_worker_that_stands_still_is_given_up(
    worker: Algebra, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.describe("x+1") is not None
    monkeypatch.setattr(sympy_client, "WALL_LIMIT_S", 0.0)
    with pytest.raises(OutOfTime, match="within 0 s"):
        worker.describe("x+2")
    monkeypatch.undo()
    assert worker.describe("x+1") != worker.describe("x+2")


def test_without_a_worker_answers_are_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(sympy_client, "_WORKER", tmp_path / "missing.py")
    worker = Algebra()
    with caplog.at_level(logging.WARNING):
        assert [worker.describe("x+1"), worker.describe("x+2")] == [None, None]
    assert caplog.text.count("compared as text") == 1
    assert make_form("x+1", worker.describe).key == "text:x+1"


def test_a_child_process_leaves_the_worker_to_its_parent(worker: Algebra) -> None:
    assert worker.describe("x+1") is not None
    process = worker._process
    assert process is not None
    assert process.stdin is not None
    with os.fdopen(os.dup(process.stdin.fileno()), "wb"):
        worker.forget()
        assert process.poll() is None
        assert worker.describe("x+1") is not None
    assert process.wait(30) == 0


def test_the_worker_gives_one_description_whatever_came_before(worker: Algebra) -> None:
    texts = ["x+1", r"\frac{x^2-1}{x-1}", r"\sin^2 x+\cos^2 x", "2x+y=3", r"x^2<4"]
    other = Algebra()
    try:
        first = {text: worker.describe(text) for text in texts}
        for order in itertools.islice(itertools.permutations(texts), 0, 120, 40):
            assert {text: other.describe(text) for text in order} == first
    finally:
        other.close()


def test_the_worker_needs_nothing_of_fasttts() -> None:
    source = Path(sympy_worker.__file__).read_text(encoding="utf-8")
    assert "import fasttts" not in source
    assert "from fasttts" not in source


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (r"\sqrt{2}", "1.414214"),
        ("3^{50}", str(3**50)),
        ("2^{700}", f"{2**700}/1"),
        ("3+4i", "3 + 4i"),
        (r"\infty", "infinity"),
        (r"-\infty", "-infinity"),
        (r"\sin^2 x + \cos^2 x", "1"),
        (r"[1,2)\cup[2,3]", "[1, 3]"),
        (r"(1,2)\cup(3,4)", "union: (1, 2), (3, 4)"),
        (r"\mathbb{R}\setminus\{0\}", "union: (-infinity, 0), (0, infinity)"),
        (r"\emptyset", "{}"),
        (r"\mathbb{Z}", "opaque:Integers"),
        (r"\{2, 1, 1\}", "{1, 2}"),
        ("(1, 2, 3)", "(1, 2, 3)"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "matrix[2, 1]: 1, 2"),
        ("0 < x < 2", "(0, 2)"),
        ("x > 3", "(3, infinity)"),
        ("f(x) = x^2", "opaque:Eq(f(x), x**2)"),
        ("x^{10^{50}}", f"opaque:x**{10**50}"),
        (r"\frac{1}{0}", None),
        (r"\frac{1}{", None),
        ("", None),
    ],
)
def test_what_the_worker_makes_of_a_text(reader: Reader, text: str, key: str | None) -> None:
    """In this process, so that a failure shows where; none of these needs a limit."""
    description = sympy_worker.describe_any(reader, text)
    found = description and description_key(json.loads(json.dumps(description)))
    assert found == key


@pytest.mark.parametrize(
    ("left", "right"),
    [("2x + y = 3", "6 - 4x = 2y"), ("x < y", "2y > 2x"), (r"x \ne 3", r"2x \ne 6"), ("xy", "yx")],
)
def test_values_at_fixed_points_tell_what_is_equal(reader: Reader, left: str, right: str) -> None:
    one, other = (description_key(reader(text) or {}) for text in (left, right))
    assert one == other
    assert one != description_key(reader(left + "+1") or {})
