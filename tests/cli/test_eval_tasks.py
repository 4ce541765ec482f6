"""`fasttts eval --tasks` on fake models and local tasks."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from fasttts import FastTTS
from fasttts.backends.fake import FakeVerifier
from fasttts.types import SearchResult
from tests.engines import OpenWith
from tests.harness_tasks import STORIES, story_task
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

Run = Callable[..., Result]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A directory with the task `stories`, and others that a search cannot do."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    task = story_task(tmp_path)
    several = {
        "stories": task,
        "likely": {
            **task,
            "output_type": "multiple_choice",
            "doc_to_choice": ["1", "2"],
            "doc_to_target": 0,
        },
        "unsafe": {**task, "unsafe_code": True},
        "missing": {**task, "dataset_kwargs": {"data_files": {"test": "nowhere.jsonl"}}},
        "beams": {**task, "generation_kwargs": {"num_beams": 3}},
    }
    for name, each in several.items():
        text = yaml.safe_dump({**each, "task": name})
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def solver(run: Run, open_with: OpenWith) -> list[HermesGenerator]:
    """Lets the command line load models that solve all stories but the first."""
    made: list[HermesGenerator] = []

    def open_engine(_: object) -> FastTTS:
        made.append(HermesGenerator())
        made[-1].answers |= {p.text: f"So\n\n\\boxed{{{p.answer}}}" for p in STORIES[1:]}
        made[-1].answers[STORIES[0].text] = "\\boxed{-1}"
        return FastTTS(made[-1], FakeVerifier(), scheduling=UNTIMED)

    open_with(open_engine)
    return made


def command(tasks: Path, *more: str, names: str = "stories") -> list[str]:
    methods = ["--methods", "greedy,beam_search", "-n", "4"]
    return ["eval", "--tasks", names, "--include-path", str(tasks), *methods, *more]


def test_methods_side_by_side(run: Run, solver: list[HermesGenerator], tasks: Path) -> None:
    done = run(*command(tasks, "--json"))
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["tasks"] == ["stories"]
    scores = {score["method"]: score for score in document["scores"]}
    assert list(scores) == ["greedy", "beam_search"]
    for score in scores.values():
        assert score["value"] == pytest.approx(2 / 3)
        assert score["stderr"] == pytest.approx(1 / 3)
        assert (score["metric"], score["filter"], score["num_problems"]) == (
            "exact_match",
            "boxed",
            3,
        )
    greedy, beams = document["costs"]
    assert (greedy["requests"], greedy["errors"], greedy["verifier_tokens"]) == (3, 0, 0)
    assert beams["tokens"] > greedy["tokens"]
    assert beams["verifier_tokens"] > 0
    assert document["methods"]["beam_search"]["n"] == 4
    assert len(solver) == 1, "the models are loaded once"


def test_the_table(run: Run, solver: list[HermesGenerator], tasks: Path) -> None:
    done = run(*command(tasks))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("stories, 3 problems")
    assert "exact_match, boxed" in done.stdout
    assert "0.6667 ± 0.3333" in done.stdout
    assert "tokens/answer" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_system_message_and_a_limit(run: Run, solver: list[HermesGenerator], tasks: Path) -> None:
    done = run(*command(tasks, "--limit", "2", "--system", "Be brief.", "--json"))
    assert json.loads(done.stdout)["costs"][0]["requests"] == 2
    assert solver[0].prompts[0].startswith("system: Be brief.user: ")


def test_all_is_written(
    run: Run, solver: list[HermesGenerator], tasks: Path, tmp_path: Path
) -> None:
    file, trees = tmp_path / "all.json", tmp_path / "trees"
    more = ("--output", str(file), "--trees", str(trees))
    done = run(*command(tasks, *more))
    assert done.exit_code == 0, done.output
    document = json.loads(file.read_text(encoding="utf-8"))
    samples = document["samples"]["beam_search"]["stories"]
    assert [sample["doc_id"] for sample in samples] == [0, 1, 2]
    for sample in samples:
        (search,) = sample["searches"]
        assert search["num_candidates"] >= 1
        assert search["usage"]["generated_tokens"] > 0
    pages = sorted(path.name for path in trees.glob("*.html"))
    assert pages == ["problem-0000.html", "problem-0001.html", "problem-0002.html"]
    kept = (trees / "results" / "problem-0000.beam_search.json").read_bytes()
    assert SearchResult.from_json(kept).record.problem in {each.text for each in STORIES}
    again = run(*command(tasks, *more))
    assert again.exit_code == 2
    assert "it exists" in again.stderr


def test_errors_are_counted(run: Run, open_with: OpenWith, tasks: Path) -> None:
    open_with(lambda _: FastTTS(HermesGenerator(lambda prompt: "a" * 200), FakeVerifier()))
    done = run(*command(tasks, "--max-tokens", "50", "--option", "on_cut=raise", "--json"))
    assert done.exit_code == 0, done.output
    costs = {cost["method"]: cost["errors"] for cost in json.loads(done.stdout)["costs"]}
    assert costs == {"greedy": 0, "beam_search": 3}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ("likely", "likely compares likelihoods (multiple_choice)"),
        ("unsafe", "unsafe would run programs of the model"),
        ("missing", "--tasks missing cannot be loaded: FileNotFoundError"),
        ("storys", "there is no task 'storys': did you mean"),
        (" , ", "name a DATASET"),
    ],
)
def test_tasks_are_checked_before_models_are_loaded(
    run: Run, tasks: Path, names: str, match: str
) -> None:
    done = run(*command(tasks, names=names))
    assert done.exit_code == 2
    assert match in done.stderr


def test_options_of_a_task_that_a_search_lacks(
    run: Run, solver: list[HermesGenerator], tasks: Path
) -> None:
    done = run(*command(tasks, names="beams"))
    assert done.exit_code == 2
    assert "generation_kwargs have num_beams" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["eval"], "name a DATASET"),
        (["eval", "demo", "--tasks", "stories"], "evaluate one of the two"),
        (["eval", "--tasks", "stories", "--plot", "a.png"], "--plot is about a DATASET"),
        (["eval", "--tasks", "stories", "--own-scoring"], "--own-scoring is about a DATASET"),
        (["eval", "--tasks", "stories", "--sandbox", "none"], "--sandbox is about a DATASET"),
        (["eval", "--tasks", "a", "--verifier", "tests"], "--verifier tests is about a DATASET"),
        (["eval", "--tasks", "stories", "--min-operations", "2"], "--min-operations is about"),
        (["eval", "--tasks", "stories", "--limit", "0"], "--num-problems 0: at least 1"),
        (["eval", "--tasks", "stories", "--limit", "-1"], "--num-problems -1: at least 1"),
        (["eval", "--tasks", "stories", "--include-path", "nowhere"], "no such directory"),
        (["eval", "--tasks", "stories", "--output", "nowhere/a.json"], "no directory nowhere"),
        (["eval", "--tasks", "stories", "--methods", "serch"], "unknown method"),
    ],
)
def test_commands_that_are_refused(run: Run, arguments: list[str], match: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert match in done.stderr


def test_a_missing_harness_says_how_to_install_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    done = run("eval", "--tasks", "gsm8k")
    assert done.exit_code == 2
    assert "pip install 'fasttts[lm-eval]'" in done.stderr


def test_a_task_whose_code_fails(
    run: Run, solver: list[HermesGenerator], tasks: Path, tmp_path: Path
) -> None:
    broken: dict[str, Any] = {**story_task(tmp_path), "doc_to_target": "{{answer / 0}}"}
    (tasks / "broken.yaml").write_text(yaml.safe_dump({**broken, "task": "broken"}))
    done = run(*command(tasks, names="broken"))
    assert done.exit_code == 2
    assert "--tasks broken" in done.stderr
