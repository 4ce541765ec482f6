"""`fasttts solve --tree` and `fasttts eval --trees` on fake models."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import FastTTS, SearchResult

Run = Callable[..., Result]
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def results(file: Path) -> list[dict[str, Any]]:
    (data,) = DATA.findall(file.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = json.loads(data)["results"]
    return found


def test_the_page_is_that_of_the_printed_result(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    file = tmp_path / "search.html"
    done = run("solve", "What is 2 + 2?", "-n", "4", "--json", "--tree", str(file))
    assert done.exit_code == 0, done.stderr
    assert file.read_text(encoding="utf-8") == SearchResult.from_json(done.stdout).to_html()
    assert results(file)[0]["record"]["problem"] == "What is 2 + 2?"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("tree.png", "name it *.html"),
        ("absent/tree.html", "there is no directory"),
        ("folder.html", "it is a directory"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_loading(
    run: Run, tmp_path: Path, name: str, complaint: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    done = run("solve", "2 + 2?", "--tree", str(tmp_path / name))
    assert (done.exit_code, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_a_file_that_cannot_be_written_is_no_traceback(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    (tmp_path / "taken.html").symlink_to(tmp_path / "absent" / "tree.html")
    done = run("solve", "2 + 2?", "-n", "4", "--tree", str(tmp_path / "taken.html"))
    assert done.exit_code == 2
    assert "--tree" in done.stderr
    assert "Traceback" not in done.stderr


def test_eval_writes_a_page_for_each_problem(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "trees"
    command = ("eval", "demo", "--num-problems", "3", "-n", "4", "--json", "--trees", str(folder))
    done = run(*command)
    assert done.exit_code == 0, done.output
    pages = sorted(folder.glob("*.html"))
    assert [page.name for page in pages] == [f"problem-000{number}.html" for number in range(3)]
    for page in pages:
        found = results(page)
        assert [each["config"]["search"] for each in found] == [
            "none",
            "best_of_n",
            "best_of_n",
            "beam_search",
        ]
        assert len({each["record"]["problem"] for each in found}) == 1
    problems = {results(page)[0]["record"]["problem"] for page in pages}
    assert len(problems) == 3


def searches(page: Path) -> list[str]:
    return [each["config"]["search"] for each in results(page)]


def test_a_run_that_continues_adds_to_the_pages(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    page = tmp_path / "problem-0000.html"
    command = ("eval", "demo", "--num-problems", "1", "-n", "4", "--trees", str(tmp_path))
    assert run(*command, "--methods", "greedy").exit_code == 0
    assert searches(page) == ["none"]
    assert run(*command, "--methods", "beam_search").exit_code == 0
    assert searches(page) == ["beam_search"]
    output = ("--output", str(tmp_path / "out.jsonl"), "--methods", "greedy,beam_search")
    assert run(*command, *output, "--max-tokens-total", "1").exit_code == 0
    assert run(*command, *output).exit_code == 0
    assert searches(page) == ["none", "beam_search"]
    assert run(*command, "--seed", "1", "--methods", "greedy,best_of_n").exit_code == 0
    assert searches(page) == ["none", "best_of_n"], "nothing of the other evaluation"


def test_a_folder_that_is_a_file_is_refused_before_loading(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = ("eval", "demo", "--num-problems", "3", "-n", "4", "--trees")
    done = run(*command, str(tmp_path / "file"))
    assert done.exit_code == 2
    assert "--trees" in done.stderr


@pytest.mark.parametrize("content", ['{"tex', "", "[1]", "null"])
def test_a_result_that_is_not_whole_is_left_out(
    run: Run, engines: list[FastTTS], tmp_path: Path, content: str
) -> None:
    kept = tmp_path / "results" / "problem-0000.beam_search.json"
    kept.parent.mkdir()
    kept.write_text(content, encoding="utf-8")
    command = ("eval", "demo", "--num-problems", "1", "-n", "4", "--trees", str(tmp_path))
    done = run(*command, "--methods", "greedy,beam_search")
    assert done.exit_code == 0, done.output
    assert searches(tmp_path / "problem-0000.html") == ["none", "beam_search"]
    assert not [*tmp_path.glob("**/.*.part")]
