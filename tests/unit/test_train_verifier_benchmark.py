"""`benchmarks.train_verifier`: problems that are disjoint, phases that run once, its commands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from benchmarks import train_verifier
from benchmarks.train_verifier import Phases, commands, different_problems, rows, write_problems
from fasttts.cli import app

OPTIONS = ["demo", "--num-train", "9", "--num-dev", "3", "--num-test", "5", "--sizes", "4,8"]


def options(folder: Path, *more: str) -> "train_verifier.argparse.Namespace":
    return train_verifier._parser().parse_args([*OPTIONS, *more, "--folder", str(folder)])


def texts(folder: Path, split: str) -> list[str]:
    lines = (folder / f"{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["problem"] for line in lines]


def test_the_three_sets_share_no_problem(tmp_path: Path) -> None:
    write_problems(options(tmp_path))
    sets = [texts(tmp_path, split) for split in train_verifier.SPLITS]
    assert [len(one) for one in sets] == [9, 3, 5]
    assert len({text for one in sets for text in one}) == 17
    write_problems(options(tmp_path, "--seed", "1"))
    assert [texts(tmp_path, split) for split in train_verifier.SPLITS] == sets, "what is, stays"


def test_problems_that_repeat_are_drawn_once(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    lines = [json.dumps({"problem": f"{n % 4} + 1?", "answer": n % 4 + 1}) for n in range(40)]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert len({problem.text for problem in different_problems(str(file), 4, seed=0)}) == 4
    with pytest.raises(ValueError, match="has 4 problems of different texts, not 5"):
        different_problems(str(file), 5, seed=0)


def test_a_phase_runs_once_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    program = (
        "import sys; open(sys.argv[1], 'a').write('x'); print('{}'); sys.exit(int(sys.argv[2]))"
    )
    failing, working = ([sys.executable, "-c", program, str(marks), str(code)] for code in (1, 0))
    with pytest.raises(subprocess.CalledProcessError):
        Phases(tmp_path).run("label", failing)
    first_s = Phases(tmp_path).seconds["label"]
    assert first_s > 0.0
    Phases(tmp_path).run("label", working)
    assert Phases(tmp_path).seconds["label"] > first_s
    Phases(tmp_path).run("label", failing)
    assert marks.read_text("utf-8") == "xx"
    assert (tmp_path / "label.out").read_text("utf-8") == "{}\n"


def test_every_phase_is_a_command_that_exists(tmp_path: Path) -> None:
    more = ["--label-seconds", "9", "--train", "--method lora --cpu", "--eval", "--in-flight 4"]
    found = dict(commands(options(tmp_path, *more)))
    names = ["label-train", "label-dev", "train", "eval-4", "eval-8", "eval-16"]
    assert list(found) == [*names, "plain-loop", "vllm-majority"]
    group = typer.main.get_command(app)
    for name in names:
        arguments = found[name][3:]
        command = group.commands[arguments[0]]  # type: ignore[attr-defined]
        command.make_context(arguments[0], arguments[1:])
    for name in ("plain-loop", "vllm-majority"):
        done = subprocess.run(
            [*found[name][:3], "--help"], capture_output=True, text=True, check=True
        )
        for flag in (one for one in found[name] if one.startswith("-") and one != "-m"):
            assert flag in done.stdout


def test_a_run_may_end_before_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(Phases, "run", lambda self, name, command: ran.append(name))
    train_verifier.main([*OPTIONS, "--folder", str(tmp_path), "--until", "train"])
    assert ran == ["label-train", "label-dev", "train"]
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match=r"called .trian.: there are .*vllm-majority"):
        train_verifier.main([*OPTIONS, "--folder", str(tmp_path), "--until", "trian"])
    assert len(ran) == 3


def test_the_rows_have_the_ceiling_and_the_differences(tmp_path: Path) -> None:
    point = {"k": 4, "accuracy": 0.8, "low": 0.7, "high": 0.9}
    document = {
        "rows": [{"method": "greedy", "n": 1, "accuracy": 0.3}],
        "curves": [
            {"method": "best_of_n", "rule": "pass", "points": [point]},
            {"method": "best_of_n", "rule": "best", "points": [point]},
            {"method": "best_of_n", "rule": "weighted", "points": [point | {"accuracy": 0.6}]},
            {"method": "majority", "rule": "pass", "points": [point]},
        ],
        "differences": [{"first": "beam_search", "second": "greedy", "difference": 0.2}],
    }
    for n in (4, 8, 16):
        text = "a warning\n" + json.dumps(document) + "\n(EngineCore pid=1) exiting\n"
        (tmp_path / f"eval-{n}.out").write_text(text, encoding="utf-8")
    found = rows(options(tmp_path, "--without-plain"))
    assert len(found) == 12
    arms = [(row["arm"], row["method"]) for row in found[:4]]
    assert arms[:2] == [("FastTTS", "greedy"), ("ceiling", "any is right")]
    assert arms[2:] == [("same samples", "weighted vote"), ("difference", "beam_search - greedy")]
    assert (found[1]["n"], found[1]["accuracy"]) == (4, 0.8)
    assert [row["accuracy"] for row in found[2:4]] == [0.6, 0.2]
