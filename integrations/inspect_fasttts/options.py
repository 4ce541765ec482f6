"""Options of the provider, and the requests that calls of inspect-ai make with them."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from inspect_ai.log._samples import sample_active  # public nowhere, and a call must know its epoch
from inspect_ai.model import ChatMessage, GenerateConfig
from inspect_ai.tool import ToolChoice, ToolInfo
from pydantic import ValidationError

from fasttts import FastTTS
from fasttts.chat import ChatOptions, ChatRequest
from fasttts.config.validation import refusal
from fasttts.decoding.sampling import derive_seed
from fasttts.errors import ConfigurationError
from fasttts.evaluation.harness import split_options, task_sampling
from inspect_fasttts.messages import engine_messages, engine_tool_choice, engine_tools

_OF_A_CALL = {
    "max_tokens",
    "num_choices",
    "parallel_tool_calls",
    "response_schema",
    "seed",
    "stop_seqs",
    "temperature",
    "top_k",
    "top_p",
}
"""Options of `GenerateConfig` that a search takes."""

_OF_THE_HARNESS = {
    "adaptive_connections",
    "attempt_timeout",
    "batch",
    "cache",
    "cache_prompt",
    "fail_on_refusal",
    "internal_tools",
    "max_connections",
    "max_retries",
    "max_tool_output",
    "reasoning_history",
    "stream_idle_timeout",
    "system_message",
    "timeout",
}
"""Those that inspect-ai itself follows, or that change no answer."""


class ProviderOptions(ChatOptions):
    """Options of a chat model, with those of inspect-ai.

    Attributes:
        trace: Whether the log holds every node of a search, with its text and scores, or its costs
            alone.
    """

    trace: bool = True

    @classmethod
    def from_args(cls, model_name: str, args: Mapping[str, Any]) -> Self:
        """Makes the options of a model from `-M NAME=VALUE`.

        Args:
            model_name: The generator.
            args: Fields of this class, of `SearchConfig` and of `EngineConfig`.

        Raises:
            ConfigurationError: One is unknown, or its value cannot work.
        """
        fields = cls.model_fields.keys() - {"model"}  # inspect-ai gives it a name of its own
        own = {name: value for name, value in args.items() if name in fields}
        rest = {name: value for name, value in args.items() if name not in own}
        search, engine = split_options(rest)
        search |= own.pop("search_args", {})
        engine |= own.pop("engine_args", {})
        if isinstance(own.get("stop"), str):
            own["stop"] = [own["stop"]]
        if own.get("engine") is None:
            own["model"] = model_name
        try:
            return cls(**own, search_args=search, engine_args=engine)
        except ValidationError as error:
            raise refusal(cls, error) from error

    @property
    def device_key(self) -> str:
        """What calls have to be in common to share an engine."""
        return repr((self.model, self.verifier, sorted(self.engine_args.items())))

    async def aresolve_engine(self) -> FastTTS:
        """Returns the engine, loaded on first use."""
        return await self._aresolve_engine()

    def request(
        self,
        engine: FastTTS,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ChatRequest:
        """Makes the request of one call.

        Args:
            engine: Answers it.
            messages: The conversation.
            tools: Tools that the model may call.
            tool_choice: Whether it must call one.
            config: The call's options.

        Raises:
            ConfigurationError: An option, a message or a tool cannot work.
        """
        _check(config)
        overrides = self._overrides(config)
        request = self._request(
            engine,
            engine_messages(messages),
            tools=engine_tools(tools) or None,
            tool_choice=engine_tool_choice(tool_choice) if tools else None,
            is_parallel=config.parallel_tool_calls is not False,
            response_schema=_schema(config),
            **overrides,
        )
        _check_choices(config.num_choices or 1, request)
        return request

    def _overrides(self, config: GenerateConfig) -> dict[str, Any]:
        own = self._search_config()
        asked = {name: getattr(config, name) for name in ("temperature", "top_k", "top_p")}
        seed = own.seed if config.seed is None else config.seed
        return {
            **task_sampling(own, asked),
            "max_tokens": config.max_tokens,
            "stop": [*own.stop, *(config.stop_seqs or ())],
            "seed": _of_epoch(seed),
        }


def _of_epoch(seed: int) -> int:
    """The seed of an epoch: the same one would give the same answer again."""
    sample = sample_active()
    return seed if sample is None or sample.epoch <= 1 else derive_seed(seed, sample.epoch)


def _check(config: GenerateConfig) -> None:
    for name in type(config).model_fields:
        if name not in _OF_A_CALL | _OF_THE_HARNESS and getattr(config, name):
            raise ConfigurationError(
                f"{name}={getattr(config, name)!r} has no counterpart in a search: leave it out"
            )


def _check_choices(num_choices: int, request: ChatRequest) -> None:
    num_candidates = 1 if request.config.search == "none" else request.config.n
    if num_choices > num_candidates:
        raise ConfigurationError(
            f"num_choices={num_choices} of {num_candidates} candidates: use a search, such as "
            f"-M search=best_of_n -M n={num_choices}"
        )


def _schema(config: GenerateConfig) -> Mapping[str, Any] | None:
    if config.response_schema is None:
        return None
    return config.response_schema.json_schema.model_dump(exclude_none=True)
