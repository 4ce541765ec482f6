"""The benchmark of searches on real engines, with models small enough for a test."""

import json
from pathlib import Path

import pytest

from benchmarks import draft_bounds, exactness, routing, search
from benchmarks.arms import MAIN_ARMS
from fasttts.errors import ConfigurationError
from tests.exactness_runs import check_same_trees, run_exactness

COLUMNS = {
    "arm",
    "workload",
    "beams",
    "seconds",
    "goodput_ratio",
    "goodput_ratio_cache",
    "identical",
    "verifier_computed_ratio",
}


@pytest.mark.vllm
@pytest.mark.slow
def test_every_arm_does_the_same_search_on_dummy_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    search.main(
        "--backend gpu --models tiny+tiny --memory-gib 3 --beams 8 --depth 3 --repetitions 1 "
        f"--eager --output {file}".split()
    )
    line = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(line)
    document = json.loads(line)
    assert document.keys() == {"benchmark", "config", "versions", "seed", "rows"}
    rows = {row["arm"]: row for row in document["rows"]}
    assert tuple(rows) == MAIN_ARMS
    for row in rows.values():
        assert row.keys() >= {*COLUMNS, "models"}
        assert row["identical"]
        assert len(row["seconds"]) == 1
    assert rows["deep"]["iterations"] < rows["plain"]["iterations"]
    assert rows["plain"]["verifier_computed_ratio"] > 2
    for arm in ("plain+cache", "paper", "deep"):
        assert rows[arm]["verifier_computed_ratio"] <= rows[arm]["verifier_allowed_ratio"]


def test_no_round_begins_after_the_time_limit(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    search.main(
        "--backend gpu --models tiny+tiny --memory-gib 3 --beams 8 --depth 2 --time-limit 0 "
        f"--eager --output {file}".split()
    )
    assert not file.exists()


@pytest.mark.vllm
@pytest.mark.slow
def test_routing_policies_are_measured_on_the_bundled_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    routing.main(["--problems", "2", "--output", str(tmp_path)])
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["policy"], row["n"]) for row in document["rows"]] == [
        (type(policy).__name__, n) for policy, n in routing.ARMS
    ]
    assert {file.name for file in tmp_path.iterdir()} == {
        f"routing.{k}" for k in ("json", "md", "png")
    }


@pytest.mark.vllm
@pytest.mark.slow
def test_every_schedule_gives_the_same_trees_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    rows = run_exactness(
        *("--numerics", "deterministic", "--max-num-seqs", "64", "--max-model-len", "512"),
        *("--searches", "3", "--beams", "8", "--max-tokens", "120", "--output", str(file)),
        timeout_s=280,
    )
    check_same_trees(rows, searches=3)
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document.keys() == {"benchmark", "config", "versions", "seed", "rows"}
    assert {row["arm"]: row for row in document["rows"]} == rows
    assert len(set(rows["plain"]["digests"])) == 3


@pytest.mark.vllm
@pytest.mark.slow
def test_no_search_begins_after_the_time_limit(tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"problem": "What is 2 + 2?"}\n', encoding="utf-8")
    flags = ["--problems", str(problems), "--max-seconds", "0", "--max-num-seqs", "8"]
    assert run_exactness(*flags, timeout_s=280) == {}


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--arms", "plain,fast"], "'fast' is none of plain, full"), (["--skip", "1"], "--skip 1")],
)
def test_wrong_flags_are_refused_before_anything_is_loaded(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"problem": "What is 2 + 2?"}\n', encoding="utf-8")
    with pytest.raises((SystemExit, ConfigurationError)) as refused:
        exactness.main(["--problems", str(problems), *flags])
    assert message in f"{refused.value}{capsys.readouterr().err}"


@pytest.mark.vllm
@pytest.mark.slow
def test_right_drafts_are_kept_and_wrong_ones_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, flags = tmp_path / "rows.json", ["--ks", "2", "--batches", "1,3", "--passes", "12"]
    draft_bounds.main(
        "--shapes tiny --arms sync,drafts --comparisons ours,vllm --repetitions 1 --kv-gib 0.2 "
        f"--turns {tmp_path / 'turns'} --output {file}".split()
        + flags
    )
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads(file.read_text(encoding="utf-8")) == document
    kept = {(row["arm"], row["k"], row["batch"]): row["kept"] for row in document["rows"]}
    arms = {("sync", 0): 1, ("right", 2): 3, ("right, vLLM's", 2): 3}
    arms |= {("wrong", 2): 1, ("wrong, vLLM's", 2): 1}
    assert kept == {(*arm, batch): num for arm, num in arms.items() for batch in (1, 3)}
    draft_bounds.main([str(file), "--output", str(tmp_path / "joined.json")])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == document["rows"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--arms drafts,fast", "'fast' is none of async, sync, second, drafts"),
        ("--ks 0", "numbers from 1"),
        ("--ks 32", "--passes 30 with K of 32"),
    ],
)
def test_wrong_flags_of_draft_bounds_are_refused(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        draft_bounds.main(flags.split())
    assert message in capsys.readouterr().err
