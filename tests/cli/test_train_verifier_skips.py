"""`fasttts train-verifier` where losses, gradients or weights are no finite numbers."""

import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts.prm.examples import Example
from tests.cli.test_train_verifier import command, record, weights
from tests.tiny_models import write_tiny_model

Run = Callable[..., Result]

pytestmark = [pytest.mark.usefixtures("unmeasured"), pytest.mark.timeout(300)]  # loads torch

NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of 24 problems, of which 20 steps of training are made, and a tiny model."""
    folder = tmp_path_factory.mktemp("skips")
    lines = [record(index).to_json() + "\n" for index in range(24)]
    (folder / "labels.jsonl").write_text("".join(lines), encoding="utf-8")
    write_tiny_model(folder / "tiny")
    return folder


class Faults:
    """Breaks steps of transformers' Trainer, and watches what a broken step changes.

    Args:
        steps: Which steps, counted from 1.
        kind: "gradient": one element of one gradient; "loss": the loss alone; "weight": one weight.
        value: What it becomes.
    """

    def __init__(
        self, steps: Collection[int], *, kind: str = "gradient", value: float = NAN
    ) -> None:
        self._steps, self._kind, self._value = steps, kind, value
        self._before: list[Any] | None = None
        self.unchanged: list[int] = []
        self.has_cudnn: set[bool] = set()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Puts itself in front of Trainer's computation of gradients."""
        import torch
        from transformers import Trainer

        compute = Trainer.training_step

        def broken(trainer: Any, *args: Any, **options: Any) -> Any:
            step = trainer.state.global_step + 1
            self._compare(trainer, step)
            self.has_cudnn.add(torch.backends.cuda.cudnn_sdp_enabled())
            loss = compute(trainer, *args, **options)
            if step in self._steps:
                self._before = state(trainer)
                loss = self._break(trainer, loss)
            return loss

        monkeypatch.setattr(Trainer, "training_step", broken)

    def _compare(self, trainer: Any, step: int) -> None:
        if self._before is not None:
            before, now = self._before, state(trainer)
            if len(before) == len(now) and all(
                bool((a == b).all()) for a, b in zip(before, now, strict=True)
            ):
                self.unchanged.append(step - 1)
        self._before = None

    def _break(self, trainer: Any, loss: Any) -> Any:
        import torch

        if self._kind == "loss":
            return loss + self._value
        learning = [each for each in trainer.model.parameters() if each.grad is not None]
        broken = learning[-1] if self._kind == "weight" else learning[-1].grad
        with torch.no_grad():
            broken.view(-1)[0] = self._value
        return loss


def state(trainer: Any) -> list[Any]:
    """Copies of all weights, and of all that the optimiser keeps."""
    kept = trainer.optimizer.state_dict()["state"].values()
    return [each.detach().clone() for each in trainer.model.parameters()] + [
        value.clone() for each in kept for value in each.values()
    ]


def broken_run(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], faults: Faults
) -> Result:
    with monkeypatch.context() as patched:
        faults.install(patched)
        return run(*arguments)


def is_finite(model: Path) -> bool:
    return all(bool(each.isfinite().all()) for each in weights(model).values())


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("full", ("gradient", NAN)),
        ("full", ("gradient", INF)),
        ("full", ("loss", NAN)),
        ("lora", ("gradient", NAN)),
        ("lora", ("loss", INF)),
    ],
)
def test_a_step_of_no_finite_numbers_changes_nothing(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, fault: tuple[str, float]
) -> None:
    kind, value = fault
    name = f"one-{method}-{kind}-{value}"
    faults = Faults({1, 7}, kind=kind, value=value)
    arguments = command(folder, name, "--method", method, "--json")
    done = broken_run(run, monkeypatch, arguments, faults)
    assert done.exit_code == 0, done.output
    assert faults.unchanged == [1, 7]
    assert is_finite(folder / name)
    report = json.loads(done.stdout)
    assert report["skipped_steps"] == [1, 7]
    assert "warning: 2 of 20 optimiser steps were skipped" in done.stderr
    train = {point["step"]: point["train_loss"] for point in report["curve"]}
    assert [step for step in train if train[step] is None] == ([2, 8] if kind == "loss" else [])
    assert 0.0 not in train.values()
    assert None not in [point["held_out_loss"] for point in report["curve"]]
    stored = json.loads((folder / name / "training.json").read_text("utf-8"))
    assert stored["report"] == report


