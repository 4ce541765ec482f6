"""The command line on a pretrained model, with no option but the models."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fasttts.cli import app

pytestmark = [pytest.mark.real, pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

QUESTION = "What is the capital of France? Answer with the city alone."


def run(*arguments: str) -> Result:
    environment = {"COLUMNS": "80", "FASTTTS_MAX_MODEL_LEN": "1024"}
    return CliRunner().invoke(app, arguments, env=environment)


@pytest.mark.slow
def test_solve_without_a_verifier_takes_a_vote(smollm: Path) -> None:
    options = ("-n", "4", "--max-tokens", "48", "--answer", "text", "--json")
    done = run(
        "solve", QUESTION, "--generator", str(smollm), "--search", "self_consistency", *options
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["text"]
    assert result["usage"]["verifier_computed_tokens"] == 0
    assert "Paris" in "".join(candidate["text"] for candidate in result["candidates"])


@pytest.mark.slow
def test_solve_with_the_model_as_its_judge(smollm: Path) -> None:
    options = ("--verifier", "judge", "-n", "4", "--max-tokens", "48")
    done = run("solve", QUESTION, "--generator", str(smollm), *options)
    assert done.exit_code == 0, done.output
    assert f"verifier: judge({smollm})" in done.stdout.replace("\n", "")


def test_a_search_that_needs_a_verifier_says_so_before_loading(smollm: Path) -> None:
    done = run("solve", QUESTION, "--generator", str(smollm), "--search", "dvts")
    assert done.exit_code == 2
    assert "verifier" in done.stderr
