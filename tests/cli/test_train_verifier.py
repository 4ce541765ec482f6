"""`fasttts train-verifier` on a tiny model on the CPU: it learns, continues, and refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts.prm import LabelCost, LabeledRollout, LabeledStep, LabelRecord, read_labels
from tests.tiny_models import write_tiny_model

Run = Callable[..., Result]

pytestmark = [pytest.mark.usefixtures("unmeasured"), pytest.mark.timeout(300)]  # loads torch

KILLED = """
import os, signal, sys
from transformers import Trainer
from fasttts.cli import app

save, num_left = Trainer._save_checkpoint, int(sys.argv[1])

def killing(*args, **kwargs):
    global num_left
    save(*args, **kwargs)
    num_left -= 1
    if num_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Trainer._save_checkpoint = killing
app(sys.argv[2:])
"""


def record(index: int) -> LabelRecord:
    """Two rollouts: one says "good" and is, the other "bad"; a share of one in four is noise."""

    def rollout(word: str, soft: float) -> LabeledRollout:
        steps = tuple(
            LabeledStep(
                text=f"{word} {index + number}",
                num_right=round(4 * soft),
                num_continuations=4,
                soft=soft,
                hard=soft > 0.0,
            )
            for number in range(3)
        )
        return LabeledRollout(steps=steps, answer=None, is_right=soft > 0.5)

    return LabelRecord(
        index=index,
        problem=str(index),
        text=f"How many are {index} boxes of {index} pencils?",
        rollouts=(rollout("has", 0.75), rollout("loses", 0.0)),
        num_prefixes=6,
        error=None,
        run=LabelCost(elapsed_s=1.0, generated_tokens=index),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of 24 problems, and a tiny model."""
    folder = tmp_path_factory.mktemp("train")
    lines = [record(index).to_json() + "\n" for index in range(24)]
    (folder / "labels.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "few.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    write_tiny_model(folder / "tiny")
    return folder


def command(folder: Path, output: str, *more: str) -> list[str]:
    options = ("--model", str(folder / "tiny"), "--cpu", "--batch-size", "8", "--epochs", "4")
    options += ("--learning-rate", "0.002", "--held-out-share", "0.25")
    labels, target = str(folder / "labels.jsonl"), str(folder / output)
    return ["train-verifier", labels, "--output", target, *options, *more]


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """A model that nothing has stopped."""
    from typer.testing import CliRunner

    from fasttts.cli import app

    done = CliRunner().invoke(app, command(folder, "whole", "--plot", str(folder / "curves.png")))
    assert done.exit_code == 0, done.output
    assert "held-out AUC" in done.stdout
    assert "Loading weights" not in done.stderr
    return folder / "whole"


def weights(model: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(model / "model.safetensors"))


def test_a_model_learns_and_its_report_says_so(folder: Path, whole: Path) -> None:
    report = json.loads((whole / "training.json").read_text("utf-8"))["report"]
    found = report["held_out"]
    assert found["num_problems"] == 6
    assert found["num_steps"] == 36
    assert found["auc"] > 0.8
    assert found["brier"] < 0.1
    losses = [point["held_out_loss"] for point in report["curve"]]
    assert min(losses) < 0.7 * losses[0]
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert not (folder / "whole.training").exists()
    held_out = read_labels(whole / "held-out.jsonl")
    assert held_out == [r for r in read_labels(folder / "labels.jsonl") if r in held_out]
    config = json.loads((whole / "config.json").read_text("utf-8"))
    assert config["architectures"] == ["Qwen2ForProcessRewardModel"]
    assert config["dtype"] == "bfloat16"


def test_a_finished_training_is_not_done_again(run: Run, folder: Path, whole: Path) -> None:
    before = (whole / "model.safetensors").stat().st_mtime_ns
    again = run(*command(folder, "whole", "--json"))
    assert again.exit_code == 0, again.output
    stored = json.loads((whole / "training.json").read_text("utf-8"))["report"]
    assert json.loads(again.stdout) == stored
    assert (whole / "model.safetensors").stat().st_mtime_ns == before
    other = run(*command(folder, "whole", "--seed", "5"))
    assert other.exit_code == 2
    assert "is of another training" in other.stderr
    assert "seed was 0 and is 5" in other.stderr


@pytest.mark.slow
def test_a_training_that_is_killed_continues_to_the_same_weights(
    run: Run, folder: Path, whole: Path
) -> None:
    """Killed right behind a checkpoint, with another one in part; adapters are tested alone."""
    arguments = command(folder, "killed")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "2", *arguments],
        capture_output=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checkpoints = folder / "killed.training" / "checkpoints"
    assert list(checkpoints.glob("checkpoint-*"))
    (checkpoints / "checkpoint-999").mkdir()
    other = run(*arguments, "--epochs", "5")
    assert "is of another training: epochs was 4 and is 5" in " ".join(other.stderr.split())
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    expected, found = weights(whole), weights(folder / "killed")
    assert expected.keys() == found.keys()
    assert all(bool((expected[name] == found[name]).all()) for name in expected)
    assert (
        json.loads(done.stdout)["held_out"]
        == json.loads((whole / "training.json").read_text("utf-8"))["report"]["held_out"]
    )


