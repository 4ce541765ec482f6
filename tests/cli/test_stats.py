"""`fasttts solve --stats` and `--plot` on fake models."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import Result

from fasttts import FastTTS, SchedulingConfig, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli.plot import save_plot
from fasttts.cli.stats import stats_view
from fasttts.errors import ConfigurationError

Run = Callable[..., Result]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CUT = re.compile(r" {2,}")


@pytest.fixture
def result() -> SearchResult:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        return engine.search("What is 2 + 2?", n=8, beam_width=2)


def rows(text: str) -> dict[str, str]:
    """What stands behind each label."""
    lines = (CUT.split(line.strip()) for line in text.splitlines())
    return {cells[0]: cells[1] for cells in lines if len(cells) > 1}


def test_stats_follow_the_answer(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "What is 2 + 2?", "-n", "8", "--beam-width", "2", "--stats")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Answer: ")
    assert "Iterations" in map(str.strip, lines)
    assert max(map(len, lines)) <= 80


def test_stats_are_the_counts_of_the_search(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "What is 2 + 2?", "-n", "8", "--beam-width", "2", "--stats", "--json")
    result, found = SearchResult.from_json(done.stdout), rows(done.stderr)
    usage = result.usage
    assert found["this search"] == str(len(result.occupancy.required))
    assert found["plain loop"] == str(len(result.occupancy.plain))
    assert found["tokens generated"] == f"{usage.generated_tokens:,}"
    assert found["required"] == f"{usage.required_tokens:,}"
    assert found["speculative, used"] == f"{usage.speculated_tokens:,}"
    wasted = usage.generated_tokens - usage.required_tokens
    assert found["speculative, wasted"] == f"{wasted:,}"
    assert found["tokens computed"] == f"{usage.verifier_computed_tokens:,}"
    assert found["requests"] == str(usage.num_verifications)
    assert {"recomputed", "preemptions", "peak KV cache use", "total"} <= found.keys()


def test_mean_slots_are_those_of_the_batch(run: Run, engines: list[FastTTS]) -> None:
    done = run("solve", "What is 2 + 2?", "--search", "none", "--stats")
    found = rows(done.stdout)
    assert found["mean slots in use"] == found["in the plain loop"] == "1.0"
    assert found["speculative, wasted"] == found["drafted"] == "0"
    assert found["tokens an iteration"] == "1.00"


def test_drafts_are_counted_and_in_the_title_of_the_plot(tmp_path: Path) -> None:
    generator, scheduling = FakeGenerator(max_draft_tokens=4), SchedulingConfig(draft_rule="always")
    with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
        drafted = engine.search("What is 2 + 2?", n=8, max_tokens=200)
    console = Console(record=True, width=100)
    console.print(stats_view(drafted))
    found, usage = rows(console.export_text()), drafted.usage
    assert found["drafted"] == f"{usage.drafted_tokens:,}"
    assert found["drafted, kept"] == f"{usage.kept_draft_tokens:,}" != "0"
    assert float(found["tokens an iteration"]) > 1
    save_plot(drafted, tmp_path / "occupancy.png")
    assert (tmp_path / "occupancy.png").read_bytes().startswith(PNG_SIGNATURE)


def test_json_keeps_stdout_to_itself(run: Run, engines: list[FastTTS], tmp_path: Path) -> None:
    file = tmp_path / "occupancy.png"
    done = run("solve", "2 + 2?", "-n", "4", "--json", "--stats", "--plot", str(file))
    assert done.stdout == SearchResult.from_json(done.stdout).to_json() + "\n"
    assert "tokens generated" in done.stderr
    assert file.read_bytes().startswith(PNG_SIGNATURE)


def test_without_the_options_there_is_neither(run: Run, engines: list[FastTTS]) -> None:
    assert "preemptions" not in run("solve", "2 + 2?", "-n", "4").stdout


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("occupancy.svg", "name it *.png"),
        ("absent/occupancy.png", "there is no directory"),
        ("folder.png", "it is a directory"),
    ],
)
def test_a_plot_that_cannot_be_is_refused_before_loading(
    run: Run, tmp_path: Path, name: str, complaint: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    done = run("solve", "2 + 2?", "--plot", str(tmp_path / name))
    assert (done.exit_code, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_a_missing_matplotlib_is_said_before_loading(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("solve", "2 + 2?", "--plot", str(tmp_path / "occupancy.png"))
    assert done.exit_code == 2
    assert "pip install 'fasttts[plot]'" in done.stderr


def test_a_file_that_cannot_be_written_is_no_traceback(
    result: SearchResult, tmp_path: Path
) -> None:
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(ConfigurationError, match="taken"):
        save_plot(result, tmp_path / "taken.png")
