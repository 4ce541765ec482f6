"""Options: defaults, resolution, and one clear line for every bad one."""

import pytest

from fasttts.config import EngineConfig, SearchConfig, engine_config, search_config
from fasttts.decoding.sampling import Sampling
from fasttts.errors import ConfigurationError, FastTTSError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beamwidth": 4}, "unknown option 'beamwidth': did you mean 'beam_width'?"),
        ({"zzz": 4}, "unknown option 'zzz': known: search, n, "),
        ({"n": 10}, "n=10 is not a multiple of beam_width=4: try n=8"),
        ({"n": 2}, "n=2 is not a multiple of beam_width=4: try n=4"),
        ({"n": 0}, "n=0: "),
        ({"n": -4}, "n=-4: "),
        ({"n": 10**9}, "n=1000000000: "),
        ({"n": "many"}, "n='many': "),
        ({"beam_width": 0}, "beam_width=0: "),
        ({"search": "bfs"}, "search='bfs': known: none, best_of_n, "),
        ({"search": "beam_serch"}, "search='beam_serch': did you mean 'beam_search'?"),
        ({"temperature": -1}, "temperature=-1: "),
        ({"temperature": float("nan")}, "temperature=nan: "),
        ({"top_p": 0}, "top_p=0: "),
        ({"top_k": -1}, "top_k=-1: "),
        ({"top_k": 10**400}, "top_k=1000000"),
        ({"min_p": 2}, "min_p=2: "),
        ({"max_tokens": 0}, "max_tokens=0: "),
        ({"max_depth": 0}, "max_depth=0: "),
        ({"seed": -1}, "seed=-1: "),
        ({"step_separator": ""}, "step_separator='': "),
        ({"stop": [""]}, "stop.0='': "),
    ],
)
def test_a_bad_search_option_is_named_with_its_value(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        search_config(**options)
    assert str(error.value).startswith(message)
    assert isinstance(error.value, FastTTSError)
    assert isinstance(error.value, ValueError)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verifer": "x"}, "unknown option 'verifer': did you mean 'verifier'?"),
        ({"max_num_seqs": 0}, "max_num_seqs=0: "),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization=1.5: "),
        ({"kv_cache_memory_bytes": 1}, "kv_cache_memory_bytes=1: "),
        ({"generator": ""}, "generator='': "),
        ({"dtype": "int3"}, "dtype='int3': "),
        ({"scheduling": {"slotz": 1}}, "unknown option 'scheduling.slotz': did you mean 'slots'?"),
        ({"scheduling": {"slots": 0}}, "scheduling.slots=0: "),
    ],
)
def test_a_bad_engine_option_is_named_with_its_value(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        engine_config(**options)
    assert str(error.value).startswith(message)


def test_several_bad_options_are_reported_together() -> None:
    with pytest.raises(ConfigurationError, match=r"n=-1: .*; unknown option 'foo'"):
        search_config(n=-1, foo=2)


def test_options_override_the_base_and_keep_what_it_set() -> None:
    base = search_config(search="best_of_n", n=5, temperature=0.3)
    assert search_config(base, n=7) == search_config(search="best_of_n", n=7, temperature=0.3)


def test_the_base_is_checked_again_with_the_options() -> None:
    with pytest.raises(ConfigurationError, match="not a multiple"):
        search_config(SearchConfig(n=8), beam_width=3)


@pytest.mark.parametrize(("search", "temperature"), [("none", 0.0), ("beam_search", 0.8)])
def test_temperature_defaults_by_search(search: str, temperature: float) -> None:
    assert search_config(search=search).sampling == Sampling(temperature=temperature)
    explicit = search_config(search=search, temperature=0.5, top_k=3, top_p=0.9, min_p=0.1)
    assert explicit.sampling == Sampling(temperature=0.5, top_k=3, top_p=0.9, min_p=0.1)


def test_the_demo_generator_brings_its_verifier() -> None:
    assert engine_config().verifier == "demo"
    assert engine_config(verifier=None).verifier is None
    assert engine_config(generator="some/model").verifier is None


def test_the_environment_sets_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTTTS_GENERATOR", "org/model")
    monkeypatch.setenv("FASTTTS_MAX_NUM_SEQS", "7")
    assert engine_config().allow_control_tokens is False
    monkeypatch.setenv("FASTTTS_ALLOW_CONTROL_TOKENS", "1")
    assert engine_config().allow_control_tokens is True
    assert engine_config() == EngineConfig(generator="org/model", max_num_seqs=7)
    assert engine_config(generator="demo").generator == "demo"
    monkeypatch.setenv("FASTTTS_MAX_NUM_SEQS", "-7")
    with pytest.raises(ConfigurationError, match="max_num_seqs='-7'"):
        engine_config()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GENERATOR_ARGS", "nope", "FASTTTS_GENERATOR_ARGS must be a JSON object such as "),
        ("SCHEDULING", "slots=1", "FASTTTS_SCHEDULING must be a JSON object such as "),
        ("SCHEDULING", '{"slotz": 1}', "unknown option 'scheduling.slotz': did you mean 'slots'?"),
        ("VERIFIER_ARGS", "[1]", "verifier_args=[1]: "),
        ("TRACING", "[" * 100_000, "a variable FASTTTS_... is nested too deeply"),
        (
            "MAX_NUM_SEQ",
            "7",
            "unknown variable FASTTTS_MAX_NUM_SEQ: did you mean 'FASTTTS_MAX_NUM_SEQS'?",
        ),
        (
            "SCHEDULING_SLOTS",
            "7",
            "unknown variable FASTTTS_SCHEDULING_SLOTS: did you mean 'FASTTTS_SCHEDULING'?",
        ),
    ],
)
def test_a_bad_variable_of_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"FASTTTS_{name}", value)
    with pytest.raises(ConfigurationError) as error:
        engine_config()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_objects_of_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTTTS_SCHEDULING", '{"slots": 3}')
    assert engine_config().scheduling.slots == 3


def test_an_engine_without_a_verifier_has_none_of_its_options() -> None:
    given = engine_config(
        verifier="x/prm", verifier_format="qwen-prm", verifier_process=True, max_num_seqs=4
    )
    without = given.without_verifier()
    assert without == engine_config(verifier=None, max_num_seqs=4)
    assert given.verifier == "x/prm"
