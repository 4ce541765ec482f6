"""Many measurements on a machine's cards: `python -m benchmarks.cards JOBS.toml --folder DIR`.

    [[job]]
    name = "points"
    command = "{python} -m benchmarks.search --backend gpu --output {folder}/points.json"
    memory_gib = 26
    cards = [1]
    needs = ["models"]

Commands and variables may hold `{python}`, `{folder}` and what `--set NAME=VALUE` gives. A job sees
its own cards alone (the first by default). It begins once those it needs have succeeded
and other jobs leave the memory that it may take of each of its cards, in the file's order.
`shares = true` runs it through NVIDIA's multi-process service where `--mps` has begun one: kernels
of several processes at once, for work whose seconds do not count. With `--one-card` every job runs
on the first card, those of several cards are left out, and while a job that shares runs, those that
take turns by the file `turns` in the folder measure nothing. A job goes on when this program ends,
and the same command waits for it; what has ended is not run again. Every job writes to NAME.log in
the folder. Ends in a table and one JSON line.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter

from benchmarks.report import Report
from benchmarks.turns import nobody_measures

_POLL_S = 0.2
# A process that belongs to no other one; its status is complete once the file has its name.
_BEGUN = """
log=$1 status=$2; shift 2
{ "$@" >"$log" 2>&1; echo $? >"$status.part"; mv "$status.part" "$status"; } >/dev/null 2>&1 &
echo $!
"""
_COLUMNS = {"arm": "job", "state": "state", "status": "exit status", "seconds": "seconds"}


class Job(BaseModel):
    """A command, and what it takes of the machine.

    Attributes:
        name: Of its files.
        command: Split as a shell would.
        memory_gib: The most that it takes of each of its cards, in GiB.
        cards: The cards that it sees.
        needs: Jobs that have to have succeeded.
        shares: Whether its kernels may run beside those of others.
        environment: Variables of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    command: str
    memory_gib: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    cards: tuple[NonNegativeInt, ...] = (0,)
    needs: tuple[str, ...] = ()
    shares: bool = False
    environment: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Files:
    """What a job leaves in the folder, for whichever process asks."""

    folder: Path
    job: Job
    values: Mapping[str, str]

    @property
    def log(self) -> Path:
        return self.folder / f"{self.job.name}.log"

    @property
    def process(self) -> Path:
        return self.folder / f"{self.job.name}.pid"

    @property
    def exit_status(self) -> Path:
        return self.folder / f"{self.job.name}.status"

    def state(self) -> str:
        """'waits', 'runs', 'ended', or 'lost' where its process went without a status."""
        if self.exit_status.exists():
            return "ended"
        if not self.process.exists():
            return "waits"
        try:
            os.kill(int(self.process.read_text()), 0)  # no signal: whether it is there
        except ProcessLookupError:
            return "ended" if self.exit_status.exists() else "lost"
        return "runs"

    def succeeded(self) -> bool:
        return self.state() == "ended" and self.status() == 0

    def status(self) -> int | None:
        return int(self.exit_status.read_text()) if self.exit_status.exists() else None

    def seconds(self) -> float | None:
        if not self.process.exists():
            return None
        ended = self.exit_status.stat().st_mtime if self.exit_status.exists() else time.time()
        return ended - self.process.stat().st_mtime

    def filled(self, text: str) -> str:
        """A text of the job, with the values of this run.

        Raises:
            ValueError: For a name without one.
        """
        known = {"python": sys.executable, "folder": str(self.folder), **self.values}
        try:
            return text.format_map(known)
        except KeyError as error:
            raise ValueError(f"{self.job.name} needs --set {error.args[0]}=VALUE") from error

    def begin(self, *, mps: Path | None, turns: Path | None = None) -> None:
        """Starts the job in a session of its own; of one that shares, `run_jobs` tells of `turns`.

        Raises:
            BlockingIOError: It shares, and a process measures.
        """
        words = [self.filled(word) for word in shlex.split(self.job.command)]
        variables = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, self.job.cards))}
        if mps and self.job.shares:
            variables["CUDA_MPS_PIPE_DIRECTORY"] = str(mps)
        own = {name: self.filled(value) for name, value in self.job.environment.items()}
        with contextlib.ExitStack() as stack:
            inherited = []
            if turns is not None and self.job.shares:
                inherited.append(stack.enter_context(nobody_measures(turns)))
            begun = subprocess.run(
                ["sh", "-c", _BEGUN, "sh", str(self.log), str(self.exit_status), *words],
                env=os.environ | variables | own,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                start_new_session=True,
                pass_fds=inherited,
            )
        self.process.write_text(begun.stdout.strip())


