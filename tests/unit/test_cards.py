"""Jobs on cards: order, memory, needs, and what a second call finds."""

import importlib.util
import time
from pathlib import Path

import pytest

import benchmarks
from benchmarks.cards import Job, on_one_card, read_jobs, run_jobs
from benchmarks.turns import turn

GPU_JOBS = Path(benchmarks.__file__).with_name("gpu.toml")

_MARK = "{python} -c \"import time; time.sleep(%s); open('{folder}/' + 'marks', 'a').write('%s ')\""


def job(name: str, *, sleep_s: float = 0.0, **options: object) -> Job:
    values = {"name": name, "command": _MARK % (sleep_s, name), **options}
    return Job.model_validate(values)


def marks(folder: Path) -> list[str]:
    return (folder / "marks").read_text().split()


def states(rows: list[dict[str, object]]) -> dict[object, tuple[object, object]]:
    return {row["arm"]: (row["state"], row["status"]) for row in rows}


def test_what_does_not_fit_waits_and_is_not_overtaken(tmp_path: Path) -> None:
    jobs = [
        job("large", memory_gib=20, sleep_s=0.3),
        job("larger", memory_gib=24),
        job("small", memory_gib=1),
    ]
    assert states(run_jobs(jobs, tmp_path, memory_gib=24)) == dict.fromkeys(
        ("large", "larger", "small"), ("ended", 0)
    )
    assert marks(tmp_path) == ["large", "larger", "small"]


def test_a_job_waits_for_what_it_needs(tmp_path: Path) -> None:
    jobs = [
        job("model", memory_gib=20, sleep_s=0.3),
        job("measured", needs=("model",)),
        job("other", memory_gib=1),
    ]
    run_jobs(jobs, tmp_path, memory_gib=24)
    ended = marks(tmp_path)
    assert len(ended) == 3
    assert ended.index("model") < ended.index("measured")


def test_cards_are_counted_apart_and_a_job_may_take_two(tmp_path: Path) -> None:
    jobs = [
        job("first", memory_gib=24, sleep_s=1.0),
        job("both", memory_gib=24, cards=[0, 1]),
        job("behind", memory_gib=1, cards=[1]),
        job("other", memory_gib=24, cards=[2]),
    ]
    run_jobs(jobs, tmp_path, memory_gib=24)
    assert [name for name in marks(tmp_path) if name != "other"] == ["first", "both", "behind"]


def test_a_job_sees_its_cards_alone(tmp_path: Path) -> None:
    seen = "{python} -c \"import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['X'])\""
    run_jobs(
        [Job(name="a", command=seen, cards=(1, 3), environment={"X": "y"})], tmp_path, memory_gib=1
    )
    assert (tmp_path / "a.log").read_text() == "1,3 y\n"


def test_one_card_has_the_jobs_of_one_card_each() -> None:
    jobs = [
        job("first"),
        job("second", cards=[1], needs=("first",)),
        job("both", cards=[0, 1]),
        job("behind", needs=("both",)),
    ]
    found = on_one_card(jobs)
    assert [(one.name, one.cards) for one in found] == [("first", (0,)), ("second", (0,))]


def test_jobs_for_gpus_that_share_wait_for_no_turn() -> None:
    """Each keeps all others from measuring while it runs, and so itself."""
    jobs = on_one_card(read_jobs(GPU_JOBS))
    assert {"scaling", "verifier"} & {one.name for one in jobs} == {"verifier"}
    assert not [one.name for one in jobs if one.shares and "--turns" in one.command]
    assert {one.shares for one in jobs} == {True, False}


