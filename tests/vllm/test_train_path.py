"""From problems to a searched answer in miniature: labels, a verifier, its check, its router."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fasttts import EngineConfig, FastTTS
from fasttts.check.deadline import Deadline
from fasttts.check.labelled import score_labels
from fasttts.cli import app
from fasttts.config import engine_config
from fasttts.evaluation import load_problems
from fasttts.prm import Labeling, LabelRule, read_labels, rollout_config
from fasttts.prm.report import TrainingReport
from tests.engines import OpenWith
from tests.tiny_models import write_tiny_model

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


@pytest.fixture(scope="module")
def labels(demo_engine: FastTTS, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of the demonstration generator's answers to easy problems."""
    problems = load_problems("demo", count=12, min_operations=2, max_operations=3, split="train")
    labeling = Labeling(
        engine=demo_engine,
        problems=problems.problems,
        config=rollout_config(max_tokens=120, temperature=1.0),
        rule=LabelRule(num_rollouts=3, num_continuations=2),
    )
    file = tmp_path_factory.mktemp("path") / "labels.jsonl"
    file.write_text("".join(r.to_json() + "\n" for r in labeling.run()), encoding="utf-8")
    return file


def test_from_problems_to_a_searched_answer(
    labels: Path, open_with: OpenWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = read_labels(labels)
    assert len(records) == 12
    verdicts = {rollout.is_right for record in records for rollout in record.rollouts}
    assert verdicts == {True, False}, "the generator is neither always right nor always wrong"

    tiny, output = write_tiny_model(tmp_path / "tiny"), tmp_path / "verifier"
    options = ["--model", str(tiny), "--cpu", "--learning-rate", "0.003", "--batch-size", "8"]
    options += ["--held-out-share", "0.5", "--json"]
    done = CliRunner().invoke(
        app, ["train-verifier", str(labels), "--output", str(output), *options]
    )
    assert done.exit_code == 0, done.output
    report = TrainingReport.from_json(done.stdout)

    # vLLM reads the written directory as the training read the model, up to its 16 bits.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = FastTTS.from_config(engine_config(verifier=str(output)))
    with engine:
        assert engine.verifier is not None
        held_out = read_labels(output / "held-out.jsonl")
        found = score_labels(engine.verifier, held_out, Deadline(60.0))
        assert found is not None
        assert found.quality.num_steps == report.held_out.num_steps
        assert found.quality.brier == pytest.approx(report.held_out.brier, abs=0.01)
        assert found.quality.auc == pytest.approx(report.held_out.auc, abs=0.05)

        problem = load_problems("demo", count=1, min_operations=2, max_operations=2).problems[0]
        result = engine.search(problem.text, n=4, max_tokens=120)
        assert result.verifier == str(output)
        assert all(0.0 <= (step.score or 0.0) <= 1.0 for step in result.candidates[0].steps)
        assert result.score is not None

        def loaded(settings: EngineConfig) -> FastTTS:
            assert settings.verifier == str(output)
            return engine

        open_with(loaded)
        small = ["--num-problems", "30", "-n", "4", "--max-tokens", "40"]
        routed = CliRunner().invoke(
            app, ["calibrate-router", "--verifier", str(output), *small, "--json"]
        )
        assert routed.exit_code in {0, 2}, routed.output  # 2: so few problems do not decide
        assert json.loads(routed.stdout)["gain"]["num_problems"] == 30
