"""`fasttts train-verifier`: trains a process reward model on the labels of `fasttts label`."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from fasttts import __version__
from fasttts.cli import options, render, session
from fasttts.cli.plot import check_plot
from fasttts.cli.train_verifier_view import report_view, report_warnings, save_training_plot
from fasttts.config import DEMO
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError
from fasttts.prm import LabelRecord, Target, hold_out, known_target, label_digest, read_labels
from fasttts.prm.options import LEARNING_RATES, Method, TrainingOptions
from fasttts.prm.report import TrainingReport
from fasttts.prm.training_folder import TrainingFolder, read_report

_DEFAULTS = TrainingOptions(model=DEMO)
_EXTRA = "pip install 'fasttts[train]', with vLLM or torch"

Labels = Annotated[
    Path, typer.Argument(metavar="LABELS", help="A file that `fasttts label` wrote.")
]
OutputDir = Annotated[
    Path,
    typer.Option(
        metavar="DIR", help="Write the model to this new directory; continue in DIR.training."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The Qwen2 or Qwen2.5 model that it begins as: 'demo', a directory or a hub name.",
    ),
]
HeldOut = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Labels of other problems to measure with; by default a part of LABELS.",
        show_default=False,
    ),
]
HeldOutShare = Annotated[
    float, typer.Option(metavar="SHARE", help="Share of the problems of LABELS that is held out.")
]
MethodName = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="'full': all weights learn; 'lora': adapters, merged at the end."
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="KIND",
        help="Learn 'soft' labels, the default where there are any, or 'hard' ones.",
        show_default=False,
    ),
]
Epochs = Annotated[int, typer.Option(metavar="N", help="Times that every example is seen.")]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Examples of an optimiser step.")]
LearningRate = Annotated[
    float | None,
    typer.Option(
        metavar="RATE",
        help=f"Highest learning rate: {LEARNING_RATES['full']} for 'full', "
        f"{LEARNING_RATES['lora']} for 'lora'.",
        show_default=False,
    ),
]
LoraRank = Annotated[int, typer.Option(metavar="N", help="Rank of the adapters of 'lora'.")]
MaxLength = Annotated[int, typer.Option(metavar="N", help="Longest example in tokens.")]
TrainSeed = Annotated[
    int, typer.Option(metavar="N", help="Draws the head, the order of examples, what is held out.")
]
OnCpu = Annotated[bool, typer.Option("--cpu", help="Train on the CPU, also where a GPU is.")]
TrainingPlot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw curves and calibration into a PNG file."),
]


def run(
    labels: Labels,
    *,
    output: OutputDir,
    model: Model = DEMO,
    held_out: HeldOut = None,
    held_out_share: HeldOutShare = 0.1,
    method: MethodName = _DEFAULTS.method,
    kind: Kind = None,
    epochs: Epochs = _DEFAULTS.epochs,
    batch_size: BatchSize = _DEFAULTS.batch_size,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = _DEFAULTS.lora_rank,
    max_length: MaxLength = _DEFAULTS.max_length,
    seed: TrainSeed = _DEFAULTS.seed,
    cpu: OnCpu = False,
    plot: TrainingPlot = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Train a verifier on the labels of `fasttts label`.

    Puts a scoring head on a pretrained model and trains it on one GPU, or on the CPU. DIR is then a
    model for --verifier. The report says how well it ranks steps of held-out problems, and how near
    its scores are to their labels. The same command continues where it was stopped.
    """
    with session.reported_errors(debug=debug):
        check_plot(plot)
        chosen = _one_of("--method", method, get_args(Method))
        records, measured = _labels(labels, held_out, held_out_share, seed)
        target = _target(kind, [*records, *measured])
        asked = TrainingOptions(
            model=model,
            method="lora" if chosen == "lora" else "full",
            target=target,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=(
                LEARNING_RATES["lora" if chosen == "lora" else "full"]
                if learning_rate is None
                else learning_rate
            ),
            lora_rank=lora_rank,
            max_length=max_length,
            seed=seed,
            is_on_cpu=cpu,
        )
        _check_installed(asked.method)
        report = _trained(asked, records, measured, output)
        if plot is not None:
            save_training_plot(report, plot)
        if as_json:
            sys.stdout.write(report.to_json() + "\n")
        else:
            render.stdout().print(report_view(report))
            render.stderr().print(f"written to {output}", markup=False, soft_wrap=True)
        for text in report_warnings(report):
            render.stderr().print(f"warning: {text}", style="yellow", soft_wrap=True)


def _one_of(flag: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise ConfigurationError(f"{flag} {name}: {did_you_mean(name, known)}")
    return name


def _labels(
    file: Path, held_out: Path | None, share: float, seed: int
) -> tuple[list[LabelRecord], list[LabelRecord]]:
    """The labels to train on, and those to measure with, of different problems.

    Raises:
        ConfigurationError: A file holds none, the share cannot work, or a problem is in both.
    """
    if not 0.0 < share < 1.0:
        raise ConfigurationError(f"--held-out-share {share}: a share above 0 and below 1")
    records = read_labels(file)
    if held_out is None:
        return hold_out(records, share, seed)
    measured = read_labels(held_out)
    both = {record.text for record in records} & {record.text for record in measured}
    if both:
        raise ConfigurationError(
            f"--held-out {held_out}: {len(both)} of its problems are in {file} too, such as "
            f"{min(both)[:60]!r}; label others"
        )
    return records, measured


def _target(kind: str | None, records: Sequence[LabelRecord]) -> Target:
    if kind is None:
        return known_target(records)
    return "soft" if _one_of("--labels", kind, get_args(Target)) == "soft" else "hard"


def _check_installed(method: Method) -> None:
    needed = ["torch", "accelerate", *(["peft"] if method == "lora" else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"train-verifier needs {', '.join(missing)}: {_EXTRA}")


def _trained(
    asked: TrainingOptions,
    records: Sequence[LabelRecord],
    measured: Sequence[LabelRecord],
    output: Path,
) -> TrainingReport:
    """Trains, unless this training has written its model before."""
    settings: dict[str, Any] = {
        "fasttts": __version__,
        "labels": label_digest(records),
        "held_out": label_digest(measured),
        **asdict(asked),
    }
    if (report := read_report(output, settings)) is not None:
        return report
    from fasttts.prm.training import train_verifier  # loads torch

    with TrainingFolder(output, settings) as folder, _quiet(), render.progress_bar() as progress:
        task = progress.add_task("training", total=None)

        def on_step(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = train_verifier(asked, records, measured, folder, on_step)
        folder.publish(report, measured)
    return report


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' reports and bars, such as about the new head, off the terminal."""
    from transformers.utils import logging

    usual, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(usual)
        if has_bars:
            logging.enable_progress_bar()
