"""The served model: turns what clients ask for into calls of the engine."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from fasttts import FastTTS
from fasttts.chat import ChatOptions, ChatRequest, ReplyFormat, Tool, overflows
from fasttts.config import SearchConfig, is_function_name
from fasttts.config.serving import ServingConfig
from fasttts.config.validation import refusal
from fasttts.engine.request import text_prompt
from fasttts.errors import ConfigurationError
from fasttts.serving.aliases import Aliases
from fasttts.serving.api_errors import ApiError
from fasttts.serving.bodies import check_names
from fasttts.serving.call import Call
from fasttts.types import Message

_MOST_PARTS = 64
"""Names in an option that is an object; all of an option's names are less."""


class _Options(ChatOptions):
    """The options of a chat class, for calls that name the model alone."""

    def request(self, engine: FastTTS, messages: Sequence[Message], **asked: Any) -> ChatRequest:
        return self._request(engine, messages, **asked)

    def completion(self, engine: FastTTS, text: str, **asked: Any) -> ChatRequest:
        request = ChatRequest(
            engine=engine,
            prompt=text_prompt(text, engine.tokenizer),
            config=self._search_config(**asked),
            reply_format=ReplyFormat(is_raw=True),
        )
        return self._routed(request, engine, asked.get("search"))


class ServedModel:
    """The one model of a server, under all its names.

    Args:
        engine: Answers.
        config: Names and limits.

    Attributes:
        engine: The same.
        aliases: The names of the model.

    Raises:
        ConfigurationError: The engine's models cannot run the search of `config`.
    """

    def __init__(self, engine: FastTTS, config: ServingConfig) -> None:
        self.engine = engine
        names = config.names or (_short_name(engine.generator_name),)
        self.aliases = Aliases(names, has_verifier=engine.verifier_name is not None)
        self._config = config
        options: Any = {"search": config.search}  # pydantic checks it
        if config.search == "none" and engine.verifier_name is None:
            options["auto_search"] = "self_consistency"
        try:
            self._options = _Options(engine=engine, **options)
        except ValidationError as error:
            raise refusal(_Options, error) from error

    def chat(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        options: Mapping[str, Any],
        effort: str | None = None,
        own: Mapping[str, Any] | None = None,
        num_choices: int = 1,
        tools: Sequence[Tool] | None = None,
        tool_choice: object = None,
        is_parallel: bool = True,
        response_schema: Mapping[str, Any] | None = None,
        prefix: str = "chatcmpl-",
    ) -> Call:
        """Makes a call of a conversation; takes as long as rendering does.

        Args:
            model: The model, with or without a search.
            messages: The conversation.
            options: Options of `SearchConfig` that OpenAI's fields stand for.
            effort: The client's `reasoning_effort`; None leaves the search to the model's name.
            own: Further options of `SearchConfig`, "auto" as a search, and `show_steps`; None for
                none.
            num_choices: Replies that are asked for.
            tools: Tools that the model may call, in OpenAI's form; None for none.
            tool_choice: Whether it must call one.
            is_parallel: Whether a reply may hold several calls.
            response_schema: JSON schema of replies that are no calls; None allows any text.
            prefix: What the call's id begins with.

        Raises:
            ApiError: The model is not served, or a limit of the server does not allow it.
            ConfigurationError: An option, a message or a tool cannot work.
        """
        shows_steps, own = _shows_steps(own)
        asked = self._asked(model, effort, options, own)
        try:
            request = self._options.request(
                self.engine,
                messages,
                tools=tools,
                tool_choice=tool_choice,
                is_parallel=is_parallel,
                response_schema=response_schema,
                **asked,
            )
        except ConfigurationError as error:
            if overflows(self.engine, messages, tools or ()):
                raise _too_long(str(error)) from error
            raise
        self._check_limits(request, num_choices)
        call = _call(prefix, model, [request], num_choices)
        return replace(call, shows_steps=shows_steps)

    def complete(
        self,
        model: str,
        texts: Sequence[str],
        *,
        options: Mapping[str, Any],
        own: Mapping[str, Any] | None = None,
        num_choices: int = 1,
    ) -> Call:
        """Makes a call of texts to complete, without a chat template.

        Args:
            model: As for `chat`.
            texts: The texts; each is a prompt.
            options: As for `chat`.
            own: As for `chat`.
            num_choices: Replies to each of them.

        Raises:
            ApiError: As for `chat`, or a text is empty.
            ConfigurationError: An option cannot work.
        """
        asked = self._asked(model, None, options, own or {})
        requests = [self._options.completion(self.engine, text, **asked) for text in texts]
        for request in requests:
            self._check_limits(request, num_choices * len(texts))
        return _call("cmpl-", model, requests, num_choices)

    def _asked(
        self,
        model: str,
        effort: str | None,
        options: Mapping[str, Any],
        own: Mapping[str, Any],
    ) -> dict[str, Any]:
        """All options of a call: the search's, then OpenAI's, then ours."""
        check_names(own, SearchConfig.model_fields, "fasttts.")
        for name in ("budget", "chat_template_kwargs", "structured_outputs"):
            if isinstance(value := own.get(name), Mapping) and len(value) > _MOST_PARTS:
                message = f"fasttts.{name} has {len(value)} parts: {_MOST_PARTS} at most"
                raise ApiError(message, status=400, param=f"fasttts.{name}")
        named = self.aliases.options(model)
        if effort is not None and named.get("search", "auto") == "auto":
            named = {**named, **self.aliases.effort_options(effort)}
        asked = {**named, **options, **own}
        search = asked.get("search")
        if isinstance(search, str) and is_function_name(search):
            # A request must not import modules of the server.
            message = f"search={search[:80]!r}: requests cannot name functions of the server"
            raise ApiError(message, status=400, param="fasttts.search")
        if self._config.max_seconds is not None:
            asked["budget"] = limited_budget(asked.get("budget"), self._config.max_seconds)
        return asked

    def _check_limits(self, request: ChatRequest, num_choices: int) -> None:
        most = self._config.max_prompt_tokens
        num_tokens = len(request.prompt.token_ids)
        if not num_tokens:
            raise ApiError("the prompt is empty", status=400, param="prompt")
        if num_tokens >= self.engine.max_model_len:
            raise _too_long(
                f"the prompt has {num_tokens} tokens, the context {self.engine.max_model_len}"
            )
        if most is not None and num_tokens > most:
            raise _too_long(
                f"the prompt has {num_tokens} tokens, the server's max_prompt_tokens is {most}"
            )
        is_plain = request.config.search == "none"
        most, n = self._config.max_beams, num_choices if is_plain else request.config.n
        if n > most:
            raise ApiError(f"n={n}: the server's max_beams is {most}", status=400, param="n")
        if not is_plain and num_choices > request.config.n:
            raise ApiError(
                f"n={num_choices} choices of {request.config.n} candidates: ask for fewer, or for "
                "a wider search",
                status=400,
                param="n",
            )
        if num_choices > 1 and not isinstance(request.engine, FastTTS):
            message = f"n={num_choices}: a call that may be answered plainly has one choice"
            raise ApiError(message, status=400, param="n")


