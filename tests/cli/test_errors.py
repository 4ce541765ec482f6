"""Help, versions, exit codes and errors of the command line."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import BackendError, EngineConfig, FastTTS, __version__
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli import main
from tests.engines import OpenEngine, OpenWith

Run = Callable[..., Result]
SOLVE = ("solve", "What is 2 + 2?")
WITHOUT = (*SOLVE, "--generator", "some/model")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["solve", "eval", "--version"]),
        (["--help"], ["solve", "eval", "--version"]),
        (["solve", "--help"], ["--search", "--json", "16 by default", "none, best_of_n"]),
        (["eval", "--help"], ["--num-problems", "100 of what", "'demo'"]),
    ],
)
def test_help_reads_well_at_80_columns(run: Run, arguments: list[str], words: list[str]) -> None:
    done = run(*arguments)
    assert done.exit_code == 0
    assert [word for word in words if word not in done.stdout] == []
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_every_command_is_summed_up_in_a_whole_sentence(run: Run) -> None:
    _, _, commands = run("--help").stdout.partition("Commands:\n")
    assert [line for line in commands.splitlines() if not line.endswith(".")] == []
    assert "..." not in commands


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"fasttts {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", ""], "the problem is empty"),
        (["solve", " \n"], "the problem is empty"),
        (["solve", "-"], "the problem is empty"),
        ([*SOLVE, "--search", "mcts"], "search='mcts'"),
        ([*SOLVE, "-n", "10"], "n=10 is not a multiple of beam_width=4: try n=8"),
        ([*SOLVE, "-n", "0"], "n=0"),
        ([*SOLVE, "--temperature", "-1"], "temperature=-1.0"),
        ([*SOLVE, "--max-tokens", "0"], "max_tokens=0"),
        ([*SOLVE, "--seed", "-1"], "seed=-1"),
        ([*SOLVE, "--top-p", "0"], "top_p=0"),
        ([*SOLVE, "--top-k", "-1"], "top_k=-1"),
        ([*SOLVE, "--min-p", "2"], "min_p=2"),
        ([*SOLVE, "--repetition-penalty", "0"], "repetition_penalty=0"),
        ([*SOLVE, "--max-model-len", "1"], "(--max-model-len, FASTTTS_MAX_MODEL_LEN)"),
        ([*SOLVE, "--max-num-seqs", "0"], "(--max-num-seqs, FASTTTS_MAX_NUM_SEQS)"),
        ([*SOLVE, "--dtype", "int3"], "(--dtype, FASTTTS_DTYPE)"),
        ([*SOLVE, "--gpu-memory-utilization", "2"], "FASTTTS_GPU_MEMORY_UTILIZATION)"),
        ([*SOLVE, "--kv-cache-memory-bytes", "much"], "for example 24GiB"),
        ([*SOLVE, "--kv-cache-memory-bytes", "1KiB"], "FASTTTS_KV_CACHE_MEMORY_BYTES)"),
        ([*WITHOUT, "--search", "dvts"], "needs a verifier: load the engine with verifier"),
        ([*WITHOUT, "--search", "dvts"], "(--verifier, FASTTTS_VERIFIER), for example 'judge'"),
        ([*SOLVE, "--generator", ""], "generator=''"),
        (["eval", "demo", "--generator", "some/model"], "needs a verifier"),
        (["eval", "gsm8k"], "unknown data set 'gsm8k': use demo, programs, reasoning-gym:NAME"),
        (["eval", "demo", "--search", "mcts"], "unknown method 'mcts': use greedy, majority"),
        (["eval", "demo", "-n", "10"], "n=10 is not a multiple of beam_width=4"),
        (["eval", "demo", "--num-problems", "0"], "at least 1"),
        (["eval", "demo", "--min-operations", "9"], "min_operations=9"),
        (["eval", "demo", "--min-operations", "1"], "min_operations=1"),
    ],
)
def test_a_bad_input_is_one_line_before_models_are_loaded(
    run: Run, arguments: list[str], message: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("fasttts: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_variable_that_cannot_be_read_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTTTS_GENERATOR_ARGS", "nope")
    done = run(*SOLVE)
    assert done.exit_code == 2
    assert done.stderr.startswith("fasttts: FASTTTS_GENERATOR_ARGS must be a JSON object")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["solve"], ["solve", "a", "b"], ["solve", "a", "-n", "x"], ["solv"]]
)
def test_wrong_usage_is_explained(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr


def test_bytes_that_are_no_text_are_refused(run: Run) -> None:
    done = run("solve", "-", stdin=b"\xff\xfe")
    assert done.exit_code == 2
    assert done.stderr.startswith("fasttts: the problem is not UTF-8 text")


def failing(error: BaseException) -> OpenEngine:
    def open_engine(settings: EngineConfig) -> FastTTS:
        raise error

    return open_engine


@pytest.mark.parametrize("command", [SOLVE, ("eval", "demo")])
def test_an_engine_that_fails_is_one_line(
    run: Run, open_with: OpenWith, command: tuple[str, ...]
) -> None:
    error = BackendError("vLLM could not start:\n  out of memory", role="generator")
    open_with(failing(error))
    done = run(*command)
    assert done.exit_code == 2
    assert done.stderr == "fasttts: vLLM could not start: out of memory\n"
    done = run(*command, "--debug")
    assert done.exit_code == 2
    assert done.stderr.startswith("Traceback")
    assert "BackendError" in done.stderr


def test_ctrl_c_ends_quietly(run: Run, open_with: OpenWith) -> None:
    open_with(failing(KeyboardInterrupt()))
    done = run(*SOLVE)
    assert done.exit_code == 130
    assert done.stderr == "fasttts: interrupted\n"


class Interrupted(FastTTS):
    """Its user types Ctrl-C as soon as a search begins."""

    def stream(self, *arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt


def test_ctrl_c_during_a_search_closes_the_engine(run: Run, open_with: OpenWith) -> None:
    engine = Interrupted(FakeGenerator(), FakeVerifier())
    open_with(lambda _: engine)
    usual = signal.getsignal(signal.SIGINT)
    done = run(*SOLVE)
    assert done.exit_code == 130
    assert done.stderr == "fasttts: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is usual
    with pytest.raises(BackendError, match="closed"):
        engine.search("2 + 2?", n=4)


def test_a_second_ctrl_c_does_not_wait_for_the_models_to_close() -> None:
    program = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli import app

class Stuck(FakeVerifier):
    def score(self, requests):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        return super().score(requests)

    def close(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

FastTTS.from_config = lambda settings: FastTTS(FakeGenerator(), Stuck())
app(["solve", "What is 2 + 2?"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True, timeout=50
    )
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr == "fasttts: interrupted\n"


def test_a_bug_is_not_hidden(run: Run, open_with: OpenWith) -> None:
    open_with(failing(ZeroDivisionError("a bug")))
    done = run(*SOLVE)
    assert done.exit_code == 1
    assert isinstance(done.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "options", [["--search", "none", "--generator"], ["--verifier"]], ids=["generator", "verifier"]
)
def test_a_missing_model_directory_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: list[str],
) -> None:
    folder = tmp_path / "no-model"
    monkeypatch.setattr("sys.argv", ["fasttts", *SOLVE, *options, str(folder)])
    with pytest.raises(SystemExit) as exit_:
        main()
    printed = capsys.readouterr()
    assert exit_.value.code == 2, printed.err
    assert printed.err.startswith("fasttts: ")
    assert str(folder) in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [["plan"], ["plan", "--json"], ["plan", "--help"]])
def test_output_that_finds_no_room_is_one_line_of_error(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fasttts", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            timeout=50,
        )
    assert done.returncode == 2
    assert done.stderr == "fasttts: the output cannot be written: No space left on device\n"
