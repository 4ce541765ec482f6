"""`FastTTS`: a FastTTS engine as a LlamaIndex LLM that can call functions."""

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.generic_utils import (
    achat_to_completion_decorator,
    astream_chat_to_completion_decorator,
    chat_to_completion_decorator,
    stream_chat_to_completion_decorator,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools.types import BaseTool
from llama_index.core.types import Model, PydanticProgramMode
from pydantic import BaseModel
from typing_extensions import override

from fasttts import FastTTS as Engine
from fasttts.chat import ChatOptions, ChatRequest
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.errors import wrong_type
from llama_index.llms.fasttts.messages import engine_messages
from llama_index.llms.fasttts.responses import (
    astreamed_responses,
    chat_response,
    streamed_responses,
)
from llama_index.llms.fasttts.structured import (
    agrowing,
    announce,
    conclude,
    growing,
    prediction_arguments,
)
from llama_index.llms.fasttts.tools import selections, tools_arguments


class FastTTS(ChatOptions, FunctionCallingLLM):
    r"""A small local model that can search before it answers.

    Setup: `pip install 'fasttts[llama-index,vllm]'`; no keys and no server. The options of a call
    (`search`, `n`, `beam_width`, `temperature`, ...) can be set here (rarer ones in `search_args`)
    or passed to one call.

    Returns: `response.raw["usage"]` counts the prompt and the returned path; the whole cost of a
    search stands in `response.raw["fasttts"]`. Every form of a call gives the same reply.

    Example:
        ```python
        llm = FastTTS(model="demo", search="beam_search", n=16)
        response = llm.complete("Max owns 50 pencils. Max sells 37 pencils. How many has Max now?")
        print(response.text, response.raw["fasttts"]["score"])

        response = llm.chat_with_tools(tools, "How many?", tool_required=True)
        invoice = llm.structured_predict(Invoice, PromptTemplate("Read {text}"), text=text)
        agent = FunctionAgent(tools=tools, llm=llm)
        llm.close()
        ```
    """

    def __getstate__(self) -> dict[Any, Any]:
        """As pydantic makes it: LlamaIndex takes away from this object what cannot be pickled."""
        return BaseModel.__getstate__(self)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)

    @classmethod
    def class_name(cls) -> str:
        """The name for LlamaIndex's serialization and traces."""
        return "FastTTS"

    @property
    def metadata(self) -> LLMMetadata:
        """Context and output length of the model; loads the engine."""
        return LLMMetadata(
            context_window=self._resolve_engine().max_model_len,
            num_output=self._search_config().max_tokens,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.model,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, for `Settings.tokenizer` and memories; loads the engine."""
        return self._resolve_engine().tokenizer

    def to_payload(self) -> dict[str, Any]:
        """Data for traces; unlike `metadata` it needs no engine."""
        return {"class_name": self.class_name(), "model_name": self.model, **self._identity()}

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._chat(messages, **kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream_chat(messages, **kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._achat(messages, **kwargs)

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        return await self._astream_chat(messages, **kwargs)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return chat_to_completion_decorator(self._chat)(self._format(prompt, formatted), **kwargs)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        complete = stream_chat_to_completion_decorator(self._stream_chat)
        return complete(self._format(prompt, formatted), **kwargs)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        complete = achat_to_completion_decorator(self._achat)
        return await complete(self._format(prompt, formatted), **kwargs)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        complete = astream_chat_to_completion_decorator(self._astream_chat)
        return await complete(self._format(prompt, formatted), **kwargs)

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Predicts an object of `output_cls`; decoding follows its schema.

        With another `pydantic_program_mode` than "default", LlamaIndex's program of that name
        predicts it instead.

        Raises:
            ValueError: The object was cut off, or its class rejects the values.
        """
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            output: Model = super().structured_predict(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return output
        announce(output_cls, prompt, prompt_args)
        call = prediction_arguments(self, output_cls, prompt, llm_kwargs, **prompt_args)
        return conclude(self.chat(**call), output_cls)

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            output: Model = await super().astructured_predict(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return output
        announce(output_cls, prompt, prompt_args)
        call = prediction_arguments(self, output_cls, prompt, llm_kwargs, **prompt_args)
        return conclude(await self.achat(**call), output_cls)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Returns the calls of a response.

        Raises:
            ValueError: There are none and `error_on_no_tool_call` is set.
        """
        found = selections(response)
        if not isinstance(error_on_no_tool_call, bool):
            raise wrong_type("error_on_no_tool_call", error_on_no_tool_call, "a bool")
        if not found and error_on_no_tool_call:
            raise ValueError(f"the model called no tool but said: {response.message.content!r}")
        return found

    @override
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Makes the arguments of `chat`; both callers and `inspect` read this signature."""
        if not isinstance(tool_required, bool):
            raise wrong_type("tool_required", tool_required, "a bool")
        if not isinstance(allow_parallel_tool_calls, bool):
            raise wrong_type("allow_parallel_tool_calls", allow_parallel_tool_calls, "a bool")
        if tool_required and tool_choice is None:
            tool_choice = "required"
        arguments = tools_arguments(
            tools,
            user_msg,
            chat_history,
            is_parallel=allow_parallel_tool_calls,
            tool_choice=tool_choice,
        )
        return {**arguments, **kwargs}

    @override
    def _structured_stream_call(self, output_cls: type[Model], *args: Any, **kwargs: Any) -> Any:
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            return super()._structured_stream_call(output_cls, *args, **kwargs)
        call = prediction_arguments(self, output_cls, *args, **kwargs)
        return growing(self.stream_chat(**call), output_cls)

    @override
    async def _structured_astream_call(
        self, output_cls: type[Model], *args: Any, **kwargs: Any
    ) -> Any:
        if self.pydantic_program_mode != PydanticProgramMode.DEFAULT:
            return await super()._structured_astream_call(output_cls, *args, **kwargs)
        call = prediction_arguments(self, output_cls, *args, **kwargs)
        return agrowing(await self.astream_chat(**call), output_cls)

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        request = self._chat_request(self._resolve_engine(), messages, **kwargs)
        return chat_response(request.search(), request.reply_format)

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        request = self._chat_request(self._resolve_engine(), messages, **kwargs)
        return streamed_responses(request)

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        engine = await self._aresolve_engine()
        request = await asyncio.to_thread(self._chat_request, engine, messages, **kwargs)
        return chat_response(await request.asearch(), request.reply_format)

    async def _astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        engine = await self._aresolve_engine()
        request = await asyncio.to_thread(self._chat_request, engine, messages, **kwargs)
        return astreamed_responses(request)

    def _chat_request(
        self, engine: Engine, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatRequest:
        return self._request(engine, engine_messages(messages), **kwargs)

    def _format(self, prompt: str, formatted: bool) -> str:
        if not isinstance(prompt, str):
            raise wrong_type("prompt", prompt, "a str")
        convert = self.completion_to_prompt
        return prompt if formatted or convert is None else convert(prompt)
