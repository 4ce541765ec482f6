"""`FastTTSAPI`: a FastTTS engine as a model provider of inspect-ai."""

import asyncio
from collections.abc import Sequence
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    RetryDecision,
    StopReason,
)
from inspect_ai.tool import ToolCall, ToolChoice, ToolInfo

from fasttts import FastTTS
from fasttts.chat import Reply, ReplyFormat, cost_report, overflows
from fasttts.errors import BackendError, ConfigurationError, FastTTSError, OverloadedError
from fasttts.evaluation import MAX_IN_FLIGHT
from fasttts.types import SearchResult
from inspect_fasttts.messages import engine_messages, engine_tools
from inspect_fasttts.options import ProviderOptions

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "tool_calls": "tool_calls",
}


class FastTTSAPI(ModelAPI):
    """A small local model that can search before it answers, in inspect-ai's own process.

    `inspect eval task.py --model fasttts/NAME -M search=beam_search -M n=16` makes it: NAME is
    "demo", a local model directory or a hub name, and `-M` takes every option of a chat model, a
    search and an engine.

    Args:
        model_name: The generator.
        base_url: Must be None: the model runs in this process.
        api_key: Has no effect.
        config: Options of all calls; inspect-ai hands them to each.
        model_args: Fields of `ProviderOptions`, `SearchConfig` and `EngineConfig`.

    Raises:
        ConfigurationError: An option is unknown, or its value cannot work.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008, as in the class it extends
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        if base_url is not None:
            raise ConfigurationError(f"base_url={base_url!r}: the model runs in this process")
        self._options = ProviderOptions.from_args(model_name, model_args)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answers one call by one search; cancelling the task stops the engine's work.

        Args:
            input: The conversation.
            tools: Tools that the model may call.
            tool_choice: Whether it must call one.
            config: The call's options.
        """
        engine = await self._options.aresolve_engine()
        try:
            request = await asyncio.to_thread(
                self._options.request, engine, input, tools, tool_choice, config
            )
        except ConfigurationError as error:
            if not _overflows(engine, input, tools):
                raise
            return ModelOutput.from_content(
                self.model_name, str(error), stop_reason="model_length", error=str(error)
            )
        result = await request.asearch()
        return ModelOutput(
            model=self.model_name,
            choices=self._choices(result, request.reply_format, config.num_choices or 1),
            usage=_usage(result),
            input_context_tokens=result.usage.prompt_tokens,
            metadata={"fasttts": result.to_dict() if self._options.trace else cost_report(result)},
        )

    def _choices(
        self, result: SearchResult, reply_format: ReplyFormat, num_choices: int
    ) -> list[ChatCompletionChoice]:
        """The chosen candidate and then the others, best first."""
        others = result.candidates[1:num_choices]
        ends = [(result.text, result.finish_reason)]
        ends += [(other.text, other.finish_reason) for other in others]
        return [self._choice(reply_format.read(text, reason)) for text, reason in ends]

    def _choice(self, reply: Reply) -> ChatCompletionChoice:
        calls = [
            ToolCall(id=call.id, function=call.name, arguments=call.arguments)
            for call in reply.calls
        ]
        message = ChatMessageAssistant(
            content=_content(reply),
            tool_calls=calls or None,
            model=self.model_name,
            source="generate",
        )
        return ChatCompletionChoice(message=message, stop_reason=_STOP_REASONS[reply.finish_reason])

    def should_retry(self, ex: Exception) -> RetryDecision:
        """Whether the same call may succeed later: where too many searches wait, for one.

        Args:
            ex: What a call raised.
        """
        if isinstance(ex, OverloadedError):
            return RetryDecision.rate_limit(ex.retry_after_s)
        is_transient = isinstance(ex, BackendError) and ex.retryable
        return RetryDecision.transient() if is_transient else RetryDecision.no()

    def max_connections(self) -> int:
        """Calls in flight unless inspect-ai adapts their number; the engine batches them."""
        return MAX_IN_FLIGHT

    def connection_key(self) -> str:
        """Calls of models that share an engine share its connections."""
        return self._options.device_key

    async def count_text_tokens(self, text: str) -> int:
        """Counts tokens in the generator's vocabulary; loads the engine.

        Args:
            text: Any text.
        """
        return len(await self.tokenize(text))

    async def tokenize(self, text: str) -> list[int]:
        """Encodes a text in the generator's vocabulary; loads the engine.

        Args:
            text: Any text.
        """
        return (await self._options.aresolve_engine()).tokenizer.encode(text)

    def close(self) -> None:
        """Releases the engine: its last user closes it and frees its memory."""
        self._options.close()


def _content(reply: Reply) -> str | list[Content]:
    if not reply.reasoning:
        return reply.content
    return [ContentReasoning(reasoning=reply.reasoning), ContentText(text=reply.content)]


def _usage(result: SearchResult) -> ModelUsage:
    """All sampled tokens, of every candidate: limits of inspect-ai are about cost."""
    read, sampled = result.usage.prompt_tokens, result.usage.generated_tokens
    return ModelUsage(input_tokens=read, output_tokens=sampled, total_tokens=read + sampled)


def _overflows(engine: FastTTS, messages: Sequence[ChatMessage], tools: Sequence[ToolInfo]) -> bool:
    """Whether a conversation is too long for the context."""
    try:
        return overflows(engine, engine_messages(messages), engine_tools(tools))
    except FastTTSError:
        return False
