"""vLLM's error texts, as the errors users see."""

import pytest

from fasttts.backends.vllm.error_translation import builder, translate
from fasttts.errors import BackendError, CapacityError, ConfigurationError, FastTTSError

CASES: list[tuple[Exception, type[FastTTSError], str]] = [
    (
        ValueError(
            "To serve at least one request with the model's max seq len (32768), (1.75 GiB KV "
            "cache is needed, which is larger than the available KV cache memory (0.25 GiB)."
        ),
        CapacityError,
        "raise kv_cache_memory_bytes",
    ),
    (
        ValueError("No available memory for the cache blocks."),
        CapacityError,
        "raise kv_cache_memory_bytes",
    ),
    (
        ValueError("Free memory on device (1/80 GiB) on startup is less than desired"),
        CapacityError,
        "lower gpu_memory_utilization",
    ),
    (RuntimeError("CUDA out of memory. Tried to allocate"), CapacityError, "smaller models"),
    (MemoryError(), CapacityError, "smaller models"),
    (
        ValueError("User-specified max_model_len (9) is greater than the derived max_model_len"),
        ConfigurationError,
        "lower max_model_len",
    ),
    (
        ValueError("Model architectures ['Foo'] are not supported for now."),
        ConfigurationError,
        "an architecture vLLM supports",
    ),
    (
        ValueError(
            "1 validation error for SchedulerConfig\n  Value error, max_num_batched_tokens (4096) "
            "must be greater than or equal to max_num_seqs (65536). [type=value_error, input_value="
            "ArgsKwargs((), {'runner_t..., 'stream_interval': 1}), input_type=ArgsKwargs]\n For"
        ),
        ConfigurationError,
        "to max_num_seqs (65536); lower max_num_seqs",
    ),
    (TypeError("got an unexpected keyword argument 'x'"), ConfigurationError, "generator_args"),
    (
        OSError("org/x is not a local folder and is not valid"),
        ConfigurationError,
        "check the model",
    ),
    (RuntimeError("something else"), BackendError, "RuntimeError: something else"),
]


@pytest.mark.parametrize(("error", "kind", "message"), CASES, ids=lambda case: str(case)[:40])
def test_known_texts(error: Exception, kind: type[FastTTSError], message: str) -> None:
    found = translate(error, "generator", "generator='m' cannot be opened")
    assert type(found) is kind
    assert str(found).startswith("generator='m' cannot be opened: ")
    assert message in str(found)


def test_the_list_of_all_architectures_is_left_out() -> None:
    error = ValueError(
        "Model architectures ['Foo'] are not supported for now. Supported architectures: "
        "dict_keys(['BarForCausalLM'])"
    )
    assert str(translate(error, "generator", "what")) == (
        "what: Model architectures ['Foo'] are not supported for now; choose a model with an "
        "architecture vLLM supports"
    )


def test_long_texts_are_cut() -> None:
    assert len(str(translate(RuntimeError("x" * 5000), "verifier", "what"))) < 700


PRINTED = """
(EngineCore pid=7) ERROR 11-20 [core.py:1] EngineCore failed to start.
(EngineCore pid=7) ERROR 11-20 [core.py:1] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-20 [core.py:1] ValueError: 4 GiB KV cache is needed
RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_why_another_process_does_not_start_is_read_off_what_it_printed() -> None:
    error = RuntimeError("Engine core initialization failed. See root cause above.")
    with (
        pytest.raises(CapacityError, match=r"ValueError: 4 GiB KV .* raise kv_cache_memory_bytes"),
        builder("verifier", "m", lambda: PRINTED),
    ):
        raise error
    for hidden in (str, lambda: "no traceback"):
        with (
            pytest.raises(BackendError, match="Engine core initialization failed") as caught,
            builder("verifier", "m", hidden),
        ):
            raise error
        assert caught.value.__cause__ is error


def test_opening_keeps_the_cause_and_our_own_errors() -> None:
    with (
        pytest.raises(BackendError, match="verifier='m' cannot be opened") as caught,
        builder("verifier", "m"),
    ):
        raise RuntimeError("inner")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.role == "verifier"
    own = ConfigurationError("ours")
    with pytest.raises(ConfigurationError) as kept, builder("verifier", "m"):
        raise own
    assert kept.value is own
