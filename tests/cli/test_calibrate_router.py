"""`fasttts calibrate-router` on fake models."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from fasttts import FastTTS
from fasttts.routing import Cascade, default_policy

Run = Callable[..., Result]
QUESTIONS = [{"problem": f"Question {number}: how much is it?", "answer": 7} for number in range(6)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)) + "\n\n", encoding="utf-8")
    return path


def test_the_threshold_is_kept_and_used(
    run: Run, engines: list[FastTTS], file: Path, tmp_path: Path
) -> None:
    plot, curve = tmp_path / "curve.png", tmp_path / "curve.json"
    options = ("-n", "4", "--plot", str(plot), "--json-file", str(curve), "--json")
    done = run("calibrate-router", str(file), *options)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document == json.loads(curve.read_text(encoding="utf-8"))
    assert plot.stat().st_size > 0
    assert document["curve"][-1].keys() == {"threshold", "accuracy", "tokens", "searched_share"}
    policy = default_policy("fake-generator", "fake-verifier")
    assert policy == Cascade(threshold=document["threshold"])
    assert engines[0].is_closed


def test_the_table_fits_a_terminal(run: Run, engines: list[FastTTS]) -> None:
    done = run("calibrate-router", "--num-problems", "8", "-n", "4")
    assert done.exit_code == 0, done.output
    assert "tokens/problem" in done.stdout
    assert "is kept" in done.stdout
    assert "kept in" in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("", (), "holds no problems"),
        ('{"problem": 1}', (), "line 1: '{\"problem\": 1}' is not of the form"),
        ("nonsense", (), "is not of the form"),
        ('{"problem": "a", "answer": 1}', ("--keep", "1.5"), "a share above 0"),
        ('{"problem": "a", "answer": 1}', ("--num-problems", "0"), "at least 1"),
        ('{"problem": "a", "answer": 1}', ("--plot", "curve.pdf"), "the picture is a PNG"),
    ],
)
def test_mistakes_are_reported_in_a_line(
    run: Run, file: Path, content: str, arguments: tuple[str, ...], message: str
) -> None:
    file.write_text(content, encoding="utf-8")
    done = run("calibrate-router", str(file), *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_missing_file_is_reported(run: Run) -> None:
    done = run("calibrate-router", "nowhere.jsonl")
    assert done.exit_code == 2
    assert "cannot be read" in done.stderr
