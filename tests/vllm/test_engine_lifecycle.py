"""Opening, failing and closing engines, several times in one process."""

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fasttts.backends.vllm import load_backends
from fasttts.config import EngineConfig, engine_config
from fasttts.decoding.sampling import Sampling
from fasttts.errors import BackendError, CapacityError, ConfigurationError, FastTTSError
from fasttts.interfaces import GenerationRequest, VerificationRequest
from tests.vllm.inside import lose_device, model_of

pytestmark = pytest.mark.vllm


@pytest.fixture
def config(tiny_generator: Path, tiny_verifier: Path) -> EngineConfig:
    return engine_config(generator=str(tiny_generator), verifier=str(tiny_verifier))


def tokens(generator: Any, seed: int = 1) -> list[int]:
    generator.add(
        GenerationRequest(
            request_id="one",
            prompt_token_ids=list(range(60, 80)),
            seed=seed,
            sampling=Sampling(temperature=1.0),
            max_tokens=20,
        )
    )
    found: list[int] = []
    while generator.num_unfinished():
        for output in generator.step():
            found += output.token_ids
    return found


def score(verifier: Any) -> float:
    (found,) = verifier.score([VerificationRequest(problem="p", steps=("1 + 2 = 3",))])
    return round(found.scores[0], 4)


@pytest.mark.slow
def test_open_close_open(config: EngineConfig, capfd: pytest.CaptureFixture[str]) -> None:
    generator, verifier = load_backends(config)
    expected = tokens(generator), score(verifier)
    models = [weakref.ref(model_of(backend)) for backend in (generator, verifier)]

    generator.close()
    assert score(verifier) == expected[1], "the verifier does not need the generator"

    second, second_verifier = load_backends(config)
    assert (tokens(second), score(second_verifier)) == expected, "beside a verifier left open"

    verifier.close()
    second_verifier.close()
    assert tokens(second) == expected[0], "the generator does not need the verifiers"
    second.close()
    gc.collect()
    assert [model() for model in models] == [None, None], "the models' memory is freed"

    third, third_verifier = load_backends(config)
    assert (tokens(third), score(third_verifier)) == expected, "after all were closed"
    third_verifier.close()
    third.close()
    assert capfd.readouterr() == ("", ""), "nothing reaches the terminal"


@pytest.fixture(scope="module")
def lone(tiny_generator: Path) -> Iterator[Any]:
    """A generator that may write the first half of its vocabulary only."""
    from vllm.v1.sample.logits_processor import LogitsProcessor

    class FirstHalf(LogitsProcessor):
        def __init__(self, *_: Any) -> None:
            pass

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update: Any) -> None:
            pass

        def apply(self, logits: Any) -> Any:
            logits[:, logits.shape[1] // 2 :] = float("-inf")
            return logits

    config = engine_config(generator=str(tiny_generator))
    generator, _ = load_backends(config, logits_processors=[FirstHalf])
    yield generator
    generator.close()


def test_logits_processors_act_before_the_sampler(lone: Any) -> None:
    drawn = [token for seed in range(10) for token in tokens(lone, seed)]
    assert max(drawn) < 160
    assert len(set(drawn)) > 50


def test_the_prefix_cache_can_be_emptied(lone: Any) -> None:
    def num_cached() -> int:
        lone.add(
            GenerationRequest(
                request_id="one",
                prompt_token_ids=[9] * 100,
                seed=1,
                sampling=Sampling(),
                max_tokens=1,
            )
        )
        (output,) = lone.step()
        return int(output.num_cached_tokens)

    assert num_cached() == 0
    assert num_cached() == 96
    lone.reset_prefix_cache()
    assert num_cached() == 0


def test_another_thread_may_step(lone: Any) -> None:
    found: list[list[int]] = []
    thread = threading.Thread(target=lambda: found.append(tokens(lone)))
    thread.start()
    thread.join()
    assert found == [tokens(lone)]


def test_a_failed_engine_fails_at_once(lone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Last to use this generator: it is of no use afterwards."""
    lose_device(lone, monkeypatch)
    with pytest.raises(BackendError, match="device lost"):
        tokens(lone)
    assert lone.num_unfinished() == 0
    for call in (lone.step, lambda: tokens(lone), lone.preempt_all):
        with pytest.raises(BackendError, match="device lost"):
            call()


ERRORS: dict[str, tuple[dict[str, Any], type[FastTTSError], str]] = {
    "hub name": (
        {"generator": "no-such-group/no-such-model"},
        ConfigurationError,
        "generator='no-such-group/no-such-model' is no directory",
    ),
    "context": ({"max_model_len": 1025}, ConfigurationError, "more than the 1024 tokens"),
    "unknown argument": (
        {"generator_args": {"blocksize": 1}},
        ConfigurationError,
        "did you mean 'block_size'",
    ),
    "reserved argument": (
        {"verifier_args": {"pooler_config": None}},
        ConfigurationError,
        "is set by FastTTS",
    ),
    "bad value": ({"generator_args": {"load_format": 3}}, ConfigurationError, "generator_args"),
    "tool parser": ({"tool_call_parser": "none"}, ConfigurationError, "known:.*hermes"),
    "cache of the generator": (
        {"max_model_len": 1024, "generator_args": {"kv_cache_memory_bytes": 1 << 17}},
        CapacityError,
        "generator=.*raise kv_cache_memory_bytes",
    ),
    "cache of the verifier": (
        {"verifier_args": {"kv_cache_memory_bytes": 1 << 17, "max_model_len": 1024}},
        CapacityError,
        "verifier=.*raise kv_cache_memory_bytes",
    ),
    "context of the verifier": (
        {"verifier_args": {"max_model_len": 9999}},
        ConfigurationError,
        "max_model_len=9999 is more than the 1024 .*verifier=",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_opened_is_explained(
    config: EngineConfig, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        load_backends(config.model_copy(update=options))
    assert capfd.readouterr() == ("", "")


def test_models_are_checked_before_vllm_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as where vLLM is not installed
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_backends(engine_config(generator=str(tmp_path / "nowhere")))
