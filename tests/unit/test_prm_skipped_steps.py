"""When a training ends early, and what its curve and its warnings say of skipped steps."""

import math
from dataclasses import replace
from typing import Any

import pytest

from fasttts.cli.train_verifier_view import report_view, report_warnings, save_training_plot
from fasttts.prm import judge_scores
from fasttts.prm.options import TrainingOptions
from fasttts.prm.report import TrainingReport, curve_points
from fasttts.prm.skipped_steps import MOST_IN_A_ROW, SKIPPED, skipped_steps, why_ended

NAN = math.nan


def skipped(*steps: int) -> list[dict[str, Any]]:
    return [{"step": step, SKIPPED: True} for step in steps]


def look(step: int, loss: float, held_out_loss: float) -> list[dict[str, Any]]:
    """What Trainer logs at a look at the held-out labels."""
    return [
        {"step": step, "epoch": 0.1, "loss": loss},
        {"step": step, "epoch": 0.1, "eval_loss": held_out_loss, "eval_auc": 0.7},
    ]


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ([], None),
        (look(8, 0.5, 0.6), None),
        (skipped(7), None),
        (skipped(56, 73, 89, 102, 173, 221), None),  # what cuDNN's kernel would break
        (skipped(*range(1, MOST_IN_A_ROW)), None),
        (skipped(1, *range(3, 2 + MOST_IN_A_ROW)), None),
        (skipped(*range(1, 1 + MOST_IN_A_ROW)), "5 optimiser steps in a row, up to step 5, had"),
        (skipped(*range(2, 50, 2)), None),
        (skipped(*range(2, 52, 2)), "25 of 248 optimiser steps, the last of them 50, had"),
        ([*look(8, 0.5, NAN)], "the held-out loss at step 8 is no finite number"),
        ([*look(8, 0.5, math.inf), *look(16, 0.5, 0.6)], "the held-out loss at step 8"),
    ],
)
def test_a_training_ends_where_too_much_is_no_number(
    history: list[dict[str, Any]], why: str | None
) -> None:
    found = why_ended(history, 248)
    assert (found or "").startswith(why or ""), found
    assert (found is None) == (why is None)


@pytest.fixture
def report() -> TrainingReport:
    """A report with two skipped steps, and a mean loss that is no number."""
    history = [*skipped(7), *look(8, NAN, 0.6), *skipped(9), *look(16, 0.5, 0.5)]
    return TrainingReport(
        options=TrainingOptions(model="demo"),
        num_examples=16,
        num_steps=32,
        curve=curve_points(history),
        held_out=judge_scores([0.1, 0.9], [0.0, 1.0], ["a", "b"]),
        skipped_steps=skipped_steps(history),
    )


def test_skipped_steps_are_reported(report: TrainingReport, tmp_path: Any) -> None:
    document = report.to_dict()
    assert document["skipped_steps"] == [7, 9]
    assert [point["train_loss"] for point in document["curve"]] == [None, 0.5]
    assert TrainingReport.from_json(report.to_json()) == report
    [warning] = report_warnings(report)
    assert warning.startswith("2 of 16 optimiser steps were skipped")
    assert warning.endswith(": 7, 9")
    many = replace(report, skipped_steps=tuple(range(1, 12)))
    assert report_warnings(many)[0].endswith(" 9, 10, ...")
    assert report_warnings(replace(report, skipped_steps=())) == []
    save_training_plot(report, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").exists()


def test_the_table_has_a_column_of_skipped_steps_where_there_are_any(
    report: TrainingReport,
) -> None:
    for steps, cells in (((7, 9), [["1", "1"]]), ((), [])):
        table: Any = report_view(replace(report, skipped_steps=steps))
        columns = {each.header: list(each.cells) for each in table.renderables[0].columns}
        assert [columns[name] for name in columns if name == "skipped"] == cells
        assert columns["loss"] == ["unknown", "0.5000"]


@pytest.mark.parametrize("loss", [None, NAN])
def test_an_old_report_of_weights_that_were_no_numbers_is_warned_about(
    report: TrainingReport, loss: float | None
) -> None:
    broken = replace(report.curve[1], train_loss=0.0, held_out_loss=loss)
    document = replace(report, curve=(report.curve[0], broken), skipped_steps=()).to_dict()
    del document["skipped_steps"]
    [warning] = report_warnings(TrainingReport.from_dict(document))
    assert "the held-out loss was no finite number at step 16" in warning
