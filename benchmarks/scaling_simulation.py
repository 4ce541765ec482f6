"""Growth beyond two replicas, simulated from what `benchmarks.scaling` has measured.

    python -m benchmarks.scaling_simulation scaling.json --replicas 1,2,4,8 --loads 0.5,0.8,0.95

Requests arrive at random (Poisson). A replica answers so many at a time as it was measured with,
each in a time drawn from the measured ones; those are of a replica whose batch is full, so a
replica that has less to do is faster than simulated. A request of a session goes to the session's
replica while that has room, any other, as in `fasttts.ray`, to the one with the fewest requests.
Where all are full, requests wait in the order of their arrival. Nothing is shared by the replicas,
so what they take from each other (a host's cores, a network) is not in the figures: the measured
step from one replica to two shows it, and is printed beside them.
"""

import argparse
import functools
import hashlib
import heapq
import json
import random
import statistics
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Report

Row = dict[str, Any]

_COLUMNS = {
    "replicas": "replicas",
    "load": "load",
    "requests_per_s": "requests a s",
    "wait_p50_s": "wait p50",
    "wait_p95_s": "wait p95",
    "latency_p50_s": "latency p50",
    "latency_p95_s": "latency p95",
    "kept": "at own replica",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is simulated.

    Attributes:
        num_replicas: Replicas, all alike.
        together: Requests that each answers at a time.
        service_s: Measured times of answers.
        num_sessions: Sessions of whose requests there are equally many; 0 for none.
    """

    num_replicas: int
    together: int
    service_s: Sequence[float]
    num_sessions: int = 0

    @property
    def capacity_per_s(self) -> float:
        """Requests that all replicas answer in a second when none is ever idle."""
        return self.num_replicas * self.together / statistics.mean(self.service_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request: when it came, began and ended, and whether its session's replica answered."""

    arrived_s: float
    began_s: float
    ended_s: float
    is_kept: bool


@dataclass(frozen=True, slots=True)
class _Request:
    arrived_s: float
    service_s: float
    home: int | None
    """The replica of its session; None without one."""


def simulate(cluster: Cluster, *, rate_per_s: float, num_requests: int, seed: int) -> list[Served]:
    """Serves requests that arrive at random.

    Args:
        cluster: The replicas.
        rate_per_s: Mean arrivals in a second.
        num_requests: How many arrive.
        seed: Of arrivals, times and sessions; the same requests arrive whatever the replicas are.
    """
    room = [cluster.together] * cluster.num_replicas
    ends: list[tuple[float, int]] = []
    waiting: deque[_Request] = deque()
    served: list[Served] = []

    def begin(request: _Request, now_s: float) -> None:
        freest = max(range(cluster.num_replicas), key=room.__getitem__)
        home = request.home
        replica = home if home is not None and room[home] else freest
        room[replica] -= 1
        end_s = now_s + request.service_s
        heapq.heappush(ends, (end_s, replica))
        times = {"arrived_s": request.arrived_s, "began_s": now_s, "ended_s": end_s}
        served.append(Served(**times, is_kept=replica == home))

    def end_until(now_s: float) -> None:
        while ends and ends[0][0] <= now_s:
            ended_s, replica = heapq.heappop(ends)
            room[replica] += 1
            if waiting:
                begin(waiting.popleft(), ended_s)

    for request in _arrivals(cluster, rate_per_s, num_requests, seed):
        end_until(request.arrived_s)
        if any(room):
            begin(request, request.arrived_s)
        else:
            waiting.append(request)
    end_until(float("inf"))
    return served


def _arrivals(
    cluster: Cluster, rate_per_s: float, num_requests: int, seed: int
) -> Iterator[_Request]:
    random_values, now_s = random.Random(seed), 0.0
    for _ in range(num_requests):
        now_s += random_values.expovariate(rate_per_s)
        service_s = random_values.choice(cluster.service_s)
        session = int(random_values.random() * cluster.num_sessions)
        home = _home(session, cluster.num_replicas) if cluster.num_sessions else None
        yield _Request(now_s, service_s, home)


@functools.cache
def _home(session: int, num_replicas: int) -> int:
    """The replica of a session by rendezvous hashing, as unevenly as `fasttts.ray` has it."""
    return max(range(num_replicas), key=lambda replica: _weight(session, replica))


def _weight(session: int, replica: int) -> bytes:
    return hashlib.blake2b(f"{replica} {session}".encode()).digest()


def summary(served: Sequence[Served]) -> Row:
    """Rates and times of requests."""
    waits = [each.began_s - each.arrived_s for each in served]
    latencies = [each.ended_s - each.arrived_s for each in served]
    return {
        "requests_per_s": len(served) / max(each.ended_s for each in served),
        "wait_p50_s": _quantile(waits, 0.5),
        "wait_p95_s": _quantile(waits, 0.95),
        "latency_p50_s": _quantile(latencies, 0.5),
        "latency_p95_s": _quantile(latencies, 0.95),
        "kept": sum(each.is_kept for each in served) / len(served),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measured(document: Mapping[str, Any], measurement: str) -> tuple[Row, float | None]:
    """The row of one replica, and how many times its rate two had; None where none was measured.

    Args:
        document: The JSON line of `benchmarks.scaling`.
        measurement: "replicas" or "ray".

    Raises:
        SystemExit: There is no row of one replica.
    """
    found = [
        row
        for row in document["rows"]
        if row["measurement"] == measurement and row.get("service_s")
    ]
    one = next((row for row in found if row["arm"].startswith("1 ")), None)
    if one is None:
        raise SystemExit(f"no row of one replica in {measurement!r}: run benchmarks.scaling first")
    two = next((row for row in found if row["arm"].startswith("2 ")), None)
    return one, None if two is None else two["searches_per_s"] / one["searches_per_s"]


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """A row for each number of replicas and each load."""
    document = json.loads(options.measured.read_text(encoding="utf-8").splitlines()[-1])
    one, ratio = measured(document, options.measurement)
    for num_replicas in options.replicas:
        cluster = Cluster(
            num_replicas=num_replicas,
            together=document["config"]["together"],
            service_s=one["service_s"],
            num_sessions=options.sessions,
        )
        for load in options.loads:
            served = simulate(
                cluster,
                rate_per_s=load * cluster.capacity_per_s,
                num_requests=options.requests,
                seed=options.seed,
            )
            named = {"replicas": num_replicas, "load": load, "measured_ratio_of_two": ratio}
            yield {**named, **summary(served)}


def main(argv: list[str] | None = None) -> None:
    """Prints a table and one JSON line."""
    options = _parser().parse_args(argv)
    report = Report(
        benchmark="scaling-simulation",
        config={**vars(options), "measured": str(options.measured), "output": None},
        seed=options.seed,
        columns=_COLUMNS,
        output=options.output,
    )
    report.take(list(rows(options)))
    report.print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path, help="the JSON line of benchmarks.scaling")
    parser.add_argument("--measurement", choices=["replicas", "ray"], default="replicas")
    parser.add_argument("--replicas", type=_numbers, default=[1, 2, 4, 8])
    parser.add_argument("--loads", type=_shares, default=[0.5, 0.8, 0.95], help="of the capacity")
    parser.add_argument("--sessions", type=int, default=0, help="0: no request has one")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a file that has the JSON line")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _shares(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
