"""`ChatFastTTS`: a FastTTS engine as a LangChain chat model."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Self, get_args

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import model_validator

from fasttts import FastTTS, __version__
from fasttts.chat import ChatOptions, ChatRequest, forced_tools, offered_tools
from fasttts.decoding.json_checks import check_json
from fasttts.engine.registry import loaded_engine
from fasttts.errors import ConfigurationError, shown, wrong_type
from langchain_fasttts.generations import PROVIDER, chat_result, chunks
from langchain_fasttts.messages import engine_messages
from langchain_fasttts.structured import (
    Method,
    Schema,
    call_parser,
    parsed,
    response_format,
    response_schema,
    text_parser,
    tool_schema,
    tool_schemas,
    traced,
)

ToolLike = dict[str, Any] | type | Callable[..., Any] | BaseTool


class ChatFastTTS(ChatOptions, BaseChatModel):
    r"""A small local model that can search before it answers, in this process.

    Setup:
        ```bash
        pip install "fasttts[langchain,vllm]"
        ```

    Key init args - completion params:
        search: "none" is plain decoding; "best_of_n", "beam_search" and others spend more.
        n: Candidates or beams of a search; `beam_width`: children of each surviving beam.
        budget: Limits of a search; see `fasttts.Budget`.
        temperature, max_tokens, seed, stop: As usual; `search_args` holds rarer options.

    Key init args - client params:
        model, verifier: "demo", local directories or hub names.
        engine_args: Options of `fasttts.EngineConfig`; equal ones share one engine.
        engine: An engine that exists, in place of all three.

    Every completion param can also be bound with `bind`, made configurable with
    `configurable_fields`, or passed to one call.

    Instantiate:
        ```python
        from langchain_fasttts import ChatFastTTS

        model = ChatFastTTS(model="demo", search="beam_search", n=16, max_tokens=400)
        ```

    Invoke:
        ```python
        message = model.invoke("Max owns 50 pencils. Max sells 37 pencils. How many has Max now?")
        message.text
        ```

    Stream:
        ```python
        for chunk in model.stream("Max owns 50 pencils. Max sells 37. How many has Max now?"):
            print(chunk.text, end="")
        ```

    Async:
        ```python
        await model.ainvoke("Max owns 50 pencils. Max sells 37 pencils. How many has Max now?")
        ```

    Tool calling:
        ```python
        model.bind_tools([tool], tool_choice="any").invoke("...").tool_calls
        ```

    Structured output:
        ```python
        model.with_structured_output(Schema).invoke("...")
        ```

    Token usage:
        `message.usage_metadata` counts the prompt and the returned path;
        `message.response_metadata["fasttts"]` has the whole cost of a search.

    Response metadata:
        `finish_reason`, `score` and `fasttts`. `generate` returns all candidates of a search, best
        first; `invoke` the first of them.
    """

    streaming: bool = False

    @model_validator(mode="after")
    def _add_fasttts_version(self) -> Self:
        self._add_version("fasttts", __version__)
        return self

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offers tools to the model, in the tool format of its own chat template.

        Args:
            tools: Tools, functions, pydantic classes or schemas.
            tool_choice: None or "auto" lets the model decide, "none" offers it no tools; "any",
                "required" and True force a call, and a tool's name, or a dictionary with it, a
                call of that tool.
            strict: Changes nothing for a forced call, whose arguments always follow the schema;
                must not be True where the model decides.
            kwargs: Options for every call, such as `search`, `parallel_tool_calls` or
                `response_format`.

        Raises:
            ConfigurationError: The choice names no tool, or `strict` is set without it.
        """
        schemas = tool_schemas(tools)
        if not isinstance(strict, bool | None):
            raise wrong_type("strict", strict, "a bool or None")
        if not forced_tools(schemas, tool_choice) and strict and schemas:
            raise ConfigurationError(
                "strict=True holds for forced calls only: set tool_choice='any', or leave it out"
            )
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=schemas, **choice, **kwargs)

    def with_structured_output(
        self,
        schema: Schema | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Returns answers as objects of a schema, which every candidate of a search follows.

        Args:
            schema: A pydantic class, whose objects are returned; or a typed dictionary, a JSON
                schema or a function, for which dictionaries are. None is any JSON object, for
                "json_mode" only.
            method: "json_schema" and "json_mode" make the model write JSON, "function_calling"
                makes it call a tool of this schema.
            include_raw: Whether to return a dictionary of "raw", "parsed" and "parsing_error"
                instead of raising parsing errors.
            strict: Changes nothing: answers always follow the schema.
            kwargs: Options for every call, such as `search`.

        Raises:
            ConfigurationError: The method is unknown, or there is no schema.
        """
        named: object = method
        if not isinstance(named, str) or named not in get_args(Method):
            raise ConfigurationError(f"method={shown(method)} is none of {get_args(Method)}")
        if schema is None and method != "json_mode":
            raise ConfigurationError(f"method={method!r} needs a schema")
        if not isinstance(include_raw, bool):
            raise wrong_type("include_raw", include_raw, "a bool")
        trace = {"kwargs": {"method": method, "strict": strict}, "schema": traced(schema)}
        if method == "function_calling" and schema is not None:
            name, parser = call_parser(schema)
            model = self.bind_tools(
                [tool_schema(schema)],
                tool_choice=name,
                parallel_tool_calls=False,
                ls_structured_output_format=trace,
                **kwargs,
            )
        else:
            parser, asked = text_parser(schema), response_format(schema)
            model = self.bind(response_format=asked, ls_structured_output_format=trace, **kwargs)
        return parsed(model, parser, include_raw=include_raw)

    def get_token_ids(self, text: str) -> list[int]:
        """Encodes a text in the generator's vocabulary; loads the engine."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._token_ids(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[ToolLike] | None = None
    ) -> int:
        """Counts the tokens of the prompt of messages and tools; loads the engine."""
        schemas = offered_tools(None if tools is None else tool_schemas(tools)) or None
        turns = engine_messages(messages)  # of any part of a conversation
        try:
            check_json(turns, max_chars=None)
        except ValueError as error:
            raise ConfigurationError(f"the messages cannot be rendered: {error}") from error
        switches = self._search_config().chat_template_kwargs
        own = (switches,) if switches else ()
        return len(self._resolve_engine().tokenizer.encode_chat(turns, schemas, *own))

    @property
    def _llm_type(self) -> str:
        return "chat-fasttts"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """The key of LangChain's cache: everything a reply depends on besides the prompt."""
        return self._identity()

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        profile = ModelProfile(
            text_inputs=True,
            image_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            text_outputs=True,
            tool_calling=True,
            tool_choice=True,
            structured_output=True,
        )
        if self.engine is not None:
            profile["max_input_tokens"] = self.engine.max_model_len
        return profile

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._chat_request(self._resolve_engine(), messages, stop, **kwargs)
        return chat_result(request.search(), request.reply_format)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        engine = await self._aresolve_engine()
        request = await asyncio.to_thread(self._chat_request, engine, messages, stop, **kwargs)
        return chat_result(await request.asearch(), request.reply_format)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._chat_request(self._resolve_engine(), messages, stop, **kwargs)
        with closing(request.stream()) as reply_chunks:
            for reply_chunk in reply_chunks:
                yield from chunks(reply_chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        engine = await self._aresolve_engine()
        request = await asyncio.to_thread(self._chat_request, engine, messages, stop, **kwargs)
        async with aclosing(request.astream()) as reply_chunks:
            async for reply_chunk in reply_chunks:
                for chunk in chunks(reply_chunk):
                    yield chunk

    def _chat_request(
        self,
        engine: FastTTS,
        messages: list[BaseMessage],
        stop: list[str] | None,
        *,
        model: str | None = None,
        stream: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: object = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> ChatRequest:
        """Makes the request that LangChain's arguments describe.

        `stream` has chosen the method already, `strict` is redundant, and `model` names one that
        another object of this process has loaded.
        """
        if not isinstance(model, str | None):
            raise wrong_type("model", model, "the name of a loaded model or None")
        if model is not None and model != self.model:
            engine = _loaded(model)
        return self._request(
            engine,
            engine_messages(messages),
            is_parallel=parallel_tool_calls is not False,
            response_schema=None if response_format is None else response_schema(response_format),
            stop=stop,
            **kwargs,
        )


def _loaded(model: str) -> FastTTS:
    """Returns the engine of a loaded model.

    Raises:
        ConfigurationError: The model is not loaded.
    """
    engine = loaded_engine(model)
    if engine is None:
        raise ConfigurationError(
            f"model={shown(model)} is not loaded: make a ChatFastTTS of it, or call one that is"
        )
    return engine
