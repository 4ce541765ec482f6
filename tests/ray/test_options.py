"""What is checked before a cluster is asked for anything, and where requests go."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fasttts import BackendError, ConfigurationError, EngineConfig
from fasttts.config import engine_config
from fasttts.config.serving import serving_config
from tests.ray.engines import quick

EXAMPLE = Path(__file__).parents[2] / "examples" / "deploy" / "ray-serve.yaml"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_replica": 2}, "did you mean 'max_replicas'"),
        ({"min_replicas": 3, "max_replicas": 2}, "max_replicas=2 is below min_replicas=3"),
        ({"min_replicas": 0}, "min_replicas=0"),
        ({"target_ongoing_requests": float("nan")}, "target_ongoing_requests"),
        ({"engine": {"generater": "demo"}}, "did you mean 'generator'"),
        ({"engine": "demo"}, "engine='demo'"),
        ({"serving": {"max_requests": 0}}, "max_requests=0"),
        ({"open_engine": "a function"}, "open_engine='a function'"),
        (["max_replicas"], "options is an object of options"),
        ({3: 4}, "3=3"),
        ({"num_cpus": 0.00004}, "num_cpus=4e-05: .*0.0001"),
        ({"num_gpus": 2.25}, "num_gpus=2.25: .*whole number"),
    ],
)
def test_options_that_cannot_work_are_refused(options: Any, message: str) -> None:
    from fasttts.ray import build_app

    with pytest.raises(ConfigurationError, match=message):
        build_app(options)


@pytest.mark.parametrize(
    ("engine", "num_gpus", "message"),
    [
        ({"verifier_device": 3}, 2, "VERIFIER_DEVICE.=3: num_gpus says 2 GPUs, counted from 0"),
        ({"verifier_device": 1}, 1, "VERIFIER_DEVICE.=1: num_gpus says 1 GPU, .* raise num_gpus"),
        ({"verifier_device": 1}, 0.5, "VERIFIER_DEVICE.=1: num_gpus says 1 GPU,"),
        ({"generator_device": 2}, 2, "GENERATOR_DEVICE.=2: num_gpus says 2 GPUs"),
        ({"tensor_parallel_size": 4}, 2, "PARALLEL_SIZE.=4 from GPU 0 on: num_gpus says 2 GPUs"),
        (
            {"tensor_parallel_size": 2, "generator_device": 1},
            2,
            "PARALLEL_SIZE.=2 from GPU 1 on: num_gpus says 2 GPUs",
        ),
    ],
)
def test_gpus_that_an_actor_does_not_see_are_refused(
    engine: dict[str, int], num_gpus: float, message: str
) -> None:
    from fasttts.ray import build_app, solve_dataset

    dataset: Any = None
    with pytest.raises(ConfigurationError, match=message):
        build_app({"engine": engine, "num_gpus": num_gpus})
    with pytest.raises(ConfigurationError, match=message):
        solve_dataset(dataset, engine_config(**engine), num_gpus=num_gpus)


@pytest.mark.parametrize(
    ("engine", "num_gpus"),
    [
        ({"verifier_device": 1}, 2),
        ({"tensor_parallel_size": 2}, 2),
        ({"tensor_parallel_size": 2, "verifier_device": 2}, 3),
        ({}, 0.25),
        ({"tensor_parallel_size": 2}, 0),  # ranks on a CPU
    ],
)
def test_gpus_that_an_actor_sees(engine: dict[str, int], num_gpus: float) -> None:
    from fasttts.ray import build_app

    build_app({"engine": engine, "num_gpus": num_gpus})


def test_arguments_of_a_dataset_that_cannot_work_are_refused() -> None:
    from fasttts.ray import solve_dataset

    dataset: Any = None  # none is asked for anything
    for arguments in (
        {"num_actors": 0},
        {"batch_size": -1},
        {"num_actors": "many"},
        {"batch_size": 8.5},
        {"num_cpus": float("nan")},
        {"num_gpus": -1},
        {"num_gpus": 3.5},
        {"problem": ""},
        {"seed": 7},
        {"system": ["Be brief."]},
        {"open_engine": 3},
        {"engine": "demo"},
        {"open_engine": "here"},
        {"sarch": "beam_search"},
    ):
        given: Any = arguments
        with pytest.raises(ConfigurationError, match=next(iter(arguments))):
            solve_dataset(dataset, **given)
    with pytest.raises(ConfigurationError, match="dataset is a ray"):
        solve_dataset(dataset)


def test_functions_that_open_no_engine() -> None:
    from fasttts.ray.engines import open_actor_engine

    with pytest.raises(ConfigurationError, match="open_engine='nowhere:none' cannot be imported"):
        open_actor_engine(EngineConfig(), "nowhere:none")
    with pytest.raises(ConfigurationError, match="is a FastTTS, not str"):
        open_actor_engine(EngineConfig(), "tests.ray.engines:no_engine")


def test_a_full_batch_is_what_a_replica_is_worth() -> None:
    from fasttts.ray.application import requests_of_batch

    plain, search = serving_config(), serving_config(search="beam_search")
    assert requests_of_batch(engine_config(max_num_seqs=64), plain) == 64
    assert requests_of_batch(engine_config(max_num_seqs=64, scheduling={"slots": 32}), plain) == 32
    assert requests_of_batch(engine_config(max_num_seqs=64), search) == 4
    assert requests_of_batch(engine_config(max_num_seqs=2), search) == 1


def test_the_example_of_a_configuration() -> None:
    from ray.serve.schema import ServeDeploySchema

    from fasttts.ray import build_app

    asked = ServeDeploySchema.model_validate(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))
    assert asked.http_options.host == "127.0.0.1"
    (application,) = asked.applications
    assert application.import_path == "fasttts.ray:build_app"
    build_app(application.args)


@dataclass(frozen=True)
class Replica:
    """What the router knows of one."""

    name: str
    replica_id: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "replica_id", SimpleNamespace(unique_id=self.name))


def ranks(names: list[str], session: str) -> list[list[str]]:
    """The ranks of replicas for a request."""
    from fasttts.ray.session_router import SessionRouter

    router = SessionRouter.__new__(SessionRouter)  # its ranks depend on no state
    request: Any = SimpleNamespace(
        metadata=SimpleNamespace(session_id=session), routing_context=SimpleNamespace()
    )
    replicas: Any = [Replica(name) for name in names]
    found = asyncio.run(router.choose_replicas(replicas, request))
    assert request.routing_context.should_backoff
    return [[one.replica_id.unique_id for one in rank] for rank in found]


names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True)


@given(names, st.text(min_size=1))
def test_a_session_has_one_replica_and_the_others_stand_in(found: list[str], session: str) -> None:
    (home,), others = ranks(found, session)
    assert sorted([home, *others]) == sorted(found)
    assert ranks(found[::-1], session)[0] == [home]
    for gone in others:  # whose end moves no other session
        assert ranks([name for name in found if name != gone], session)[0] == [home]


@given(names)
def test_without_a_session_all_replicas_are_equal(found: list[str]) -> None:
    (rank,) = ranks(found, "")
    assert sorted(rank) == sorted(found)


def test_sessions_are_spread() -> None:
    homes = [ranks(["a", "b", "c"], f"session-{number}")[0][0] for number in range(300)]
    assert min(map(homes.count, "abc")) > 70


def test_a_replica_is_as_healthy_as_its_engine() -> None:
    from fasttts.ray.replica import EngineReplica

    engine = quick(EngineConfig())
    replica: Any = SimpleNamespace(_engine=engine)
    EngineReplica.check_health(replica)
    engine.close()
    with pytest.raises(BackendError, match="the engine has failed: the engine is closed"):
        EngineReplica.check_health(replica)
