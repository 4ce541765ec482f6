"""Who a loaded model is, and results that are found again by it."""

import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fasttts import FastTTS, SchedulingConfig
from fasttts.backends.vllm.fingerprint import model_fingerprint
from fasttts.demo import generator_path

pytestmark = pytest.mark.vllm

PROBLEM = "Tom has 3 boxes of 12 pencils. How many pencils does Tom have now?"


def loaded(folder: Path, **options: Any) -> Any:
    """What a fingerprint reads of an engine."""
    described = {"dtype": "float32", "quantization": None, "max_model_len": 512, "revision": None}
    model = SimpleNamespace(model=str(folder), **{**described, **options})
    config = SimpleNamespace(model_config=model)
    return SimpleNamespace(llm_engine=SimpleNamespace(vllm_config=config))


def test_files_precision_context_and_settings_are_in_it(tmp_path: Path) -> None:
    shutil.copytree(generator_path(), tmp_path / "a")
    shutil.copytree(generator_path(), tmp_path / "b")
    first = model_fingerprint(loaded(tmp_path / "a"), {})
    assert model_fingerprint(loaded(tmp_path / "b"), {}) == first
    (weights,) = (tmp_path / "b").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    others = {
        model_fingerprint(loaded(tmp_path / "b"), {}),
        model_fingerprint(loaded(tmp_path / "a", dtype="bfloat16"), {}),
        model_fingerprint(loaded(tmp_path / "a", max_model_len=256), {}),
        model_fingerprint(loaded(tmp_path / "a"), {"rope": 2}),
    }
    assert len(others - {first}) == 4


def test_a_large_file_is_known_by_samples_and_its_time(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as stream:
        stream.truncate(1 << 28)
    first = model_fingerprint(loaded(tmp_path), {})
    assert model_fingerprint(loaded(tmp_path), {}) == first
    os.utime(weights, ns=(0, 0))
    assert model_fingerprint(loaded(tmp_path), {}) != first


def test_a_hub_s_file_is_known_by_its_blob(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    prints = []
    for blob in ("one", "two", "one"):
        (tmp_path / "blobs" / blob).write_bytes(b"the same length")
        link = tmp_path / "snapshot" / "model.safetensors"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / "blobs" / blob)
        prints.append(model_fingerprint(loaded(tmp_path / "snapshot"), {}))
    assert prints[0] == prints[2] != prints[1]


@pytest.mark.slow
def test_a_result_is_found_by_another_engine_and_vllm_logs_as_it_did(tmp_path: Path) -> None:
    options = {"cache_dir": str(tmp_path / "results"), "max_model_len": 512}
    with FastTTS.load(**options) as engine:
        computed = engine.search(PROBLEM, n=4)
        plain = engine.search(PROBLEM, search="none")
        vllm = logging.getLogger("vllm")
        assert vllm.handlers
        assert not vllm.disabled
    with FastTTS.load(**options, max_num_seqs=8, scheduling=SchedulingConfig(slots=2)) as engine:
        again = engine.search(PROBLEM, n=4)
        assert again.usage.is_cached
        assert again.candidates == computed.candidates
        assert engine.search(PROBLEM, search="none").candidates == plain.candidates
        assert not engine.search(PROBLEM, n=4, seed=1).usage.is_cached
        assert engine.stats().requests.num_cache_hits == 2
        assert engine.stats().gauges.kv_cache_usage == 0