def test_nothing_is_measured_while_a_job_shares(tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    measuring = (
        '{python} -c "from benchmarks.turns import turn; from pathlib import Path;\n'
        "with turn(Path('{folder}/turns'), alone=True): open('{folder}/marks', 'a').write('it ')\""
    )
    jobs = [
        job("long", shares=True, sleep_s=1.0),
        Job(name="measuring", command=measuring),
        job("longer", shares=True, sleep_s=1.5),
    ]
    run_jobs(jobs, tmp_path, memory_gib=1, turns=turns)
    assert marks(tmp_path) == ["long", "longer", "it"]
    late, long = [job("late", shares=True)], [job("last", shares=True, sleep_s=1.0)]
    with turn(turns, alone=True):
        assert states(run_jobs(late, tmp_path, memory_gib=1, turns=turns)) == {
            "late": ("waits", None)
        }
    assert states(run_jobs(late, tmp_path, memory_gib=1, turns=turns)) == {"late": ("ended", 0)}
    run_jobs(long, tmp_path, memory_gib=1, limit_s=0.0, turns=turns)
    with turn(turns, alone=True):  # the job goes on, and so does what it keeps from others
        assert marks(tmp_path)[-1] == "last"


def test_values_fill_commands_and_variables(tmp_path: Path) -> None:
    command = "{python} -c \"import os; print('{family}', os.environ['X'])\""
    one = Job(name="a", command=command, environment={"X": "{folder}/{family}"})
    with pytest.raises(ValueError, match="a needs --set family=VALUE"):
        run_jobs([one], tmp_path / "none", memory_gib=1)
    assert not (tmp_path / "none").exists()
    run_jobs([one], tmp_path, memory_gib=1, values={"family": "gcd"})
    assert (tmp_path / "a.log").read_text() == f"gcd {tmp_path}/gcd\n"


def test_a_failure_stops_what_needs_it_alone(tmp_path: Path) -> None:
    failing = Job(name="failing", command="{python} -c 'print(1); raise SystemExit(3)'")
    jobs = [failing, job("after", needs=("failing",)), job("other")]
    rows = run_jobs(jobs, tmp_path, memory_gib=1)
    assert states(rows) == {
        "failing": ("ended", 3),
        "after": ("waits", None),
        "other": ("ended", 0),
    }
    assert (tmp_path / "failing.log").read_text() == "1\n"


def test_the_jobs_for_gpus_are_jobs() -> None:
    jobs = read_jobs(GPU_JOBS)
    assert len(jobs) > 10
    for one in jobs:
        module = one.command.split(" -m ")[1].split()[0]
        assert importlib.util.find_spec(module) is not None


def test_jobs_outlast_the_limit_and_are_waited_for(tmp_path: Path) -> None:
    jobs = [job("long", sleep_s=1.0)]
    begun = time.monotonic()
    assert states(run_jobs(jobs, tmp_path, memory_gib=1, limit_s=0.0)) == {"long": ("runs", None)}
    assert states(run_jobs(jobs, tmp_path, memory_gib=1)) == {"long": ("ended", 0)}
    assert states(run_jobs(jobs, tmp_path, memory_gib=1)) == {"long": ("ended", 0)}
    assert time.monotonic() - begun >= 1.0
    assert marks(tmp_path) == ["long"]


def test_a_lost_job_runs_again(tmp_path: Path) -> None:
    (tmp_path / "lost.pid").write_text("4194305")  # above the largest number of a process
    assert states(run_jobs([job("lost")], tmp_path, memory_gib=1)) == {"lost": ("ended", 0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[job]]\nname = "a"\ncommand = "x"\nneeds = ["b"]', "needs b"),
        ('[[job]]\nname = "a"\ncommand = "x"\n[[job]]\nname = "a"\ncommand = "y"', "called a"),
        ('[[job]]\nname = "../a"\ncommand = "x"', "name"),
        ('[[job]]\nname = "a"\ncommand = "x"\nmemory_gb = 3', "memory_gb"),
    ],
)
def test_faulty_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "jobs.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_jobs(file)


def test_a_job_larger_than_the_card_is_refused_before_any_begins(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="huge takes 30"):
        run_jobs([job("first"), job("huge", memory_gib=30)], tmp_path, memory_gib=24)
    assert list(tmp_path.iterdir()) == []
