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
from fasttts.evaluation import GradedCandidate, Record, RunCost

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
    more += ["--variants", "--methods dvts; --methods beam_search --beam-width 2"]
    more += ["--plain", "--in-flight 1 --problems 9", "--vllm-sizes", "4,64"]
    found = dict(commands(options(tmp_path, *more)))
    names = ["label-train", "label-dev", "train", "eval-4", "eval-8", "eval-16"]
    names += ["variant-0", "variant-1"]
    assert list(found) == [*names, "plain-loop", "vllm-majority"]
    group = typer.main.get_group(app)
    for name in names:
        arguments = found[name][3:]
        command = group.commands[arguments[0]]
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


def record(index: int, method: str, *candidates: tuple[str, float]) -> Record:
    """Of a problem whose answer is 5, with candidates of answers and scores, best first."""
    answers = sorted({answer for answer, _ in candidates})
    graded = tuple(
        GradedCandidate(
            path=(number,),
            text=f"It is {answer}.",
            answer=answer,
            is_right=answer == "5",
            group=answers.index(answer),
            score=score,
            finish_reason="stop",
            is_announced=True,
            is_malformed=False,
            num_tokens=4,
        )
        for number, (answer, score) in enumerate(candidates)
    )
    return Record(
        index=index,
        problem=str(index),
        method=method,
        verdict="right" if graded[0].is_right else "wrong",
        text="2 + 3?",
        expected="5",
        answer=graded[0].answer,
        stop_reason="complete",
        error=None,
        tokens=8,
        answer_tokens=8,
        candidates=graded,
        run=RunCost(
            elapsed_s=1.0,
            total_s=1.0,
            generated_tokens=8,
            verifier_tokens=8,
            num_verifications=1,
            num_iterations=8,
        ),
    )


def test_the_rows_have_every_choice_among_candidates_and_the_differences(tmp_path: Path) -> None:
    unsure = (("4", 0.6), ("5", 0.5), ("5", 0.4))  # the best is wrong, both votes are right
    surely_wrong = (("4", 0.9), ("5", 0.2), ("5", 0.2))  # the vote with weights is wrong as well
    records = [
        record(0, "majority", ("5", 0.0)),
        record(1, "majority", ("5", 0.0)),
        record(1, "beam_search", *surely_wrong),
        record(0, "beam_search", *unsure),
    ]
    known = {"first": "beam_search", "second": "majority", "difference": -1.0, "p_value": 0.5}
    differences = [{**known, "num_won": 0, "num_lost": 2}]
    files = {"eval-3": (records, differences), "variant-0": (records[2:], [])}
    for name, (found, compared) in files.items():
        row = {"method": "beam_search", "n": 3, "accuracy": 0.0}
        document = json.dumps({"rows": [row], "differences": compared})
        text = f"a warning\n{document}\n(EngineCore pid=1) exiting\n"
        (tmp_path / f"{name}.out").write_text(text, encoding="utf-8")
        lines = ["{}", *(one.to_json() for one in found)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = options(tmp_path, "-n", "3", "--sizes", "3", "--variants", "--methods beam_search")
    given.without_plain = True
    of_eval, of_variant = (
        [row for row in rows(given) if ("options" in row) == is_variant]
        for is_variant in (False, True)
    )
    assert [(row["arm"], row["method"], row["accuracy"]) for row in of_eval] == [
        ("FastTTS", "beam_search", 0.0),
        ("among beam_search", "any is right", 1.0),
        ("among beam_search", "majority", 1.0),
        ("among beam_search", "best", 0.0),
        ("among beam_search", "weighted vote", 0.5),
        ("difference", "beam_search - majority", -1.0),
    ]
    expected = [
        {**row, "arm": f"variant-0: {row['arm']}", "options": "--methods beam_search"}
        for row in of_eval
    ]
    assert of_variant[:-1] == expected[:-1]
    assert expected[-1].items() <= of_variant[-1].items()
    assert (of_variant[-1]["num_problems"], of_variant[-1]["low"] < -0.5) == (2, True)
