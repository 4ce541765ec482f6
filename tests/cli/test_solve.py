"""`fasttts solve` on fake models."""

import io
import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console
from typer.testing import Result

from fasttts import SYSTEM_PRESETS, EngineConfig, FastTTS, Progress, SearchResult, StepScored
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli import render
from fasttts.config import SearchMethod, engine_config
from fasttts.config.names import FLAGS
from fasttts.decoding.sampling import PublishedSampling
from fasttts.demo.problems import Problem
from tests.engines import OpenWith

Run = Callable[..., Result]


def test_solve_prints_answer_steps_with_scores_and_cost(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "What is 2 + 2?", "-n", "8", "--beam-width", "2")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Answer: ")
    assert any(line.startswith("  0.") for line in lines)
    assert any(line.startswith("beam_search, n=8, score 0.") for line in lines)
    assert any(line.startswith("generator: ") and "returned" in line for line in lines)
    assert any(line.startswith("verifier: ") and "cached" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert done.stderr == ""


@pytest.mark.parametrize("search", get_args(SearchMethod))
def test_solve_knows_every_search(run: Run, engines: list[FastTTS], search: str) -> None:
    done = run("solve", "What is 2 + 2?", "-n", "4", "--search", search, "--json")
    assert done.exit_code == 0, done.stderr
    assert SearchResult.from_json(done.stdout).config["search"] == search


def test_solve_bounds_thoughts_and_sets_the_template_s_switches(
    run: Run, engines: list[FastTTS]
) -> None:
    options = ["--thinking-token-budget", "7", "--option", "score_thoughts=false"]
    switches = ["--chat-template-kwargs", '{"enable_thinking": true}']
    done = run("solve", "What is 2 + 2?", "-n", "4", "--json", *options, *switches)
    assert done.exit_code == 0, done.stderr
    result = SearchResult.from_json(done.stdout)
    assert result.config["thinking_token_budget"] == 7
    assert result.config["score_thoughts"] is False
    assert result.config["chat_template_kwargs"] == {"enable_thinking": True}
    ended = [one.text.partition("\n</think>") for one in result.candidates]
    assert all(len(thought.replace("\n\n", " ")) == 7 for thought, end, _ in ended if end)


@pytest.mark.parametrize("switches", ["enable_thinking", "[1]", "1", '{"chat_template": "x"}'])
def test_what_is_no_switch_is_refused(run: Run, switches: str) -> None:
    done = run("solve", "What is 2 + 2?", "--chat-template-kwargs", switches)
    assert done.exit_code == 2
    assert "switch" in done.stderr or "--chat-template-kwargs" in done.stderr


def test_an_unknown_search_is_refused_with_a_close_one(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "What is 2 + 2?", "--search", "dvst")
    assert done.exit_code != 0
    assert "did you mean 'dvts'?" in done.stderr


def test_json_is_one_document_and_nothing_else(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "What is 2 + 2?", "-n", "4", "--seed", "7", "--json")
    assert done.exit_code == 0, done.stderr
    result = SearchResult.from_json(done.stdout)
    assert done.stdout == result.to_json() + "\n"
    assert result.seed == 7
    assert result.config["n"] == 4


def test_solve_gives_what_the_engine_gives(run: Run, engines: list[FastTTS]) -> None:
    options: dict[str, Any] = {
        "search": "best_of_n",
        "n": 4,
        "seed": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 30,
        "min_p": 0.01,
        "repetition_penalty": 1.2,
        "max_tokens": 300,
        "answer": "last_number",
        "selection": "weighted",
        "aggregation": "min",
    }
    flags = [f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}" for name in options]
    arguments = [str(part) for pair in zip(flags, options.values(), strict=True) for part in pair]
    done = run("solve", "What is 2 + 2?", *arguments, "--system", "Be brief.", "--json")
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        expected = engine.search("What is 2 + 2?", system="Be brief.", **options)
    printed = SearchResult.from_json(done.stdout)
    assert (printed.candidates, printed.config) == (expected.candidates, expected.config)


def test_the_problem_can_come_from_stdin(run: Run, engines: list[FastTTS]) -> None:
    given = run("solve", "What is 2 + 2?", "-n", "4", "--json")
    piped = run("solve", "-", "-n", "4", "--json", stdin="What is 2 + 2?\n")
    assert json.loads(piped.stdout)["candidates"] == json.loads(given.stdout)["candidates"]


def test_plain_decoding_streams_its_text(
    run: Run, engines: list[FastTTS], problems: list[Problem]
) -> None:
    done = run("solve", problems[0].text, "--search", "none")
    result = SearchResult.from_json(
        run("solve", problems[0].text, "--search", "none", "--json").stdout
    )
    assert done.stdout.startswith(result.text.rstrip() + "\n\nAnswer: ")
    assert "plain decoding" in done.stdout
    assert "verifier:" not in done.stdout


def test_models_are_loaded_by_name_and_closed(
    run: Run, engines: list[FastTTS], named: list[tuple[str, str | None]]
) -> None:
    run("solve", "2 + 2?", "-n", "4", "--generator", "some/model", "--verifier", "some/verifier")
    run("solve", "2 + 2?", "-n", "4")
    assert named == [("some/model", "some/verifier"), ("demo", "demo")]
    for engine in engines:
        with pytest.raises(Exception, match="closed"):
            engine.search("2 + 2?", n=4)


def test_brackets_in_a_problem_are_no_markup(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "[bold]What[/bold] is [/red] 2 + 2?", "-n", "4")
    assert done.exit_code == 0, done.output


def test_a_search_is_not_repeated_with_a_cache(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    solve = ("solve", "What is 2 + 2?", "-n", "4", "--cache-dir", str(tmp_path / "results"))
    first, again = run(*solve), run(*solve)
    assert "tokens/s" in first.stdout
    assert "from the cache" in again.stdout
    assert first.stdout.splitlines()[:-3] == again.stdout.splitlines()[:-3]
    assert engines[1].usage.num_searches == 0
    assert SearchResult.from_json(run(*solve, "--json").stdout).usage.is_cached


def test_progress_comes_before_anything_is_decided() -> None:
    with FastTTS(FakeGenerator(lambda prompt: "word " * 200), FakeVerifier()) as engine:
        events = engine.stream("What is 2 + 2?", n=4, max_step_tokens=1000)
        told = list(itertools.takewhile(lambda event: not isinstance(event, StepScored), events))
    tokens = [event.generated_tokens for event in told if isinstance(event, Progress)]
    assert len(tokens) > 10
    assert all(256 <= later - earlier < 512 for earlier, later in itertools.pairwise(tokens))


def test_progress_is_shown_on_a_terminal_and_cleared() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, highlight=False)
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        result = render.follow(engine.stream("What is 2 + 2?", n=8), console)
    assert result.answer is not None
    assert "searching ..." in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")


def test_progress_stays_off_pipes() -> None:
    screen = io.StringIO()
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        render.follow(engine.stream("What is 2 + 2?", n=8), Console(file=screen, width=80))
    assert screen.getvalue().strip() == ""


def test_a_preset_asks_for_a_boxed_answer(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "two", "--system", "preset:math", "-n", "4", "--json")
    named = run("solve", "two", "--system", SYSTEM_PRESETS["math"], "-n", "4", "--json")
    assert json.loads(done.stdout)["usage"]["prompt_tokens"] > 100
    assert json.loads(done.stdout)["candidates"] == json.loads(named.stdout)["candidates"]
    unknown = run("solve", "two", "--system", "preset:maths")
    assert unknown.exit_code == 2
    assert "did you mean 'math'?" in unknown.stderr


def test_warnings_are_printed_beside_the_answer(run: Run, engines: list[FastTTS]) -> None:
    cut = ("solve", "two", "-n", "4", "--max-tokens", "5")
    done, as_json = run(*cut), run(*cut, "--json")
    assert (done.exit_code, as_json.exit_code) == (0, 0)
    (warning,) = json.loads(as_json.stdout)["warnings"]
    assert "candidates finished within max_tokens=5" in warning
    assert f"warning: {warning}" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("flags", "search", "words"),
    [
        ([], "none", "this is a plain answer (-n 8 would vote)"),
        (["-n", "1"], "none", "this is a plain answer"),
        (["-n", "4"], "self_consistency", "this is a majority vote"),
        (["-n", "4", "--search", "best_of_n"], "best_of_n", None),
    ],
)
def test_without_a_verifier_the_model_answers_or_votes(
    run: Run, open_with: OpenWith, flags: list[str], search: str, words: str | None
) -> None:
    open_with(lambda settings: FastTTS(FakeGenerator()))
    done = run("solve", "What is 2 + 2?", "--generator", "some/model", *flags, "--json")
    assert done.exit_code == 0, done.stderr
    assert SearchResult.from_json(done.stdout).config["search"] == search
    told = " ".join(done.stderr.split())
    assert ("--verifier judge" in told) is (words is not None)
    assert words is None or words in told