def _call(prefix: str, model: str, requests: Sequence[ChatRequest], num_choices: int) -> Call:
    return Call(
        id=f"{prefix}{uuid.uuid4().hex}",
        model=model,
        created=int(time.time()),
        requests=tuple(requests),
        num_choices=num_choices,
    )


def _shows_steps(own: Mapping[str, Any] | None) -> tuple[bool, dict[str, Any]]:
    """Separates the one option that is no search's from those of `SearchConfig`."""
    rest = dict(own or {})
    shows_steps = rest.pop("show_steps", False)
    if not isinstance(shows_steps, bool):
        raise ApiError("show_steps is true or false", status=400, param="fasttts.show_steps")
    return shows_steps, rest


def limited_budget(budget: object, max_seconds: float) -> object:
    """A budget within the server's limit of seconds; one of a wrong form as it is.

    Args:
        budget: What the request asks for; None for none.
        max_seconds: Most seconds, grace included.
    """
    if budget is None:
        return {"seconds": max_seconds}
    if not isinstance(budget, Mapping):
        return budget
    seconds, grace = budget.get("seconds"), budget.get("grace_seconds", 0.0)
    if not isinstance(seconds, int | float | None) or not isinstance(grace, int | float):
        return budget
    most = max_seconds if seconds is None else min(seconds, max_seconds)
    return {**budget, "seconds": most, "grace_seconds": min(grace, max_seconds - most)}


def _too_long(message: str) -> ApiError:
    return ApiError(message, status=400, code="context_length_exceeded", param="messages")


def _short_name(generator: str) -> str:
    """The last part of a path or of a hub's name, which does not tell where the model lies."""
    return generator.rstrip("/").rpartition("/")[2] or generator
