"""Options of a chat model: its engine and its default search."""

import asyncio
import difflib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SkipValidation, model_validator

from fasttts import Budget, FastTTS
from fasttts.chat.request import ChatRequest, make_request
from fasttts.chat.tools import Tool
from fasttts.config import (
    EngineConfig,
    SearchConfig,
    SearchMethod,
    engine_config,
    search_config,
)
from fasttts.engine.registry import EngineLease
from fasttts.errors import ConfigurationError, wrong_type
from fasttts.routing import Router, RoutingPolicy, default_policy
from fasttts.search import resolve
from fasttts.types import Message

_WITHOUT_EFFECT = ("api_key", "class_name", "max_retries", "timeout")
"""Options for hosted models, which have no effect on a model in the same process."""

AUTO = "auto"
"""The search that a routing policy decides about."""

_Names = tuple[str, str | None]
"""A generator's name and its verifier's."""

_SEARCH_FIELDS = (
    "search",
    "n",
    "beam_width",
    "budget",
    "temperature",
    "max_tokens",
    "seed",
    "stop",
)


class ChatOptions(BaseModel):
    """Fields of every framework's chat class; a mix-in for pydantic classes.

    Options left at None take the defaults of `SearchConfig`. The engine is loaded on first use, and
    models with equal engine options share one.

    Attributes:
        model: "demo" (the bundled models), a local model directory, or a hub name.
        verifier: The same for the verifier; None takes the environment's, or the bundled one for
            "demo".
        search: "none" is plain decoding, which an agent's loop expects of a chat model; "best_of_n"
            and "beam_search" spend more computation on each reply; "auto" decides for each call
            whether `auto_search` is worth it.
        auto_search: The search that "auto" may run; where only a call asks for "auto" and `search`
            is itself a search, it runs that one.
        policy: Decides for "auto"; see `fasttts.routing`. None takes the calibrated cascade.
        n: Candidates or beams of a search.
        beam_width: Children of each surviving beam.
        budget: Limits of a search, as a `Budget` or its fields.
        temperature: 0 is greedy.
        max_tokens: Longest reply in tokens.
        seed: The search seed: the same call with the same seed gives the same reply, on
            a GPU with the engine's `numerics` "deterministic".
        stop: Strings that end a reply; they are not part of it.
        on_overflow: Treatment of a conversation that is too long for the context: "error" raises,
            "truncate" drops its oldest turns; see `fitting_messages`.
        untagged_calls: Whether a reply that is nothing but the JSON of calls of offered tools, with
            arguments that they take, is these calls: small models leave the tags of their format
            out. False takes calls in the model's own format alone.
        search_args: Further options of `SearchConfig`, such as `top_p` or `selection`.
        engine_args: Further options of `EngineConfig`, such as `max_model_len`.
        engine: An engine to use as it is, instead of `model`, `verifier` and `engine_args`; None
            loads one.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: str = Field(default_factory=lambda: engine_config().generator)
    verifier: str | None = None
    search: SearchMethod | Literal["auto"] = "none"
    auto_search: SearchMethod = "beam_search"
    policy: SkipValidation[RoutingPolicy] | None = Field(default=None, exclude=True)
    n: int | None = None
    beam_width: int | None = None
    budget: Budget | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    on_overflow: Literal["error", "truncate"] = "error"
    untagged_calls: bool = True
    search_args: dict[str, Any] = Field(default_factory=dict)
    engine_args: dict[str, Any] = Field(default_factory=dict)
    engine: FastTTS | None = Field(default=None, exclude=True, repr=False)
    _lease: EngineLease = PrivateAttr(default_factory=EngineLease)
    _calibrated: dict[_Names, RoutingPolicy] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _warn_of_unknown_options(cls, values: Any) -> Any:
        """Warns of unknown options, which the frameworks' classes ignore."""
        known = {*cls.model_fields, *_WITHOUT_EFFECT}
        for name in sorted(values.keys() - known) if isinstance(values, dict) else ():
            hint = _hint(name, known)
            warnings.warn(f"{cls.__name__} has no option '{name}'{hint}", stacklevel=2)
        return values

    @model_validator(mode="after")
    def _check_fasttts_options(self) -> Self:
        """Checks every option before anything is loaded."""
        self._check_options()
        return self

    def _check_options(self) -> None:
        if self.engine is not None:
            self._adopt(self.engine)
        verifier = self._verifier_name()
        resolve(self._search_config(), has_verifier=verifier is not None)
        if self.search == AUTO:
            self._routing_policy((self.model, verifier))

    def _adopt(self, engine: FastTTS) -> None:
        """Takes the names from a given engine; raises if the options name other models."""
        runs = {"model": engine.generator_name, "verifier": engine.verifier_name}
        for role, name in runs.items():
            asked = getattr(self, role)
            if role in self.model_fields_set and asked not in (None, name):
                raise ConfigurationError(
                    f"{role}={asked!r} beside an engine that runs {name!r}: leave one of them out"
                )
        if self.engine_args:
            raise ConfigurationError("engine_args have no effect on an engine that exists")
        self.model, self.verifier = engine.generator_name, engine.verifier_name

    def _verifier_name(self) -> str | None:
        return self.verifier if self.engine is not None else self._engine_config().verifier

    def _routing_policy(self, names: _Names) -> RoutingPolicy:
        """Decides for "auto"; a calibrated threshold is read from disk once, before any call."""
        if self.policy is not None:
            return self.policy
        if names not in self._calibrated:
            self._calibrated[names] = default_policy(*names)
        return self._calibrated[names]

    def _engine_config(self) -> EngineConfig:
        named = {"generator": self.model}
        if self.verifier is not None:
            named["verifier"] = self.verifier
        if both := sorted({"generator", "verifier"} & self.engine_args.keys()):
            raise ConfigurationError(f"engine_args hold {both}: use `model` and `verifier`")
        return engine_config(**named, **self.engine_args)

    def _search_config(self, **overrides: Any) -> SearchConfig:
        """The options of one call: `overrides` that are not None over this object's own.

        Raises:
            ConfigurationError: An option is unknown or its value cannot work.
        """
        own = {name: getattr(self, name) for name in _SEARCH_FIELDS}
        if both := sorted(own.keys() & self.search_args.keys()):
            raise ConfigurationError(f"search_args hold {both}: these have arguments of their own")
        layers = (own, self.search_args, overrides)
        values = {k: v for layer in layers for k, v in layer.items() if v is not None}
        if _is_auto(values["search"]):
            is_open = self.search in (AUTO, "none")
            values["search"] = self.auto_search if is_open else self.search
        return search_config(**values)

    def _request(
        self,
        engine: FastTTS,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] | None = None,
        tool_choice: object = None,
        is_parallel: bool = True,
        response_schema: Mapping[str, Any] | None = None,
        policy: RoutingPolicy | None = None,
        **overrides: Any,
    ) -> ChatRequest:
        """Makes the request of one call.

        Args:
            engine: Answers the request.
            messages: The conversation.
            tools: Tools that the model may call, in OpenAI's form; None for none.
            tool_choice: Whether it must call one; see `forced_tools`.
            is_parallel: Whether a reply may hold several calls.
            response_schema: JSON schema of replies that are no calls; None allows any text.
            policy: Decides instead of this object's policy where the search is "auto"; None takes
                that.
            overrides: Options of `SearchConfig`.

        Raises:
            ConfigurationError: An option is unknown, its value or the messages cannot work.
        """
        request = make_request(
            engine,
            messages,
            self._search_config(**overrides),
            tools=tools,
            tool_choice=tool_choice,
            is_parallel=is_parallel,
            response_schema=response_schema,
            truncates=self.on_overflow == "truncate",
            untagged_calls=self.untagged_calls,
        )
        return self._routed(request, engine, overrides.get("search"), policy)

    def _routed(
        self,
        request: ChatRequest,
        engine: FastTTS,
        search: object,
        policy: RoutingPolicy | None = None,
    ) -> ChatRequest:
        """Lets a router answer a request whose search is "auto".

        Args:
            request: The request.
            engine: Answers it.
            search: The search that the call asks for; None leaves it to this object.
            policy: As for `_request`.
        """
        if not _is_auto(self.search if search is None else search):
            return request
        router = Router(
            engine,
            self._routing_policy(_names(engine)) if policy is None else policy,
            untagged_calls=self.untagged_calls,
        )
        return replace(request, engine=router)

    def _identity(self) -> dict[str, Any]:
        """Returns everything that a reply depends on besides its prompt."""
        names = {
            "model": self.model,
            "verifier": self.verifier,
            "on_overflow": self.on_overflow,
            "untagged_calls": self.untagged_calls,
        }
        loaded = None if self.engine is not None else self._engine_config().model_dump()
        options = {**self._search_config().model_dump(), "engine": loaded}
        if self.search == AUTO:
            options["policy"] = repr(self._routing_policy((self.model, self._verifier_name())))
        return {**names, **options}

    def __copy__(self) -> Self:
        """Returns a copy with a lease of its own, so that closing it closes nothing of this one."""
        twin = super().__copy__()
        twin._lease = EngineLease()
        return twin

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copies the object and checks it again, unlike pydantic.

        Args:
            update: Fields to change; None for none.
            deep: Whether the values are copied as well; the engine never is.

        Raises:
            ConfigurationError: An option cannot work, or names another model than the engine runs,
                or an argument is of the wrong type.
        """
        if not isinstance(update, Mapping | None):
            raise wrong_type("update", update, "a dictionary of fields or None")
        if not isinstance(deep, bool):
            raise wrong_type("deep", deep, "a bool")
        twin = super().model_copy(update=update, deep=deep)
        if update:
            twin._check_options()
        return twin

    def close(self) -> None:
        """Releases the engine: its last user closes it and frees its memory.

        An engine that was given as `engine` stays open. A later call loads again.
        """
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _resolve_engine(self) -> FastTTS:
        """The engine, loaded if need be, and the routing policy; both may read the disk."""
        engine = self.engine or self._lease.take(self._engine_config())
        self._routing_policy(_names(engine))
        return engine

    def _token_ids(self, text: str) -> list[int]:
        """Encodes a text in the generator's vocabulary; loads the engine.

        Raises:
            ConfigurationError: It is no text, or not Unicode.
        """
        if not isinstance(text, str):
            raise wrong_type("text", text, "a str")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"the text is not Unicode: {error.reason}") from error
        return self._resolve_engine().tokenizer.encode(text)

    async def _aresolve_engine(self) -> FastTTS:
        """Returns the engine; loads it in a thread, since that takes seconds."""
        return await asyncio.to_thread(self._resolve_engine)


def _is_auto(search: object) -> bool:
    return isinstance(search, str) and search == AUTO


def _names(engine: FastTTS) -> _Names:
    return engine.generator_name, engine.verifier_name


def _hint(name: str, known: Iterable[str]) -> str:
    """The end of a warning: the place or the spelling of an unknown option."""
    if name in SearchConfig.model_fields:
        return ": put it into search_args"
    if name in EngineConfig.model_fields:
        return ": put it into engine_args"
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean '{close[0]}'?" if close else ""
