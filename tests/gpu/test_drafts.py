"""Drafts in vLLM's second model runner change no token, whatever is drafted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fasttts.backends.vllm.environment import RUNNER_VARIABLE

pytestmark = [pytest.mark.gpu, pytest.mark.vllm, pytest.mark.timeout(600)]


def test_drafts_of_every_kind_change_no_token() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.draft_streams"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, RUNNER_VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {kind: row["differing"] for kind, row in found["outcome"].items()} == {
        kind: []
        for kind in ("looked up", "wrong", "right", "mixed", "switching", "lengths", "ragged")
    }
    rates = {kind: row["tokens_a_pass"] for kind, row in found["outcome"].items()}
    assert rates["right"] > 0.8 * (found["most"] + 1) > rates["mixed"] > rates["wrong"] >= 1
    assert rates["looked up"] > 1.1
    assert all(rates[kind] > 1.2 for kind in ("switching", "lengths", "ragged"))
