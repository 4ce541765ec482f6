"""Every example as a user starts it, on the bundled models, which are loaded once for all."""

import contextlib
import csv
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fasttts import EngineConfig, FastTTS
from fasttts.config import engine_config
from fasttts.memory import find_shape, named_device, plan_engines
from tests.engines import OpenWith

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(
    demo_engine: FastTTS,
    open_with: OpenWith,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs an example as a program and returns what it prints; it is lent the loaded engine."""

    @contextlib.contextmanager
    def lent(config: EngineConfig) -> Iterator[FastTTS]:
        assert config == engine_config()
        yield demo_engine

    open_with(lent)

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.vllm
def test_the_langchain_agent(run: Run) -> None:
    short, doubtful, long = run("langchain_agent.py").strip().split("\n\n")
    for printed, answer, calls in (
        (short, 564, ["plain"]),
        (doubtful, 256, ["deliberated"]),
        (long, 342, ["plain", "tool", "plain"]),
    ):
        said, costs = printed.split("\nwhat it took:\n")
        assert said.endswith(f"The answer is \\boxed{{{answer}}}.")
        assert [line.split()[0] for line in costs.splitlines()] == calls
        assert "tokens (" in costs
    assert "model calls: deliberate({'problem': 'Nina has 45 eggs." in long
    assert "deliberate (16 candidates, score" in long


@pytest.mark.vllm
def test_the_langgraph_cascade(run: Run) -> None:
    easy, hard = run("langgraph_cascade.py").strip().split("\n\n")
    assert "plain: score" in easy
    assert "deliberate" not in easy
    assert "\\boxed{564}" in easy
    draft, answer = hard.split("  deliberate: score")
    assert "plain: score 0." in draft
    assert "\\boxed{66}" in answer


@pytest.mark.vllm
@pytest.mark.usefixtures("main_thread_loop")
def test_the_llama_index_agent(run: Run) -> None:
    short, long = run("llamaindex_agent.py").strip().split("\n\n")
    assert re.search(r"The answer is \\boxed\{564}\.\n  \d+ tokens in all$", short)
    assert "deliberate" not in short
    assert "  deliberate, score 0.9" in long or "  deliberate, score 1.0" in long
    assert re.search(r"The answer is \\boxed\{342}\.\n  [\d,]+ tokens in all$", long)


@pytest.mark.vllm
@pytest.mark.usefixtures("main_thread_loop")
def test_the_llama_index_query_engine(run: Run) -> None:
    answers = run("llamaindex_query_engine.py").strip().split("\n\n")
    for answer, found, file in zip(
        answers, ("28", "2405", "125"), ("pencils", "marbles", "buttons"), strict=True
    ):
        assert f"The answer is \\boxed{{{found}}}.\n  from {file}.txt (BM25 " in answer
        assert re.search(r"\n  [\d,]+ tokens$", answer)


@pytest.mark.vllm
@pytest.mark.slow
def test_the_evaluation_of_a_file(run: Run, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    printed = run("evaluate_csv.py", str(EXAMPLES / "problems.csv"), str(results))
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines] == ["none", "best_of_n", "beam_search"]
    num_right = [int(line.split()[1]) for line in lines]
    assert num_right[0] < num_right[2] <= 8
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    for search, count in zip(("none", "best_of_n", "beam_search"), num_right, strict=True):
        right = [row for row in rows if row["search"] == search and row["is_right"] == "True"]
        assert len(right) == count
        assert all(int(row["generated_tokens"]) > 0 for row in right)


def test_the_models_of_the_gpu_example_fit_and_their_options_work(engine: FastTTS) -> None:
    example: dict[str, Any] = runpy.run_path(str(EXAMPLES / "langchain_agent_gpu.py"))
    settings = EngineConfig(**example["ENGINE"])
    assert settings.verifier is not None
    shapes = find_shape(settings.generator), find_shape(settings.verifier)
    plan = plan_engines(settings, named_device("rtx-4090"), *shapes)
    assert plan.kind == "side_by_side"
    example["build"](engine)