def test_the_environment_names_a_generator_without_a_verifier(
    run: Run, open_with: OpenWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTTTS_GENERATOR", "some/model")
    open_with(lambda settings: FastTTS(FakeGenerator()))
    done = run("solve", "What is 2 + 2?")
    assert done.exit_code == 0, done.stderr
    assert "plain decoding" in done.stdout
    assert "--verifier judge" in done.stderr


def test_memory_flags_reach_the_engine(run: Run, open_with: OpenWith) -> None:
    seen: list[EngineConfig] = []

    def open_engine(settings: EngineConfig) -> FastTTS:
        seen.append(settings)
        return FastTTS(FakeGenerator())

    open_with(open_engine)
    values = {
        "dtype": "bfloat16",
        "numerics": "deterministic",
        "max_model_len": 2048,
        "max_num_seqs": 9,
        "kv_cache_memory_bytes": "2GiB",
        "gpu_memory_utilization": 0.5,
    }
    assert values.keys() == FLAGS - {"generator", "verifier", "cache_dir"}
    flags = [str(part) for name in values for part in (f"--{name}".replace("_", "-"), values[name])]
    done = run("solve", "What is 2 + 2?", "--generator", "some/model", *flags)
    assert done.exit_code == 0, done.stderr
    expected = engine_config(generator="some/model", **{**values, "kv_cache_memory_bytes": 2 << 30})
    assert seen == [expected]


def test_what_differs_from_the_model_is_told(run: Run, open_with: OpenWith) -> None:
    published = PublishedSampling(temperature=0.7, top_p=0.9)
    open_with(lambda settings: FastTTS(FakeGenerator(published_sampling=published)))
    voted = run("solve", "What is 2 + 2?", "--generator", "some/model", "-n", "4")
    assert "sampling: temperature 0.8 (the model's own: 0.7)" in voted.stdout
    plain = run("solve", "What is 2 + 2?", "--generator", "some/model")
    assert "the model's own" not in plain.stdout


def test_what_is_logged_while_models_load_is_told(run: Run, open_with: OpenWith) -> None:
    def open_engine(settings: EngineConfig) -> FastTTS:
        logging.getLogger("fasttts.backends").warning("the context is %d tokens", 64)
        return FastTTS(FakeGenerator())

    open_with(open_engine)
    done = run("solve", "What is 2 + 2?", "--generator", "some/model", "--search", "none")
    assert done.stderr == "warning: the context is 64 tokens\n"
