"""Options of an engine: models, memory and devices.

Environment variables are read here and nowhere else: `FASTTTS_GENERATOR=...` sets the default of
`EngineConfig.generator`, and so on.
"""

import os
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from fasttts.config.names import (
    DEMO,
    JUDGE,
    SERVING_PREFIX,
    VARIABLE_PREFIX,
    is_function_name,
)
from fasttts.config.scheduling import SchedulingConfig
from fasttts.config.validation import check_variables, refusal
from fasttts.types import Numerics

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Offloading = Literal["auto", "none", "kv", "sleep"]
"""Use of host memory: where it is faster; never; for KV blocks; for the model that does not run."""

VerifierFormat = Literal[
    "auto", "qwen-prm", "skywork-prm", "math-shepherd", "rlhflow", "outcome", "judge"
]
"""How a verifier's model is prompted and read; "auto" goes by its configuration and its name."""


class EngineConfig(BaseSettings):
    """Options of an engine: models, memory and devices.

    Attributes:
        generator: "demo", a local model directory, or a hub name.
        verifier: The same for the verifier; "judge" lets the generator judge itself, and
            "module:function" is a Python function. None loads no verifier. With the "demo"
            generator it defaults to the bundled verifier.
        verifier_format: Prompt format of the verifier's model; "auto" goes by its configuration and
            its name.
        dtype: Type of both models' weights; "auto" is float32 on a CPU and for deterministic
            numerics, and the model's own elsewhere and where it is quantised.
        numerics: "deterministic" opens engines in float32 without anything that is known to depend
            on the batch: on a GPU with vLLM's batch-invariant kernels, on a CPU as they are.
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
        generator_args: Further arguments of vLLM's `LLM` for the generator.
        verifier_args: The same for the verifier.
    """

    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX, extra="forbid", frozen=True, validate_default=True
    )

    generator: str = Field(default=DEMO, min_length=1)
    verifier: str | None = Field(default=None, min_length=1)
    verifier_format: VerifierFormat = "auto"
    dtype: Dtype = "auto"
    numerics: Numerics = "default"
    max_model_len: Annotated[int, Field(ge=16, le=10_000_000)] | None = None
    max_num_seqs: Annotated[int, Field(ge=1, le=65_536)] | None = None
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    kv_cache_memory_bytes: Annotated[int, Field(ge=1 << 20)] | None = None
    offloading: Offloading = "auto"
    verifier_process: bool = False
    planned_beams: int = Field(default=64, ge=1, le=65_536)
    planned_device: str | None = Field(default=None, min_length=1)
    tool_call_parser: str = "hermes"
    trust_remote_code: bool = False
    allow_control_tokens: bool = False
    cache_dir: Annotated[str, Field(min_length=1)] | None = None
    scheduling: SchedulingConfig = Field(default_factory=SchedulingConfig)
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

    @property
    def verifier_model(self) -> str | None:
        """Model that is loaded beside the generator; None where there is none."""
        if self.verifier is None or self.verifier == JUDGE or is_function_name(self.verifier):
            return None
        return self.verifier


def engine_config(**options: Any) -> EngineConfig:
    """Builds an engine configuration from options and the environment.

    Args:
        options: Options of `EngineConfig`; they take precedence over the environment.

    Raises:
        ConfigurationError: An option or a variable is unknown, or its value cannot work.
    """
    names = [name for name in os.environ if not name.upper().startswith(SERVING_PREFIX)]
    check_variables(EngineConfig, VARIABLE_PREFIX, names)
    try:
        return EngineConfig(**options)
    except (ValidationError, SettingsError) as error:
        raise refusal(EngineConfig, error, VARIABLE_PREFIX) from error
