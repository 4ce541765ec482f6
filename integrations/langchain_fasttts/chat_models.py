"""`ChatFastTTS`: a FastTTS engine as a LangChain chat model."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import model_validator

from fasttts import FastTTS, __version__
from fasttts.chat import ChatOptions, ChatRequest, forced_tools, offered_tools
from fasttts.errors import ConfigurationError
from langchain_fasttts.generations import PROVIDER, chat_result, chunks
from langchain_fasttts.messages import engine_messages

ToolLike = dict[str, Any] | type | Callable[..., Any] | BaseTool


class ChatFastTTS(ChatOptions, BaseChatModel):
    r"""A small local model that can search before it answers.

    The options of a call (`search`, `n`, `beam_width`, `temperature`, ...) can be set here (rarer
    ones in `search_args`), bound with `bind`, or passed to one call. `usage_metadata` counts the
    prompt and the returned path; the whole cost of a search stands in
    `response_metadata["fasttts"]`. `generate` returns all candidates of a search, best first;
    `invoke` the first of them.

    Example:
        ```python
        model = ChatFastTTS(model="demo", search="beam_search", n=16)
        message = model.invoke("Max owns 50 pencils. Max sells 37 pencils. How many has Max now?")
        print(message.text, message.response_metadata["score"])
        ```
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
            strict: Must not be True: arguments follow the schema as well as the model can.
            kwargs: Options for every call, such as `search` or `parallel_tool_calls`.

        Raises:
            ConfigurationError: The choice names no tool, or `strict` is set.
        """
        if strict:
            raise ConfigurationError("strict=True is not supported: leave it out")
        schemas = [convert_to_openai_tool(tool) for tool in tools]
        forced_tools(schemas, tool_choice)
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=schemas, **choice, **kwargs)

    def get_token_ids(self, text: str) -> list[int]:
        """The text's tokens in the generator's vocabulary; loads the engine."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return self._resolve_engine().tokenizer.encode(text)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[ToolLike] | None = None
    ) -> int:
        """Tokens of the prompt that the messages and tools become; loads the engine."""
        schemas = [convert_to_openai_tool(tool) for tool in tools or ()]
        tokenizer = self._resolve_engine().tokenizer
        return len(tokenizer.encode_chat(engine_messages(messages), offered_tools(schemas) or None))

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
            tool_choice=False,
            structured_output=False,
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
        request = self._chat_request(await self._aresolve_engine(), messages, stop, **kwargs)
        return chat_result(await request.asearch(), request.reply_format)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._chat_request(self._resolve_engine(), messages, stop, **kwargs)
        with closing(request.stream()) as growths:
            for growth in growths:
                yield from chunks(growth)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._chat_request(await self._aresolve_engine(), messages, stop, **kwargs)
        async with aclosing(request.astream()) as growths:
            async for growth in growths:
                for chunk in chunks(growth):
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
        **kwargs: Any,
    ) -> ChatRequest:
        """The call that LangChain's arguments describe; `stream` has chosen the method already."""
        if model not in (None, self.model):
            raise ConfigurationError(
                f"this model runs {self.model!r}: a call cannot change it to {model!r}"
            )
        return self._request(
            engine,
            engine_messages(messages),
            is_parallel=parallel_tool_calls is not False,
            stop=stop,
            **kwargs,
        )
