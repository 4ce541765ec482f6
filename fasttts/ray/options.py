"""Options of an application of Ray Serve, and arguments of a dataset's solution."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fasttts.config.validation import refusal
from fasttts.errors import wrong_type

_SMALLEST = 0.0001
"""Of a core or a GPU, what Ray can tell apart."""


def _check_share(count: float) -> float:
    if 0.0 < count < _SMALLEST:
        raise ValueError(f"Ray has no share below {_SMALLEST}: give that, more, or 0")
    return round(count, 4)


def _check_gpus(count: float) -> float:
    if count > 1.0 and not count.is_integer():
        raise ValueError("Ray shares one GPU alone: give a whole number, or at most 1")
    return count


Cores = Annotated[
    float, Field(ge=0.0, le=1024.0, allow_inf_nan=False), AfterValidator(_check_share)
]
Gpus = Annotated[Cores, AfterValidator(_check_gpus)]
Column = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class ApplicationOptions(BaseModel):
    """Options of an application of Ray Serve, with Ray's names where Ray has one.

    Attributes:
        engine: Fields of `EngineConfig`.
        serving: Fields of `ServingConfig`. Its `max_requests` is Serve's `max_ongoing_requests` of
            each replica, and what waits in each proxy before further requests have status 429.
        open_engine: A function `module:function` that takes the `EngineConfig` and opens the engine
            of a replica; None is `FastTTS.from_config`.
        min_replicas: Fewest replicas.
        max_replicas: Most replicas; as many as `min_replicas` are a fixed number.
        target_ongoing_requests: Requests of a replica beyond which there should be another; None is
            as many as fill the engine's batch with the candidates that `serving.search` has by
            default.
        upscale_delay_s: Seconds for which more must be needed before a replica is added.
        downscale_delay_s: Seconds for which fewer must be enough before one is ended.
        look_back_period_s: Seconds over which requests are averaged for that.
        num_cpus: CPU cores that Ray sets aside for a replica.
        num_gpus: GPUs of a replica, which it alone sees.
        drain_s: Seconds in which a replica that is to end finishes its requests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: dict[str, Any] = Field(default_factory=dict)
    serving: dict[str, Any] = Field(default_factory=dict)
    open_engine: str | None = None
    min_replicas: int = Field(default=1, ge=1, le=10_000)
    max_replicas: int = Field(default=1, ge=1, le=10_000)
    target_ongoing_requests: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    upscale_delay_s: Seconds = 30.0
    downscale_delay_s: Seconds = 600.0
    look_back_period_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 30.0
    num_cpus: Cores = 1.0
    num_gpus: Gpus = 0.0
    drain_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 30.0

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas={self.max_replicas} is below min_replicas={self.min_replicas}: "
                "raise it, or leave it out for one replica"
            )
        return self


def application_options(options: Mapping[str, Any]) -> ApplicationOptions:
    """Checks the options of an application.

    Raises:
        ConfigurationError: An option is unknown, or its value cannot work.
    """
    if not isinstance(options, Mapping):
        raise wrong_type("options", options, "an object of options, such as {'max_replicas': 2}")
    try:
        return ApplicationOptions.model_validate(dict(options))
    except ValidationError as error:
        raise refusal(ApplicationOptions, error) from error


class DatasetArguments(BaseModel):
    """Arguments of `solve_dataset`, which describes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str | None
    problem: Column
    seed: Column | None
    num_actors: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    num_cpus: Cores
    num_gpus: Gpus
    open_engine: str | None


def dataset_arguments(**arguments: Any) -> DatasetArguments:
    """Checks the arguments of a dataset's solution.

    Raises:
        ConfigurationError: A value cannot work.
    """
    try:
        return DatasetArguments(**arguments)
    except ValidationError as error:
        raise refusal(DatasetArguments, error) from error
