"""Options of an engine: models, memory and devices.

Environment variables are read here and nowhere else: `FASTTTS_GENERATOR=...` sets the default of
`EngineConfig.generator`, and so on.
"""

import os
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from fasttts.config.names import (
    DEMO,
    JUDGE,
    LOG_PREFIX,
    SERVING_PREFIX,
    SIGNALS,
    VARIABLE_PREFIX,
    is_function_name,
)
from fasttts.config.scheduling import SchedulingConfig
from fasttts.config.tracing import TracingConfig
from fasttts.config.validation import check_variables, refusal
from fasttts.errors import ConfigurationError, Role
from fasttts.types import Numerics

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Offloading = Literal["auto", "none", "kv", "sleep"]
"""Use of host memory: where it is faster; never; for KV blocks; for the model that does not run."""

VerifierFormat = Literal[
    "auto",
    "qwen-prm",
    "reasonflux",
    "qwen-rm",
    "skywork-prm",
    "trl",
    "math-shepherd",
    "rlhflow",
    "genprm",
    "thinkprm",
    "outcome",
    "judge",
    "judge-panel",
    "judge-grades",
]
"""How a verifier's model is prompted and read; "auto" goes by its configuration and its name."""


OF_VERIFIER_MODEL = (
    "verifier_format",
    "verifier_format_args",
    "verifier_process",
    "verifier_device",
    "verifier_args",
)
"""Options of the engine that mean nothing without a verifier's model."""


