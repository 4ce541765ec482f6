"""Constrained decoding inside searches on the demonstration models."""

import json
from typing import Any

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.config import PLAIN, SchedulingConfig, engine_config, search_config
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from tests.searches import Recorder, drive, make_run, same_tree, snapshot

pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 60},
        "pens": {"type": "integer", "minimum": 0, "maximum": 9999},
    },
    "required": ["reason", "pens"],
}
STEPS = {"grammar": 'start: ("Step " /[0-9]{1,2}/ /[^\\n]{1,40}/ "\\n\\n"){2,3} "Done"\n'}
SEARCHES: list[dict[str, Any]] = [
    {"search": "beam_search", "structured_outputs": STEPS},
    {"search": "beam_search", "structured_outputs": {"json": SCHEMA}, "step_tokens": 6},
    {"search": "best_of_n", "structured_outputs": {"json": SCHEMA}},
    {"search": "dvts", "structured_outputs": STEPS},
    {"search": "none", "structured_outputs": {"json": SCHEMA}},
    {"search": "none", "structured_outputs": STEPS, "temperature": 1.3},
    {"search": "lookahead", "structured_outputs": STEPS},
    {"search": "best_of_n", "structured_outputs": {"choice": ["yes", "no", "maybe not"]}},
]
CONFIGS = [
    search_config(**search, n=4, beam_width=2, seed=seed, max_tokens=160)
    for seed, search in enumerate(SEARCHES)
]


def search_all(scheduling: SchedulingConfig, *, preempt_after: int = 0) -> list[SearchRun]:
    """All searches, run together to their end."""
    generator, verifier = load_backends(engine_config(max_num_seqs=48, dtype="float32"))
    try:
        loop, recorders = Loop(generator, verifier, scheduling), []
        runs = [make_run(generator, "Tom has 10 pens. How many pens?", c) for c in CONFIGS]
        for run in runs:
            recorders.append(Recorder())
            loop.submit(run, recorders[-1])
        for _ in range(preempt_after):
            loop.step()
        if preempt_after:
            generator.preempt_all()
        drive(loop)
        assert all(recorder.outcomes == [None] for recorder in recorders)
        return runs
    finally:
        generator.close()
        if verifier is not None:
            verifier.close()


@pytest.mark.slow
def test_every_schedule_finds_the_same_constrained_trees() -> None:
    plain = search_all(PLAIN)
    for run in plain:
        check(run)
    schedule = SchedulingConfig(slots=30, speculation_rule="score", verification_batch_tokens=60)
    for expected, found in zip(plain, search_all(schedule, preempt_after=9), strict=True):
        assert same_tree(found, snapshot(expected))


def check(run: SearchRun) -> None:
    """Every complete answer is one that its grammar has."""
    outputs = run.request.config.structured_outputs
    assert outputs is not None
    texts = [n.path_text() for n in run.ended_nodes() if n.finish_reason == "stop"]
    assert texts
    for text in texts:
        if outputs.is_json:
            assert set(json.loads(text)) == {"reason", "pens"}
        elif outputs.choice is not None:
            assert text in outputs.choice
        else:
            assert text.startswith("Step ")
            assert text.endswith("\n\nDone")
