"""An application of Ray Serve: one engine in each replica."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fasttts.config import EngineConfig, SearchConfig, engine_config
from fasttts.config.serving import ServingConfig, serving_config
from fasttts.ray.engines import check_actor_gpus, check_opener
from fasttts.ray.options import ApplicationOptions, application_options

if TYPE_CHECKING:
    from ray.serve import Application, Deployment

_SLOTS = 128
"""Sequences of a batch where neither option nor plan says otherwise, as on one machine."""

_ROUTER = "fasttts.ray.session_router:SessionRouter"

_RETRY_S = 1.0
"""Seconds after which a client that was refused should come again."""

_METRICS_S = 10.0
"""Most seconds between two counts of the requests in work, as Ray has it."""

_DRAIN_LOOK_S = 2.0
"""Most seconds between two looks at whether a replica that is to end has done its requests."""

_MOST_STARTS = 3
"""Constructors that fail before the application has failed: a model that cannot load never will."""


def build_app(options: Mapping[str, Any]) -> "Application":
    """Builds an application of Ray Serve, for `serve.run` and configurations of `serve run`.

    Args:
        options: Fields of `ApplicationOptions`: `engine`, `serving`, `max_replicas` and so on.

    Raises:
        ConfigurationError: An option is unknown, or its value cannot work.
    """
    from ray import serve  # which no actor of a dataset needs

    from fasttts.ray.replica import EngineReplica

    asked = application_options(options)
    check_opener(asked.open_engine)
    engine = engine_config(**asked.engine)
    check_actor_gpus(engine, asked.num_gpus)
    serving = _serving(asked)
    deployment: Deployment = serve.deployment(  # type: ignore[assignment]  # of a class, it is one
        EngineReplica,
        name="fasttts",
        ray_actor_options={"num_cpus": asked.num_cpus, "num_gpus": asked.num_gpus},
        max_ongoing_requests=serving.max_requests,
        max_queued_requests=serving.max_requests,
        backpressure_config={"status_code": 429, "retry_after_s": _RETRY_S},
        request_router_config={"request_router_class": _ROUTER},
        graceful_shutdown_timeout_s=asked.drain_s,
        graceful_shutdown_wait_loop_s=min(_DRAIN_LOOK_S, asked.drain_s / 4),
        max_constructor_retry_count=_MOST_STARTS,
        **_replicas(asked, engine, serving),
    )
    return deployment.bind(engine, serving, asked.open_engine)


def _serving(asked: ApplicationOptions) -> ServingConfig:
    """The server's options; a page is in the memory of one replica, which a browser cannot name."""
    config = serving_config(**asked.serving)
    if asked.max_replicas > 1 and "num_pages" not in config.model_fields_set:
        return config.model_copy(update={"num_pages": 0})
    return config


def _replicas(
    asked: ApplicationOptions, engine: EngineConfig, serving: ServingConfig
) -> dict[str, Any]:
    """Serve's options of how many replicas there are."""
    if asked.min_replicas == asked.max_replicas:
        return {"num_replicas": asked.min_replicas}
    target = asked.target_ongoing_requests or requests_of_batch(engine, serving)
    scaling = {
        "min_replicas": asked.min_replicas,
        "max_replicas": asked.max_replicas,
        "target_ongoing_requests": min(target, serving.max_requests),
        "upscale_delay_s": asked.upscale_delay_s,
        "downscale_delay_s": asked.downscale_delay_s,
        "look_back_period_s": asked.look_back_period_s,
        "metrics_interval_s": min(_METRICS_S, asked.look_back_period_s / 3),
    }
    return {"autoscaling_config": scaling}


def requests_of_batch(engine: EngineConfig, serving: ServingConfig) -> int:
    """Requests that fill the engine's batch: those beyond them wait for a place.

    Args:
        engine: Its sequences are decoded together.
        serving: Its search has so many candidates by default; plain decoding is one sequence.
    """
    slots = engine.scheduling.slots or engine.max_num_seqs or _SLOTS
    candidates = 1 if serving.search == "none" else SearchConfig().n
    return max(1, math.floor(slots / candidates))
