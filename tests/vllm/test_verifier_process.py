"""A verifier in a process of its own: the same scores and trees, and what happens when it dies."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import vllm.envs

import __main__
from fasttts import FastTTS
from fasttts.backends.vllm import engine_lifecycle
from fasttts.config import search_config
from fasttts.errors import BackendError, CapacityError
from fasttts.interfaces import VerificationRequest, fingerprint
from tests.vllm.inside import engine_of

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

QUESTION = "Tom has 10 pens. Tom buys 5 bags of 8 pens. How many pens does Tom have now?"
REQUESTS = [VerificationRequest(problem=QUESTION, steps=("5 * 8 = 40", "10 + 40 = 50"))]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastTTS]:
    """The demonstration models, loaded by a script that does not guard itself."""
    script = tmp_path_factory.mktemp("unguarded") / "script.py"
    script.write_text("raise SystemExit('the script was run again')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(__main__, "__file__", str(script), raising=False)
        patch.setattr(__main__, "__spec__", None)
        engine = FastTTS.load("demo", max_num_seqs=64, verifier_process=True)
        assert __main__.__file__ == str(script)
    with engine:
        yield engine


def test_it_scores_as_in_this_process(engine: FastTTS, demo_engine: FastTTS) -> None:
    verifier: Any = engine.verifier
    expected = demo_engine.verifier
    assert expected is not None
    assert verifier.is_serial
    assert fingerprint(verifier) == fingerprint(expected)
    flow = verifier.score_async(REQUESTS)
    future = next(flow)
    future.result()
    with pytest.raises(StopIteration) as ended:
        next(flow)
    (mine,), (other,) = ended.value.value, expected.score(REQUESTS)
    assert mine.scores == pytest.approx(other.scores, abs=1e-5)
    (again,) = verifier.score(REQUESTS)
    assert again.num_cached_tokens > 0
    verifier.reset_prefix_cache()
    assert verifier.score(REQUESTS)[0].num_cached_tokens == 0


def test_searches_find_the_same_trees(engine: FastTTS, demo_engine: FastTTS) -> None:
    for seed, search in enumerate(["beam_search", "dvts", "best_of_n"]):
        config = search_config(search=search, n=16, seed=seed, max_tokens=300)
        found = engine.search(QUESTION, config=config)
        assert found.candidates == demo_engine.search(QUESTION, config=config).candidates
        assert found.timings.verification_s + found.timings.generation_s <= found.timings.total_s


def test_an_interrupt_of_the_program_leaves_it_alone(engine: FastTTS) -> None:
    workers = multiprocessing.active_children()
    assert workers
    for worker in workers:
        os.kill(int(worker.pid or 0), signal.SIGINT)
    assert engine.search(QUESTION, n=4, max_tokens=200).candidates
    assert all(worker.is_alive() for worker in workers)


def test_its_end_is_told_to_searches_that_need_it(engine: FastTTS) -> None:
    """Last to use this engine's verifier."""
    workers = multiprocessing.active_children()
    assert workers
    for worker in workers:
        worker.kill()
    for _ in range(2):
        with pytest.raises(BackendError, match="the verifier") as caught:
            engine.search(QUESTION, n=4, max_tokens=200)
        assert caught.value.role == "verifier"
    assert "restart()" in str(engine.health.reason)
    assert engine.search(QUESTION, search="none", max_tokens=20).text
    verifier: Any = engine.verifier
    engine.close()
    verifier.close()
    with pytest.raises(BackendError, match="closed"):
        verifier.score(REQUESTS)
    assert not any(worker.is_alive() for worker in workers)


def test_on_a_gpu_the_whole_engine_is_in_the_other_process(
    demo_engine: FastTTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown without a GPU: on one, vLLM keeps other books, and starts another process."""
    before = multiprocessing.active_children()
    monkeypatch.setattr(engine_lifecycle, "_is_cpu", lambda: False)
    config = search_config(n=8, max_tokens=300)
    with FastTTS.load("demo", max_num_seqs=16, verifier_process=True) as engine:
        (other,) = (child for child in multiprocessing.active_children() if child not in before)
        assert other.name == "EngineCore"
        verifier: Any = engine.verifier
        sockets = engine_of(verifier).engine_core.ctx
        found = engine.search(QUESTION, config=config)
        other.kill()
        with pytest.raises(BackendError, match="the verifier"):
            engine.search(QUESTION, config=config)
    assert found.candidates == demo_engine.search(QUESTION, config=config).candidates
    assert sockets.closed
    assert set(multiprocessing.active_children()) <= set(before)
    assert vllm.envs.VLLM_ENABLE_V1_MULTIPROCESSING is False


def test_one_that_cannot_be_opened_leaves_no_process_behind() -> None:
    before = multiprocessing.active_children()
    small = {"kv_cache_memory_bytes": 1 << 17}
    with pytest.raises(CapacityError, match="verifier="):
        FastTTS.load("demo", verifier_process=True, verifier_args=small)
    assert set(multiprocessing.active_children()) <= set(before)