def test_adapters_are_merged(run: Run, folder: Path, whole: Path) -> None:
    done = run(*command(folder, "lora", "--method", "lora", "--epochs", "2", "--json"))
    assert done.exit_code == 0, done.output
    found, full, base = weights(folder / "lora"), weights(whole), weights(folder / "tiny")
    assert found.keys() == full.keys()
    embeddings = "model.embed_tokens.weight"
    assert bool((found[embeddings].float() - base[embeddings].float()).abs().max() < 0.01)
    layer = "model.layers.0.self_attn.q_proj.weight"
    assert not bool((found[layer].float() - base[layer].float()).abs().max() < 0.001)


def test_labels_of_other_problems_may_be_held_out(run: Run, folder: Path) -> None:
    arguments = command(folder, "other", "--held-out", str(folder / "few.jsonl"))
    done = run(*arguments)
    assert done.exit_code == 2
    assert "2 of its problems are in" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "loral"), "--method loral: did you mean 'lora'?"),
        (("--labels", "herd"), "--labels herd: did you mean 'hard'?"),
        (("--epochs", "0"), "--epochs 0: from 1 to"),
        (("--batch-size", "-1"), "--batch-size -1: from 1 to"),
        (("--epochs", "9" * 24), "from 1 to 1,000,000"),
        (("--learning-rate", "2"), "--learning-rate 2.0: a number above 0"),
        (("--learning-rate", "0"), "--learning-rate 0.0: a number above 0"),
        (("--output", "/"), "--output / exists and is no model"),
        (("--output", ""), "--output . exists and is no model"),
        (("--held-out-share", "1"), "--held-out-share 1.0: a share above 0"),
        (("--seed", "-1"), "--seed -1: from 0"),
        (("--max-length", "3"), "no step of the labels fits into 3 tokens"),
        (("--model", "no/such/directory"), "--model no/such/directory: "),
        (("--plot", "curve.pdf"), "name it *.png"),
    ],
)
def test_mistakes_are_told(
    run: Run, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(*command(folder, "refused", *arguments))
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert not list(folder.glob("refused*")), "a corrected command begins anew"


def test_models_and_directories_that_cannot_work_are_told(run: Run, folder: Path) -> None:
    (folder / "taken").mkdir(exist_ok=True)
    (folder / "taken" / "notes.txt").write_text("mine", encoding="utf-8")
    assert "exists and is no model" in run(*command(folder, "taken")).stderr
    (folder / "llama").mkdir(exist_ok=True)
    config = json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
    (folder / "llama" / "config.json").write_text(config, encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / "llama" / name).write_bytes((folder / "tiny" / name).read_bytes())
    refused = run(*command(folder, "refused", "--model", str(folder / "llama")))
    assert "a llama model" in refused.stderr
    assert "Qwen2 or Qwen2.5" in " ".join(refused.stderr.split())
    empty, broken, quantised = (copied(folder, name) for name in ("empty", "broken", "quantised"))
    (empty / "model.safetensors").unlink()
    (broken / "model.safetensors").write_bytes(b"\x09\x00\x00\x00")
    document = json.loads((quantised / "config.json").read_text("utf-8"))
    document["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (quantised / "config.json").write_text(json.dumps(document), encoding="utf-8")
    for model in (empty, broken, quantised):
        done = run(*command(folder, "refused", "--model", str(model)))
        assert done.exit_code == 2, done.output
        assert f"--model {model}: " in " ".join(done.stderr.split())
    assert not list(folder.glob("refused*"))


def copied(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder / "tiny", folder / name))


def test_a_full_disk_is_told_and_the_training_continues(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of each library that writes; an error of the training itself stays what it is."""
    from safetensors import SafetensorError
    from transformers import Trainer

    arguments = command(folder, "full", "--epochs", "1")
    errors: list[Exception] = [
        SafetensorError("I/O error: No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
        OSError(28, "No space left on device"),
        RuntimeError("shapes differ"),
    ]
    told = []
    with monkeypatch.context() as patched:
        for error in errors:

            def failing(*_: Any, found: Exception = error, **__: Any) -> None:
                raise found

            patched.setattr(Trainer, "_save_checkpoint", failing)
            done = run(*arguments)
            told.append("the same command continues" in " ".join(done.stderr.split()))
            assert done.exit_code == (2 if told[-1] else 1), done.output
    assert told == [True, True, True, False]
    done = run(*arguments)
    assert done.exit_code == 0, done.output
