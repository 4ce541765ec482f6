"""On a pretrained model in float32, optimisations and slots change nothing; 4 bits load too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.vllm.loader import has_four_bit_kernels, load_planned
from fasttts.config import PLAIN, SchedulingConfig, engine_config, search_config
from fasttts.memory import find_shape
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from tests.searches import Recorder, drive, make_run, same_tree, snapshot

pytestmark = [pytest.mark.real, pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

CONTEXT = 1024
QUESTIONS = ("What is 2 + 3, and why?", "Name three colours, one on each line.")
SEARCHES = (
    {"search": "beam_search", "n": 6, "beam_width": 2, "step_tokens": 12},
    {"search": "dvts", "n": 4, "beam_width": 2, "step_tokens": 16},
)
SCHEDULES = {
    "optimised": SchedulingConfig(slots=24, verification_batch_tokens=100),
    "few slots": SchedulingConfig(slots=3),
}


@pytest.fixture(scope="module")
def backends(smollm: Path) -> Iterator[tuple[object, object]]:
    config = engine_config(
        generator=str(smollm),
        verifier="judge",
        dtype="float32",
        max_model_len=CONTEXT,
        max_num_seqs=24,
    )
    loaded = load_planned(config)
    yield loaded.generator, loaded.judge
    loaded.generator.close()


def search_all(backends: tuple, scheduling: SchedulingConfig) -> list[SearchRun]:
    generator, judge = backends
    loop, recorders = Loop(generator, judge, scheduling), []
    runs = [
        make_run(generator, text, search_config(**options, temperature=0.8, max_tokens=36, seed=5))
        for text, options in zip(QUESTIONS, SEARCHES, strict=True)
    ]
    for run in runs:
        recorders.append(Recorder())
        loop.submit(run, recorders[-1])
    drive(loop)
    assert all(recorder.outcomes == [None] for recorder in recorders)
    generator.reset_prefix_cache()
    return runs


def num_generated(runs: list[SearchRun]) -> int:
    return sum(run.counts.generated_tokens for run in runs)


@pytest.mark.slow
def test_all_schedules_give_the_tree_of_the_plain_loop(backends: tuple) -> None:
    plain = search_all(backends, PLAIN)
    expected = [snapshot(run) for run in plain]
    for name, scheduling in SCHEDULES.items():
        found = search_all(backends, scheduling)
        assert all(same_tree(run, tree) for run, tree in zip(found, expected, strict=True)), name
        if name == "optimised":
            assert num_generated(found) > num_generated(plain), "it did speculate"


@pytest.mark.slow
def test_a_quantised_checkpoint_is_planned_for_and_searched(
    smollm: Path, smollm_gptq: Path
) -> None:
    shape = find_shape(str(smollm_gptq))
    on_disk = (smollm_gptq / "model.safetensors").stat().st_size
    assert shape.weight_bytes == pytest.approx(on_disk, rel=0.02)
    assert shape.weight_bytes < 0.45 * find_shape(str(smollm)).weight_bytes
    options = {"verifier": "judge", "max_model_len": CONTEXT, "max_num_seqs": 8}
    if not has_four_bit_kernels():
        with pytest.raises(ConfigurationError, match=r"smollm.*gptq.*AVX-512"):
            FastTTS.load(str(smollm_gptq), **options)
        return
    with FastTTS.load(str(smollm_gptq), **options) as engine:
        plain = engine.search(
            "What is the capital of France?", search="none", temperature=0.0, max_tokens=24
        )
        assert "Paris" in plain.text
        found = engine.search("What is 2 + 3?", n=4, beam_width=2, max_tokens=32)
        assert len(found.candidates) == 4