class EngineConfig(BaseSettings):
    """Options of an engine: models, memory and devices.

    Attributes:
        generator: "demo", a local model directory, or a hub name.
        verifier: The same for the verifier; "judge" lets the generator judge itself,
            "perplexity", "entropy", "self_certainty", "mean_confidence" and "lowest_confidence"
            read its log-probabilities, and "module:function" is a Python function. None loads no
            verifier. With the "demo" generator it defaults to the bundled verifier.
        verifier_format: Prompt format of the verifier's model; "auto" goes by its configuration and
            its name. With "judge" as the verifier, which question the generator is asked: "judge",
            "judge-panel" or "judge-grades".
        verifier_format_args: Settings of that format: `step_separator` and `good_label` of "trl",
            `max_thought_tokens` of "genprm" and "thinkprm".
        dtype: Type of both models' weights; "auto" is float32 on a CPU and for deterministic
            numerics, and the model's own elsewhere and where it is quantised. With deterministic
            numerics on a GPU, "bfloat16" is the generator's alone, and the verifier has float32.
        numerics: "deterministic" opens engines without anything that is known to depend on the
            batch: on a GPU with vLLM's batch-invariant kernels, on a CPU in float32 as they are.
            "default" takes the fastest kernels, whose last bits may depend on the batch.
        max_model_len: Longest prompt plus output in tokens; None takes the model's where it fits,
            and where a GPU's memory is planned no more than 8192.
        max_num_seqs: Sequences decoded together in one iteration; None takes the plan's, or 128
            where the memory is not planned.
        gpu_memory_utilization: Share of a GPU's memory, or of a CPU's free memory, that both
            models use together.
        kv_cache_memory_bytes: KV cache of each engine; None lets the memory planner decide on a GPU
            it knows and on a CPU, where models of a few million parameters have a quarter GiB.
        offloading: Whether the plan may use host memory: "auto" where it is faster, "none" never;
            "kv" for the generator's KV blocks, "sleep" for the model that does not run.
        verifier_process: Whether the verifier's model has a process of its own, in which it scores
            steps while the generator decodes; without effect where the plan lets one model sleep
            while the other runs.
        generator_device: The GPU of the generator, counted from 0 among those that this process
            sees; None is the first.
        tensor_parallel_size: GPUs that the generator is spread over, `generator_device` the first
            of them, where it does not fit on one; on a CPU as many processes. Memory options hold
            for each of them.
        verifier_device: The GPU of the verifier, another than the generator's and of the same kind,
            where its process scores steps while the generator decodes; None is the generator's.
        planned_beams: Beams of the search that the memory is planned for.
        planned_device: The GPU to plan for: a name of the planner's table, or a JSON or TOML file;
            None goes by the driver's name.
        tool_call_parser: vLLM's name of the generator's tool call format.
        trust_remote_code: Whether code shipped inside a model repository may run.
        allow_control_tokens: Whether control tokens that contents spell (`<|im_end|>` in a message,
            a tool result or a generated step) become control tokens of a prompt. Unsafe: whoever
            writes a content can then end turns and speak as the system or the assistant.
        cache_dir: Directory of the result cache, created if missing; None disables the cache.
        scheduling: Slots and optimisations of the step loop.
        tracing: Spans and their attributes, where the application has set OpenTelemetry up.
        generator_args: Further arguments of vLLM's `LLM` for the generator.
        verifier_args: The same for the verifier.
    """

    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX, extra="forbid", frozen=True, validate_default=True
    )

    generator: str = Field(default=DEMO, min_length=1)
    verifier: str | None = Field(default=None, min_length=1)
    verifier_format: VerifierFormat = "auto"
    verifier_format_args: dict[str, Any] = Field(default_factory=dict)
    dtype: Dtype = "auto"
    numerics: Numerics = "default"
    max_model_len: Annotated[int, Field(ge=16, le=10_000_000)] | None = None
    max_num_seqs: Annotated[int, Field(ge=1, le=65_536)] | None = None
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    kv_cache_memory_bytes: Annotated[int, Field(ge=1 << 20)] | None = None
    offloading: Offloading = "auto"
    verifier_process: bool = False
    generator_device: Annotated[int, Field(ge=0, le=1023)] | None = None
    tensor_parallel_size: int = Field(default=1, ge=1, le=1024)
    verifier_device: Annotated[int, Field(ge=0, le=1023)] | None = None
    planned_beams: int = Field(default=64, ge=1, le=65_536)
    planned_device: str | None = Field(default=None, min_length=1)
    tool_call_parser: str = "hermes"
    trust_remote_code: bool = False
    allow_control_tokens: bool = False
    cache_dir: Annotated[str, Field(min_length=1)] | None = None
    scheduling: SchedulingConfig = Field(default_factory=SchedulingConfig)
    tracing: TracingConfig = Field(default_factory=TracingConfig)
    generator_args: dict[str, Any] = Field(default_factory=dict)
    verifier_args: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _demo_verifier(cls, values: Any) -> Any:
        """The demonstration generator comes with its verifier unless one is named."""
        generator = values.get("generator", DEMO) if isinstance(values, dict) else None
        if isinstance(generator, str) and generator == DEMO:
            return {"verifier": DEMO, **values}
        return values

    @model_validator(mode="after")
    def _check_offloading(self) -> Self:
        if self.tensor_parallel_size > 1 and self.offloading in {"kv", "sleep"}:
            raise ValueError(
                f"offloading={self.offloading!r} goes with one GPU alone, and "
                f"tensor_parallel_size={self.tensor_parallel_size}: leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _check_devices(self) -> Self:
        if self.verifier_device is None:
            return self
        if self.verifier_model is None:
            raise ValueError(
                f"verifier_device={self.verifier_device}: no verifier's model is loaded; leave it "
                "out"
            )
        if self.verifier_device in self.generator_devices:
            raise ValueError(
                f"verifier_device={self.verifier_device} is the generator's GPU: choose another, "
                "or leave it out and set verifier_process for a process beside the generator"
            )
        return self

    @property
    def generator_devices(self) -> range:
        """The GPUs of the generator, by their numbers among those that this process sees."""
        first = self.generator_device or 0
        return range(first, first + self.tensor_parallel_size)

    @property
    def verifier_model(self) -> str | None:
        """Model that is loaded beside the generator; None where there is none."""
        named = self.verifier
        if named is None or named in (JUDGE, *SIGNALS) or is_function_name(named):
            return None
        return self.verifier

    def without_verifier(self) -> Self:
        """A copy that loads the generator alone, with no option of a verifier's model."""
        unset = {
            name: self.__class__.model_fields[name].get_default(call_default_factory=True)
            for name in OF_VERIFIER_MODEL
        }
        return self.model_copy(update={"verifier": None, **unset})

    def dtype_of(self, role: Role, *, is_cpu: bool) -> Dtype:
        """Type that whole weights are loaded in; "auto" is the model's own.

        Args:
            role: The model's.
            is_cpu: Whether it runs on a CPU.
        """
        is_deterministic = self.numerics == "deterministic"
        is_exact_verifier = is_deterministic and not is_cpu and role == "verifier"
        if self.dtype == "auto" and (is_cpu or is_deterministic):
            return "float32"
        if self.dtype == "bfloat16" and is_exact_verifier:
            return "float32"
        return self.dtype


def engine_config(**options: Any) -> EngineConfig:
    """Builds an engine configuration from options and the environment.

    Args:
        options: Options of `EngineConfig`; they take precedence over the environment.

    Raises:
        ConfigurationError: An option or a variable is unknown, or its value cannot work.
    """
    others = (SERVING_PREFIX, LOG_PREFIX)
    names = [name for name in os.environ if not name.upper().startswith(others)]
    check_variables(EngineConfig, VARIABLE_PREFIX, names)
    try:
        return EngineConfig(**options)
    except (ValidationError, SettingsError) as error:
        raise refusal(EngineConfig, error, VARIABLE_PREFIX) from error
    except RecursionError as error:
        raise ConfigurationError(
            f"a variable {VARIABLE_PREFIX}... is nested too deeply: write it flatter"
        ) from error
