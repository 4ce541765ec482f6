"""`FastTTSLLM`: a FastTTS engine as a LangChain model that completes text."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LLM
from langchain_core.outputs import GenerationChunk

from fasttts import FastTTS
from fasttts.chat import ChatOptions, ChatRequest, ReplyChunk, cost_report


class FastTTSLLM(ChatOptions, LLM):
    """A small local model that can search before it answers, for prompts that are plain text.

    A prompt becomes a user message of the model's chat template. The options are those of
    `ChatFastTTS`.

    Example:
        ```python
        model = FastTTSLLM(model="demo", search="beam_search", n=16)
        model.invoke("Max owns 50 pencils. Max sells 37 pencils. How many has Max now?")
        ```
    """

    @property
    def _llm_type(self) -> str:
        return "fasttts"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """The key of LangChain's cache."""
        return self._identity()

    def get_token_ids(self, text: str) -> list[int]:
        """Encodes a text in the generator's vocabulary; loads the engine."""
        return self._token_ids(text)

    def _call(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        request = self._ask(self._resolve_engine(), prompt, stop, kwargs)
        result = request.search()
        return request.reply_format.read(result.text, result.finish_reason).content

    async def _acall(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> str:
        engine = await self._aresolve_engine()
        request = await asyncio.to_thread(self._ask, engine, prompt, stop, kwargs)
        result = await request.asearch()
        return request.reply_format.read(result.text, result.finish_reason).content

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        request = self._ask(self._resolve_engine(), prompt, stop, kwargs)
        with closing(request.stream()) as reply_chunks:
            for reply_chunk in reply_chunks:
                chunk = _chunk(reply_chunk)
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        engine = await self._aresolve_engine()
        request = await asyncio.to_thread(self._ask, engine, prompt, stop, kwargs)
        async with aclosing(request.astream()) as reply_chunks:
            async for reply_chunk in reply_chunks:
                chunk = _chunk(reply_chunk)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _ask(
        self, engine: FastTTS, prompt: str, stop: list[str] | None, options: dict[str, Any]
    ) -> ChatRequest:
        return self._request(engine, [{"role": "user", "content": prompt}], stop=stop, **options)


def _chunk(reply_chunk: ReplyChunk) -> GenerationChunk:
    """Converts the new text; the last chunk has the cost."""
    info = None if reply_chunk.end is None else {"fasttts": cost_report(reply_chunk.end[1])}
    return GenerationChunk(text=reply_chunk.delta.content, generation_info=info)
