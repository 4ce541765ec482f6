"""Converts results and reply chunks to LangChain's generations and chunks."""

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from fasttts.chat import Delta, Reply, ReplyCall, ReplyChunk, ReplyFormat, cost_report, token_usage
from fasttts.types import Candidate, SearchResult
from langchain_fasttts.messages import reasoning_kwargs, reply_message

PROVIDER = "fasttts"

_FIRST_CALL_INDEX = 2
"""Above the indices that `output_version="v1"` gives to reasoning (0) and text (1): a call with one
of these indices would be merged into them and lost."""


def chat_result(result: SearchResult, reply_format: ReplyFormat) -> ChatResult:
    """Converts the chosen candidate and then the others, best first, each with its score.

    Args:
        result: The result of the search.
        reply_format: Reads replies from the candidates' texts.
    """
    chosen = reply_format.read(result.text, result.finish_reason)
    generations = [_chosen_generation(result, chosen)]
    for candidate in result.candidates[1:]:
        reply = reply_format.read(candidate.text, candidate.finish_reason)
        generations.append(_other_generation(result, candidate, reply))
    return ChatResult(generations=generations)


def chunks(chunk: ReplyChunk) -> Iterator[ChatGenerationChunk]:
    """Converts a reply chunk; all chunks together are the whole reply."""
    yield from _delta_chunks(chunk.delta)
    if chunk.end is not None:
        reply, result = chunk.end
        if reply.calls:
            yield _calls_chunk(reply.calls)
        yield _last_chunk(result, reply)


def _chosen_generation(result: SearchResult, reply: Reply) -> ChatGeneration:
    message = reply_message(reply, _metadata(result, reply), _usage(result))
    return ChatGeneration(message=message, generation_info=_info(result.score, reply))


def _other_generation(result: SearchResult, candidate: Candidate, reply: Reply) -> ChatGeneration:
    names = {"model_name": result.generator, "model_provider": PROVIDER}
    message = reply_message(reply, names, _usage(result, candidate.num_tokens))
    return ChatGeneration(message=message, generation_info=_info(candidate.score, reply))


def _info(score: float | None, reply: Reply) -> dict[str, Any]:
    return {"finish_reason": reply.finish_reason, "score": score}


def _metadata(result: SearchResult, reply: Reply) -> dict[str, Any]:
    return {
        "model_name": result.generator,
        "model_provider": PROVIDER,
        **_info(result.score, reply),
        "fasttts": cost_report(result),
    }


def _usage(result: SearchResult, num_tokens: int | None = None) -> UsageMetadata:
    usage = token_usage(result, num_tokens)
    return UsageMetadata(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        total_tokens=usage["total_tokens"],
    )


def _delta_chunks(delta: Delta) -> Iterator[ChatGenerationChunk]:
    if delta.reasoning:
        thought = AIMessageChunk(content="", additional_kwargs=reasoning_kwargs(delta.reasoning))
        yield ChatGenerationChunk(message=thought)
    if delta.content:
        yield ChatGenerationChunk(message=AIMessageChunk(content=delta.content))


def _calls_chunk(calls: tuple[ReplyCall, ...]) -> ChatGenerationChunk:
    chunks = [_call_chunk(call, index) for index, call in enumerate(calls, _FIRST_CALL_INDEX)]
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=chunks))


def _call_chunk(call: ReplyCall, index: int) -> ToolCallChunk:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return tool_call_chunk(name=call.name, args=arguments, id=call.id, index=index)


def _last_chunk(result: SearchResult, reply: Reply) -> ChatGenerationChunk:
    """The one chunk with names, usage and cost, which would add up over several chunks."""
    message = AIMessageChunk(
        content="",
        response_metadata=_metadata(result, reply),
        usage_metadata=_usage(result),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)
