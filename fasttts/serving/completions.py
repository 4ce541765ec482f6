"""`/v1/completions`: texts that the model goes on with, without a chat template."""

import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from openai.types import Completion
from pydantic import Field

from fasttts.serving.api_errors import ApiError
from fasttts.serving.bodies import RequestBody, refuse
from fasttts.serving.call import Call, Choice, Growth, Listen, Outcome, report
from fasttts.serving.chat_reply import usage
from fasttts.serving.model import ServedModel
from fasttts.serving.streams import DONE, ChunkWriter
from fasttts.types import TokenLogprob

_USUAL_MAX_TOKENS = 16
"""OpenAI's default, which clients of this endpoint know."""

_UNSUPPORTED = (
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "presence_penalty",
    "suffix",
)
_HARMLESS = {"best_of": 1, "echo": False, "frequency_penalty": 0, "presence_penalty": 0}


class CompletionBody(RequestBody):
    """The body of a request; OpenAI's reference describes the fields."""

    prompt: str | Annotated[list[Any], Field(min_length=1, max_length=128)]
    n: int | None = Field(default=None, ge=1, le=128)
    max_tokens: int | None = None
    logprobs: int | None = None

    # Refused where they would change a reply.
    best_of: int | None = None
    echo: bool | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, Any] | None = None
    presence_penalty: float | None = None
    suffix: str | None = None

    @property
    def texts(self) -> list[str]:
        """The prompts.

        Raises:
            ApiError: They are token ids, which could spell a conversation's control tokens.
        """
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise ApiError(
                "a prompt is a text, not a list of token ids", status=400, param="prompt"
            )
        return prompts

    def call(self, served: ServedModel) -> Call:
        """Makes the call; takes as long as encoding does.

        Raises:
            ApiError: The model is not served, or a field has no counterpart here.
            ConfigurationError: An option cannot work.
        """
        refuse(self, _UNSUPPORTED, _HARMLESS)
        return served.complete(
            self.model,
            self.texts,
            options={
                **self.sampling,
                "max_tokens": _USUAL_MAX_TOKENS if self.max_tokens is None else self.max_tokens,
                "num_logprobs": self.logprobs,
            },
            own=self.fasttts,
            num_choices=self.n or 1,
        )


def completion(outcome: Outcome, call: Call, page: str | None) -> Completion:
    """Makes the whole reply.

    Args:
        outcome: The choices.
        call: The call.
        page: Address of the page that shows its search; None without one.
    """
    return Completion.model_validate(
        {
            **_head(call),
            "choices": [_choice(choice) for choice in outcome.choices],
            "usage": usage(outcome, call),
            "fasttts": report(outcome, page),
        }
    )


async def chunks(
    call: Call, listen: Listen | None, *, includes_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Runs a call and yields its chunks as events, with OpenAI's end.

    Args:
        call: The call.
        listen: Receives the events of a search; None for no calls.
        includes_usage: Whether the last chunk has the usage, and no choice.
    """
    sizes: Counter[int] = Counter()
    writer = ChunkWriter(_head(call))
    async with aclosing(call.stream(listen)) as items:
        async for item in items:
            if isinstance(item, Outcome):
                if includes_usage:
                    yield writer.chunk(choices=[], usage=usage(item, call).model_dump())
                continue
            if item.delta.content or item.ended is not None:
                yield writer.chunk(choices=[_part(item, sizes[item.index])])
            sizes[item.index] += len(item.delta.content)
    yield DONE


def _head(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "index": choice.index,
        "text": choice.text,
        "finish_reason": choice.reply.finish_reason,
        "logprobs": _logprobs(choice.logprobs),
    }


def _part(item: Growth, num_before: int) -> dict[str, Any]:
    """A choice's new text, behind so many characters."""
    return {
        "index": item.index,
        "text": item.delta.content,
        "finish_reason": None if item.ended is None else item.ended.reply.finish_reason,
        "logprobs": _logprobs(item.logprobs, num_before),
    }


def _logprobs(tokens: Sequence[TokenLogprob], num_before: int = 0) -> dict[str, Any] | None:
    """In the form of this endpoint: a list for each of their properties; None for none."""
    if not tokens:
        return None
    sizes = [len(token.text) for token in tokens]
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.likeliest) for token in tokens],
        "text_offset": list(itertools.accumulate(sizes[:-1], initial=num_before)),
    }
