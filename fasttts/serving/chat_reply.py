"""Replies of `/v1/chat/completions`, whole and as chunks."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion

from fasttts.chat import Reply, ReplyCall
from fasttts.serving.call import Call, Choice, Growth, Listen, Outcome, report, total_cost
from fasttts.serving.streams import DONE, ChunkWriter
from fasttts.types import TokenLogprob


def completion(outcome: Outcome, call: Call, page: str | None) -> ChatCompletion:
    """Makes the whole reply.

    Args:
        outcome: The choices.
        call: The call.
        page: Address of the page that shows its search; None without one.
    """
    choices = [
        {
            "index": choice.index,
            "message": _message(choice.reply),
            "finish_reason": choice.reply.finish_reason,
            "logprobs": _logprobs(choice.logprobs),
        }
        for choice in outcome.choices
    ]
    return ChatCompletion.model_validate(
        {
            "id": call.id,
            "object": "chat.completion",
            "created": call.created,
            "model": call.model,
            "choices": choices,
            "usage": usage(outcome, call),
            "fasttts": report(outcome, page),
        }
    )


def usage(outcome: Outcome, call: Call) -> CompletionUsage:
    """Tokens of prompts and returned paths, and under `fasttts` those of all paths.

    Args:
        outcome: The choices.
        call: The call.
    """
    num_prompt = call.num_prompt_tokens
    num_tokens = sum(choice.num_tokens for choice in outcome.choices)
    return CompletionUsage.model_validate(
        {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_tokens,
            "total_tokens": num_prompt + num_tokens,
            "fasttts": total_cost(outcome),
        }
    )


async def chunks(
    call: Call, page: str | None, listen: Listen | None, *, includes_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Runs a call and yields its chunks as events, with OpenAI's end.

    Args:
        call: The call.
        page: Address of the page that shows its search; None without one.
        listen: Receives the events of a search; None for no calls.
        includes_usage: Whether the last chunk has the usage, and no choice.
    """
    begun: set[int] = set()
    writer = _Writer(call)
    async with aclosing(call.stream(listen)) as items:
        async for item in items:
            if isinstance(item, Outcome):
                if includes_usage:
                    yield writer.chunk(choices=[], usage=usage(item, call).model_dump())
                continue
            if item.index not in begun:
                begun.add(item.index)
                yield writer.choice(item.index, {"role": "assistant", "content": ""})
            logprobs = _logprobs(item.logprobs)
            for delta in _deltas(item):
                yield writer.choice(item.index, delta, logprobs)
                logprobs = None  # they come once, with the first of its chunks
            if item.ended is not None:
                yield writer.last(item.ended, page, logprobs)
    yield DONE


class _Writer(ChunkWriter):
    """Writes `ChatCompletionChunk`s, without the class, since there is one a token."""

    def __init__(self, call: Call) -> None:
        super().__init__(
            {
                "id": call.id,
                "object": "chat.completion.chunk",
                "created": call.created,
                "model": call.model,
            }
        )

    def choice(
        self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None
    ) -> bytes:
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": None}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return self.chunk(choices=[choice])

    def last(self, choice: Choice, page: str | None, logprobs: dict[str, Any] | None) -> bytes:
        ended = {
            "index": choice.index,
            "delta": {},
            "finish_reason": choice.reply.finish_reason,
            "logprobs": logprobs,
        }
        return self.chunk(choices=[ended], fasttts={"score": choice.score, "page": page})


def _deltas(growth: Growth) -> Iterator[dict[str, Any]]:
    """Thoughts, text and calls, each in a chunk of its own."""
    if growth.delta.reasoning:
        yield _thoughts(growth.delta.reasoning)
    if growth.delta.content:
        yield {"content": growth.delta.content}
    calls = growth.ended.reply.calls if growth.ended is not None else ()
    if calls:
        yield {"tool_calls": [{"index": n, **tool_call(each)} for n, each in enumerate(calls)]}


def _message(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.content if reply.content or not reply.calls else None,
        "refusal": None,
        **_thoughts(reply.reasoning),
    }
    if reply.calls:
        message["tool_calls"] = [tool_call(each) for each in reply.calls]
    return message


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
    """Tokens with their log-probabilities, thoughts and calls among them; None for none."""
    if not tokens:
        return None
    found = [
        {
            **_token(token.text, token.logprob),
            "top_logprobs": [_token(*likely) for likely in token.likeliest],
        }
        for token in tokens
    ]
    return {"content": found, "refusal": None}


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _thoughts(text: str) -> dict[str, str]:
    """Under both of the names that clients know: vLLM's newer one, and the older one."""
    return {"reasoning": text, "reasoning_content": text} if text else {}


def tool_call(call: ReplyCall) -> dict[str, Any]:
    """A call in OpenAI's form."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }
