"""The benchmark of several GPUs without any, and the simulation of more replicas."""

import itertools
import json
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scaling, scaling_simulation
from benchmarks.scaling_engine import prepare
from benchmarks.scaling_simulation import Cluster, Served, simulate, summary

SMALL = (
    *("--backend", "fake", "--searches", "2", "--together", "2", "--replica-beams", "4"),
    *("--tokens", "32", "--step-tokens", "8", "--beams", "4", "--rounds", "1"),
)


def test_two_replicas_work_at_the_same_time_and_rows_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, lines = tmp_path / "scaling.json", tmp_path / "scaling.jsonl"
    files = ("--output", str(output), "--lines", str(lines))
    scaling.main([*SMALL, "--measurements", "replicas", *files])
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads(output.read_text()) == document
    one, two = document["rows"]
    assert [row["arm"] for row in (one, two)] == ["1 in processes", "2 in processes"]
    assert (one["searches"], two["searches"]) == (2, 4)
    assert (one["ratio"], two["ratio"]) == (1.0, two["tokens_per_s"] / one["tokens_per_s"])
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["service_s"] for row in written] == [one["service_s"], two["service_s"]]

    scaling_simulation.main([str(output), "--replicas", "1,3", "--requests", "50"])
    simulated = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["replicas"] for row in simulated] == [1, 1, 1, 3, 3, 3]
    ratio = two["searches_per_s"] / one["searches_per_s"]
    assert {row["measured_ratio_of_two"] for row in simulated} == {ratio}


def test_what_fails_is_a_row_and_the_next_arm_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main([*SMALL, "--measurements", "spread", "--rounds", "0"])
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["arm"] for row in rows] == ["1 rank", "2 ranks"]
    for row in rows:
        assert "ended with 1" in row["error"]
        assert "ratio" not in row


def test_without_a_first_arm_there_is_no_ratio() -> None:
    other = {"measurement": "apart", "beams": 64}
    rows = [{**other, "error": "RuntimeError"}, {**other, "tokens_per_s": 3.0}]
    rows += [{"measurement": "spread", "beams": 64, "tokens_per_s": rate} for rate in (2.0, 3.0)]
    assert [row.get("ratio") for row in scaling.with_ratios(rows)] == [None, None, 1.0, 1.5]


def test_nothing_is_opened_after_the_time_limit(capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main([*SMALL, "--time-limit", "0"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == []


@pytest.mark.parametrize("work", ["searches", "steps", "decoding"])
def test_each_work_is_measured(work: str) -> None:
    task: dict[str, Any] = {
        "work": work,
        "backend": "fake",
        "beams": 4,
        "tokens": 32,
        "step_tokens": 8,
        "searches": 2,
        "together": 2,
        "rounds": 1,
    }
    with ExitStack() as stack:
        row = prepare(task, stack)()
    assert row["tokens_per_s"] > 0
    assert row["seconds"] > 0


def served(
    cluster: Cluster, load: float, num_requests: int = 20_000, seed: int = 1
) -> list[Served]:
    rate = load * cluster.capacity_per_s
    return simulate(cluster, rate_per_s=rate, num_requests=num_requests, seed=seed)


def test_waits_of_one_server_are_those_of_theory() -> None:
    cluster = Cluster(num_replicas=1, together=1, service_s=[2.0])
    done = served(cluster, 0.8)
    mean_wait_s = statistics.mean(each.began_s - each.arrived_s for each in done)
    assert mean_wait_s == pytest.approx(0.8 * 2.0 / (2 * (1 - 0.8)), rel=0.15)  # M/D/1
    assert all(one.ended_s <= two.began_s for one, two in itertools.pairwise(done))


def test_a_simulation_follows_from_its_seed() -> None:
    cluster = Cluster(num_replicas=3, together=2, service_s=[1.0, 5.0], num_sessions=10)
    one, again, other = (served(cluster, 0.9, 500, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_no_request_is_lost_and_no_replica_answers_too_many() -> None:
    cluster = Cluster(num_replicas=2, together=3, service_s=[1.0, 4.0])
    done = served(cluster, 1.2, 600)
    assert len(done) == 600
    begun = sorted(each.began_s for each in done)
    for each in done[::20]:
        at_work = [one for one in done if one.began_s <= each.began_s < one.ended_s]
        assert len(at_work) <= 6
    assert begun == [each.began_s for each in done], "those that came first begin first"


def test_more_replicas_wait_less_at_the_same_load() -> None:
    rows = [
        summary(served(Cluster(num_replicas=number, together=4, service_s=[1.0, 3.0]), 0.95))
        for number in (1, 4)
    ]
    assert rows[1]["wait_p95_s"] < rows[0]["wait_p95_s"]
    assert rows[1]["requests_per_s"] == pytest.approx(4 * rows[0]["requests_per_s"], rel=0.1)


def test_sessions_stay_at_their_replica_while_it_has_room() -> None:
    times = {"together": 4, "service_s": [1.0]}
    assert summary(served(Cluster(num_replicas=4, **times), 0.5))["kept"] == 0.0
    few, many = (
        summary(served(Cluster(num_replicas=4, num_sessions=100, **times), load))["kept"]
        for load in (0.1, 0.95)
    )
    assert many < few <= 1.0
    assert few > 0.95


def test_a_simulation_needs_a_measurement() -> None:
    failed = {"measurement": "replicas", "arm": "1 in processes", "error": "RuntimeError"}
    with pytest.raises(SystemExit, match=r"run benchmarks\.scaling first"):
        scaling_simulation.measured({"rows": [failed]}, "replicas")
