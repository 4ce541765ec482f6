"""The counts of the fake benchmark: what speculation must save, whatever the machine."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import evaluate, policies, routing, search, search_plots, service
from benchmarks.driving import measure
from benchmarks.routing_page import at_budget, curve
from benchmarks.tree_differences import first_difference, tree_digest
from fasttts import EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, search_config
from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node
from fasttts.types import Path as NodePath
from tests.engines import OpenWith


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The JSON line of one run."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        search.main(["--beams", "64", "--repetitions", "2"])
    found: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return found


def test_the_document_is_complete(document: dict[str, Any]) -> None:
    assert document.keys() == {"benchmark", "config", "versions", "seed", "rows"}
    arms = [row["arm"] for row in document["rows"]]
    assert arms == ["plain", "paper", "early", "deep", "deep_2x", "oracle"]
    assert all(row["identical"] for row in document["rows"])


def test_deep_speculation_saves_iterations_and_spends_few_tokens(document: dict[str, Any]) -> None:
    rows = {row["arm"]: row for row in document["rows"]}
    assert rows["deep"]["iterations_ratio"] <= 0.45
    assert rows["deep"]["token_work_ratio"] <= 1.3
    assert rows["deep_2x"]["iterations"] <= 1.1 * rows["oracle"]["iterations"]


def test_the_results_page_is_drawn_from_its_rows(tmp_path: Path) -> None:
    kept = Path(policies.__file__).parents[1] / "docs" / "results"
    (tmp_path / "policies.json").write_bytes((kept / "policies.json").read_bytes())
    policies.main(["--draw", "--output", str(tmp_path)])
    page = (kept / "policies.md").read_text(encoding="utf-8")
    assert (tmp_path / "policies.md").read_text(encoding="utf-8") == page
    assert (tmp_path / "occupancy-groups.png").stat().st_size > 0


def test_the_plot_has_a_panel_for_each_pair_of_models() -> None:
    kept = Path(policies.__file__).parents[1] / "docs" / "results" / "search-h200"
    files = [kept / name for name in ("1.5B+7B-8-64.json", "7B+1.5B-256.json")]
    rows = [row for file in files for row in json.loads(file.read_text("utf-8"))["rows"]]
    panels = search_plots.draw(rows, "title").axes
    assert [axes.get_title(loc="left") for axes in panels] == ["1.5B+7B", "7B+1.5B"]
    assert [len(axes.lines) for axes in panels] == [4, 3]


def test_the_routing_page_shows_what_the_cascade_must_reach(tmp_path: Path) -> None:
    kept = Path(routing.__file__).parents[1] / "docs" / "results"
    (tmp_path / "routing.json").write_bytes((kept / "routing.json").read_bytes())
    routing.main(["--draw", "--output", str(tmp_path)])
    page = (kept / "routing.md").read_text(encoding="utf-8")
    assert (tmp_path / "routing.md").read_text(encoding="utf-8") == page
    rows = json.loads((kept / "routing.json").read_text(encoding="utf-8"))["rows"]
    columns = {"policy", "accuracy", "low", "high", "generated_tokens", "searched_share"}
    assert all(row.keys() >= columns for row in rows)
    widest = {row["policy"]: row for row in rows if row["n"] == 16}
    always, cascade = widest["Always"], widest["Cascade"]
    assert cascade["accuracy"] >= 0.97 * always["accuracy"]
    assert cascade["generated_tokens"] <= 0.5 * always["generated_tokens"]
    at_equal_tokens = curve(rows, "Always")
    for row in rows:
        if row["policy"] == "Cascade":
            assert row["accuracy"] > at_budget(at_equal_tokens, row["generated_tokens"])


def test_plain_requests_are_served_beside_searches(capsys: pytest.CaptureFixture[str]) -> None:
    service.main(["--slots", "64", "--calls", "60", "--requests", "12", "--deadlines", "1"])
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert row.keys() >= set(service.COLUMNS)
    assert (row["calls"], row["lost"], row["leaked"]) == (60, 0, 0)
    assert row["ttft_iterations_p95_load"] <= row["ttft_iterations_p95_idle"] + 3


def test_methods_are_compared_with_the_plain_loop(
    open_with: OpenWith, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--folder", str(tmp_path), "--problems", "10", "-n", "4"]
    command += ["--option", "max_tokens=200", "--methods", "greedy,beam_search"]
    engines: list[FastTTS] = []

    def open_engine(settings: EngineConfig) -> FastTTS:
        assert settings.verifier == "demo"
        engines.append(FastTTS(FakeGenerator(), FakeVerifier()))
        return engines[-1]

    open_with(open_engine)
    evaluate.main(command)
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["method"], row["arm"]) for row in document["rows"]] == [
        (method, arm) for method in ("greedy", "beam_search") for arm in ("plain", "default")
    ]
    for row in document["rows"]:
        assert row.keys() >= evaluate.COLUMNS.keys()
        assert (row["num_problems"], row["same_answers"]) == (10, 1.0)
        assert row["ratio_low"] <= row["goodput_ratio"] <= row["ratio_high"]
        assert row["arm"] == "default" or row["goodput_ratio"] == 1.0
    _cut(tmp_path / "plain.jsonl", 5)
    _cut(tmp_path / "default.jsonl", 12)
    evaluate.main(command)
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    for name in ("method", "arm", "num_problems", "accuracy", "same_answers"):
        assert [row[name] for row in again["rows"]] == [row[name] for row in document["rows"]]
    assert len(engines) == 2
    evaluate.main(command)
    assert len(engines) == 2, "all is done"
    assert json.loads((tmp_path / "evaluate.json").read_text("utf-8")) == again


def _cut(file: Path, num_lines: int) -> None:
    """Leaves the first lines of a file, as a kill does."""
    lines = file.read_text("utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:num_lines]) + lines[num_lines][:20], encoding="utf-8")


def test_the_first_other_node_of_a_tree_is_found() -> None:
    config = search_config(n=4, beam_width=2, max_tokens=60, seed=3)

    def search() -> SearchRun:
        generator = FakeGenerator()
        prompt = generator.tokenizer.encode("2 + 2?")
        return measure(
            generator,
            FakeVerifier(),
            PLAIN,
            prompt_token_ids=prompt,
            problem="2 + 2?",
            config=config,
        ).run

    expected = search()
    assert first_difference(expected, search()) is None
    assert tree_digest(search()) == tree_digest(expected)
    nodes = sorted(expected.tree, key=lambda node: (len(node.path), node.path))
    last, first = nodes[-1], nodes[0]

    def changed(change: Callable[[Node], None], *paths: NodePath) -> SearchRun:
        found = search()
        for node in found.tree:
            if node.path in paths:
                change(node)
        return found

    def other_token(node: Node) -> None:
        node.token_ids[1] += 1

    def other_score(node: Node) -> None:
        node.scores_S = (0.125,)

    def no_children(node: Node) -> None:
        node.children.clear()

    def no_score(node: Node) -> None:
        node.scores_S = None

    tokens = first_difference(expected, changed(other_token, last.path, first.path))
    assert tokens is not None
    assert (tokens.path, tokens.kind, tokens.token) == (first.path, "tokens", 1)
    assert tokens.to_dict().keys() == {"path", "kind", "num_nodes", "token"}
    found = changed(other_score, last.path)
    score = first_difference(expected, found)
    assert score is not None
    assert (score.path, score.kind, score.scores) == (
        last.path,
        "score",
        (last.scores_S, (0.125,)),
    )
    assert tree_digest(found) != tree_digest(expected)
    parent = next(node for node in nodes if node.children)
    missing = first_difference(expected, changed(no_children, parent.path))
    assert missing is not None
    assert (missing.kind, missing.path) == ("missing", parent.children[0].path)
    assert first_difference(expected, changed(no_score, last.path)) is None, "it was given up"