def test_a_training_continues_over_skipped_steps_to_the_same_weights(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended behind the checkpoint of step 4; what was skipped before it is known afterwards."""
    from transformers import Trainer

    whole = broken_run(run, monkeypatch, command(folder, "whole", "--json"), Faults({3, 7}))
    save = Trainer._save_checkpoint

    def ending(trainer: Any, *args: Any, **options: Any) -> None:
        save(trainer, *args, **options)
        if trainer.state.global_step == 4:
            raise OSError(28, "No space left on device")

    arguments = command(folder, "parts", "--json")
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_checkpoint", ending)
        assert broken_run(run, monkeypatch, arguments, Faults({3, 7})).exit_code == 2
    faults = Faults({3, 7})
    done = broken_run(run, monkeypatch, arguments, faults)
    assert faults.unchanged == [7]
    assert json.loads(done.stdout) == json.loads(whole.stdout)
    assert json.loads(done.stdout)["skipped_steps"] == [3, 7]
    expected, found = weights(folder / "whole"), weights(folder / "parts")
    assert all(bool((expected[name] == found[name]).all()) for name in expected)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_too_many_skipped_steps_end_a_training_and_its_best_model_is_kept(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from fasttts.prm.model import Qwen2ForProcessRewardModel

    name = f"several-{method}"
    arguments = command(folder, name, "--method", method, "--json")
    done = broken_run(run, monkeypatch, arguments, Faults({11, 12, 15}))
    assert done.exit_code == 2, done.output
    told = " ".join(done.stderr.split())
    assert "3 of 20 optimiser steps, the last of them 15, had a loss or gradients" in told
    assert "lower --learning-rate 0.002" in told
    assert "The best model until then, of step " in told
    assert not (folder / name).exists()
    best = folder / f"{name}.training" / "best"
    assert str(best) in "".join(done.stderr.split())
    assert is_finite(best)
    model: Any = Qwen2ForProcessRewardModel.from_pretrained(best)
    assert model.score[2].weight.shape == (2, 64)
    assert (best / "chat_template.jinja").exists()
    again = run(*arguments)  # from the checkpoint of the best model, without faults
    assert again.exit_code == 0, again.output
    assert not best.exists()
    assert json.loads(again.stdout)["skipped_steps"] in ([], [11], [11, 12])


def test_a_training_of_which_every_step_is_skipped_leaves_nothing(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--epochs", "12")  # 60 steps, so that five in a row are no tenth
    done = broken_run(run, monkeypatch, command(folder, "none", *more), Faults(range(1, 61)))
    assert done.exit_code == 2, done.output
    told = " ".join(done.stderr.split())
    assert "5 optimiser steps in a row, up to step 5, had a loss or gradients" in told
    assert "lower --learning-rate 0.002, or begin with another --model" in told
    assert "best model" not in told
    assert not list(folder.glob("none*"))


def test_weights_that_become_no_numbers_are_no_success(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a weight breaks behind the guard; the checkpoint of the best model stays."""
    arguments = command(folder, "broken")
    done = broken_run(run, monkeypatch, arguments, Faults({7}, kind="weight"))
    assert done.exit_code == 2, done.output
    told = " ".join(done.stderr.split())
    assert "the held-out loss at step 8 is no finite number" in told
    assert not (folder / "broken").exists()
    kept = folder / "broken.training"
    assert is_finite(kept / "best")
    checkpoints = [path.name for path in (kept / "checkpoints").glob("checkpoint-*")]
    assert checkpoints in (["checkpoint-2"], ["checkpoint-4"], ["checkpoint-6"])
    assert run(*arguments).exit_code == 0


def test_weights_that_are_no_numbers_at_the_first_look_leave_no_checkpoint(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(folder, "early")
    done = broken_run(run, monkeypatch, arguments, Faults({2}, kind="weight"))
    assert done.exit_code == 2, done.output
    assert "the held-out loss at step 2 is no finite number" in " ".join(done.stderr.split())
    assert not list(folder.glob("early*")), "a corrected command begins anew"


def test_attention_takes_neither_a_mask_nor_the_kernels_of_cudnn(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause of a training on an H200 whose weights became NaN."""
    import torch

    usual, faults = torch.backends.cuda.cudnn_sdp_enabled(), Faults(())
    masks = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(*args: Any, **options: Any) -> Any:
        masks.append(options["attn_mask"])
        return attend(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
        arguments = command(folder, "attention", "--epochs", "1")
        assert broken_run(run, monkeypatch, arguments, faults).exit_code == 0
    assert masks
    assert masks == [None] * len(masks)
    assert faults.has_cudnn == {False}
    assert torch.backends.cuda.cudnn_sdp_enabled() == usual


def test_padding_changes_no_score(folder: Path) -> None:
    import torch

    from fasttts.prm.model import labelled_row, load_model, load_tokenizer, padded_batch

    source = str(folder / "tiny")
    tokenizer = load_tokenizer(source)
    rows = [
        labelled_row(
            Example(
                problem="",
                token_ids=tuple(range(5, 5 + length)),
                positions=(2, length - 1),
                targets=(0.25, 1.0),
            )
        )
        for length in (4, 19)
    ]
    model: Any = load_model(source, tokenizer, torch.float32)
    with torch.no_grad():
        together = model(**padded_batch(rows, 0))
        alone = [model(**padded_batch([row], 0)) for row in rows]
    for number, (row, each) in enumerate(zip(rows, alone, strict=True)):
        length = len(row["input_ids"])
        assert torch.allclose(together.logits[number, :length], each.logits[0], atol=1e-5)
    assert together.loss.item() == pytest.approx(sum(each.loss.item() for each in alone) / 2)
