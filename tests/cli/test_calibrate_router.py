"""`fasttts calibrate-router` on fake models."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import SYSTEM_PRESETS, EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier, Script
from fasttts.routing import Cascade, Never, default_policy
from tests.engines import OpenWith
from tests.searches import UNTIMED

Run = Callable[..., Result]
NUM_PROBLEMS = 60
QUESTIONS = [
    {"problem": f"Question {number}: how much is it?", "answer": 7}
    for number in range(NUM_PROBLEMS)
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)) + "\n\n", encoding="utf-8")
    return path


LoadWith = Callable[..., list[FastTTS]]


@pytest.fixture
def load_with(run: Run, open_with: OpenWith) -> LoadWith:
    """Lets the command line load a fake generator with a verifier; the engines it was given."""

    def load_with(verifier: Any, script: Script | None = None) -> list[FastTTS]:
        engines: list[FastTTS] = []

        def open_engine(settings: EngineConfig) -> FastTTS:
            engines.append(FastTTS(FakeGenerator(script), verifier, scheduling=UNTIMED))
            return engines[-1]

        open_with(open_engine)
        return engines

    return load_with


def sees_the_answer(problem: str, steps: Sequence[str]) -> float:
    return 1.0 if any("boxed{7}" in step for step in steps) else 0.25


def always_right(prompt: str) -> str:
    return r"It is \boxed{7}."


def test_the_threshold_is_kept_and_used(
    run: Run, load_with: LoadWith, file: Path, tmp_path: Path
) -> None:
    engines = load_with(sees_the_answer)
    plot, curve = tmp_path / "curve.png", tmp_path / "curve.json"
    options = ("-n", "8", "--plot", str(plot), "--json-file", str(curve), "--json")
    done = run("calibrate-router", str(file), *options)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document == json.loads(curve.read_text(encoding="utf-8"))
    assert plot.stat().st_size > 0
    assert document["curve"][-1].keys() == {"threshold", "accuracy", "tokens", "searched_share"}
    gain = document["gain"]
    assert (gain["num_problems"], gain["verdict"]) == (NUM_PROBLEMS, "better")
    assert gain["interval"][0] > 0
    assert "warning" not in done.stderr
    (engine,) = engines
    policy = default_policy(engine.generator_name, engine.verifier_name)
    assert policy == Cascade(threshold=document["threshold"])
    assert engine.is_closed


def test_where_search_does_not_help_that_is_kept(run: Run, load_with: LoadWith, file: Path) -> None:
    engines = load_with(sees_the_answer, always_right)
    done = run("calibrate-router", str(file), "-n", "4")
    assert done.exit_code == 0, done.output
    assert "search='auto' will not search" in done.stderr
    assert "--system" not in done.stderr
    policy = default_policy(engines[0].generator_name, engines[0].verifier_name)
    assert isinstance(policy, Never)
    assert "on 60 problems search solved 60 and the draft 60" in policy.reason


def test_where_no_answer_is_right_the_options_for_answers_are_named(
    run: Run, load_with: LoadWith, file: Path, cache: Path
) -> None:
    load_with(sees_the_answer, lambda prompt: "I do not know.")
    done = run("calibrate-router", str(file), "-n", "4")
    assert done.exit_code == 2
    assert "none of 60 problems was solved" in done.stderr
    bundled = run("calibrate-router", "--num-problems", "30", "-n", "4")
    assert "none of 30 problems was solved" in bundled.stderr
    assert not cache.exists()
    for option in ("--max-tokens", "--answer", "--system"):
        assert option in done.stderr


def test_too_few_problems_to_tell_are_refused(
    run: Run, load_with: LoadWith, file: Path, cache: Path
) -> None:
    load_with(FakeVerifier())
    done = run("calibrate-router", str(file), "-n", "4")
    assert done.exit_code == 2
    assert "tokens/problem" in done.stdout, "what was found is shown"
    assert "too few to tell" in done.stderr
    assert "problems would tell (FILE, --num-problems). Nothing is kept" in done.stderr
    assert not cache.exists()


def test_options_of_answers_reach_draft_and_search(
    run: Run, load_with: LoadWith, file: Path
) -> None:
    asked: list[str] = []

    def script(prompt: str) -> str:
        asked.append(prompt)
        return "7 it is, I think, though there is a lot more to say about it than this"

    load_with(sees_the_answer, script)
    options = ("--max-tokens", "5", "--answer", "text", "--system", "preset:math", "--json")
    done = run("calibrate-router", str(file), "-n", "4", *options)
    assert all(SYSTEM_PRESETS["math"] in prompt for prompt in asked)
    document = json.loads(done.stdout)
    assert document["curve"][0]["searched_share"] == 1.0, "no draft ends within 5 tokens"
    load_with(sees_the_answer, lambda prompt: "7")
    done = run("calibrate-router", str(file), "-n", "4", "--answer", "text", "--json")
    assert json.loads(done.stdout)["gain"]["num_draft_right"] == NUM_PROBLEMS


def test_the_table_fits_a_terminal(run: Run, load_with: LoadWith, file: Path) -> None:
    load_with(sees_the_answer, always_right)
    done = run("calibrate-router", str(file), "-n", "4")
    assert done.exit_code == 0, done.output
    assert "tokens/problem" in done.stdout
    assert "is chosen" in done.stdout
    assert "kept in" in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("", (), "holds no problems"),
        ('{"problem": "1 + 1?", "answer": "2"}\n', (), "holds 1 problems: a threshold takes"),
        ('{"problem": "a", "answer": 1}', (), "holds 1 problems: a threshold takes at least 30"),
        ('{"problem": 1}', (), "line 1: the field 'problem' is 1, not a text"),
        ("nonsense", (), "is not of the form"),
        ('{"problem": "a", "answer": 1}', ("--keep", "1.5"), "a share above 0"),
        ('{"problem": "a", "answer": 1}', ("--num-problems", "9"), "at least 30 problems"),
        ('{"problem": "a", "answer": 1}\n' * 30, ("--answer", "nowhere"), "answer='nowhere'"),
        ('{"problem": "a", "answer": 1}\n' * 30, ("--system", "preset:maths"), "preset:maths"),
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