def read_jobs(file: Path, only: Sequence[str] = ()) -> list[Job]:
    """The jobs of a file, or those of the names alone.

    Raises:
        ValueError: For a job that is named twice, needs one that does not come before it, or is not
            there.
    """
    found = tomllib.loads(file.read_text(encoding="utf-8"))
    jobs = TypeAdapter(list[Job]).validate_python(found.get("job", []))
    names: set[str] = set()
    for job in jobs:
        if missing := set(job.needs) - names:
            raise ValueError(f"{job.name} needs {', '.join(missing)}, which no job before it is")
        if job.name in names:
            raise ValueError(f"two jobs are called {job.name}")
        names.add(job.name)
    if unknown := set(only) - names:
        raise ValueError(f"no job of {file} is called {', '.join(unknown)}")
    return [job for job in jobs if not only or job.name in only]


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    *,
    memory_gib: float,
    mps: Path | None = None,
    limit_s: float = float("inf"),
    values: Mapping[str, str] | None = None,
    turns: Path | None = None,
) -> list[dict[str, Any]]:
    """Runs what has not ended, and gives every job's state after at most `limit_s` seconds.

    Args:
        jobs: The jobs.
        folder: Takes their logs and states.
        memory_gib: What all of them together may take of a card, in GiB.
        mps: Pipes of the multi-process service, for jobs that share.
        limit_s: Seconds after which it returns; what runs goes on.
        values: What fills commands and variables.
        turns: What jobs take turns by that must not measure while one that shares runs.

    Raises:
        ValueError: For a job that takes more than there is, or names a value that is not given.
    """
    files = {job.name: Files(folder.resolve(), job, values or {}) for job in jobs}
    for one in files.values():
        if one.job.memory_gib > memory_gib:
            raise ValueError(f"{one.job.name} takes {one.job.memory_gib} GiB of {memory_gib}")
        one.filled("".join([one.job.command, *one.job.environment.values()]))
    folder.mkdir(parents=True, exist_ok=True)
    told = dict.fromkeys(files, "waits")
    began = time.monotonic()
    while True:
        states = {name: one.state() for name, one in files.items()}
        for name, state in states.items():
            if state != told[name]:
                status = f" with {files[name].status()}" if state == "ended" else ""
                print(f"{time.monotonic() - began:6.1f} s  {name} {state}{status}", flush=True)
        told = states
        _begin(files, states, memory_gib, mps, turns)
        is_over = all(state in ("ended", "waits") for state in states.values())
        if is_over and not any(one.state() == "runs" for one in files.values()):
            break
        if time.monotonic() - began > limit_s:
            break
        time.sleep(_POLL_S)
    return [
        {
            "arm": name,
            "state": one.state(),
            "status": one.status(),
            "seconds": one.seconds(),
        }
        for name, one in files.items()
    ]


def _begin(
    files: dict[str, Files],
    states: dict[str, str],
    memory_gib: float,
    mps: Path | None,
    turns: Path | None,
) -> None:
    """Starts what fits; a job does not overtake one before it that waits for memory of its card."""
    taken_gib: defaultdict[int, float] = defaultdict(float)

    def take(job: Job) -> None:
        for card in job.cards:
            taken_gib[card] += job.memory_gib

    for name, state in states.items():
        if state == "runs":
            take(files[name].job)
    for name, one in files.items():
        job = one.job
        if states[name] not in ("waits", "lost"):
            continue
        if not all(files[need].succeeded() for need in job.needs if need in files):
            continue
        if all(taken_gib[card] + job.memory_gib <= memory_gib for card in job.cards):
            with contextlib.suppress(BlockingIOError):  # a process measures: later
                one.begin(mps=mps, turns=turns)
        take(job)  # also of what waits


def on_one_card(jobs: Sequence[Job]) -> list[Job]:
    """The jobs of one card each, all on the first card; none needs one that is left out.

    Args:
        jobs: The jobs, on any cards.
    """
    kept: dict[str, Job] = {}
    for job in jobs:
        if len(set(job.cards)) == 1 and all(need in kept for need in job.needs):
            kept[job.name] = job.model_copy(update={"cards": (0,)})
    return list(kept.values())


def start_mps(folder: Path) -> Path:
    """Starts NVIDIA's multi-process service and gives the folder of its pipes.

    Raises:
        FileNotFoundError: Where its program is missing.
    """
    program = shutil.which("nvidia-cuda-mps-control")
    if program is None:
        raise FileNotFoundError("--mps needs nvidia-cuda-mps-control, which the driver brings")
    pipes = (folder / "mps").resolve()
    pipes.mkdir(parents=True, exist_ok=True)
    places = {"CUDA_MPS_PIPE_DIRECTORY": str(pipes), "CUDA_MPS_LOG_DIRECTORY": str(pipes)}
    # It ends with 1 where one runs there already.
    subprocess.run([program, "-d"], env=os.environ | places, check=False)
    return pipes


def main() -> None:
    """Runs the jobs of a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="logs, states and outputs")
    parser.add_argument(
        "--memory-gib", type=float, required=True, help="of each card, for the jobs"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", default="", help="names of jobs, comma-separated")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="jobs go on after it")
    parser.add_argument("--mps", action="store_true", help="for the jobs that share")
    parser.add_argument("--one-card", action="store_true", help="all jobs on the first card")
    options = parser.parse_args()
    report = Report(benchmark="cards", config={"jobs": str(options.jobs)}, seed=0, columns=_COLUMNS)
    jobs = read_jobs(options.jobs, [name for name in options.only.split(",") if name])
    mps = start_mps(options.folder) if options.mps else None
    rows = run_jobs(
        on_one_card(jobs) if options.one_card else jobs,
        options.folder,
        memory_gib=options.memory_gib,
        mps=mps,
        limit_s=options.limit_s,
        values=dict(text.split("=", 1) for text in options.set),
        turns=options.folder / "turns" if options.one_card else None,
    )
    report.take(rows)
    report.print()


if __name__ == "__main__":
    main()
