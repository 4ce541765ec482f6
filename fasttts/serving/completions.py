"""`/v1/completions`: texts that the model goes on with, without a chat template."""

import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from openai.types import Completion
from pydantic import Field

from fasttts.serving.api_errors import ApiError
from fasttts.serving.bodies import RequestBody, refuse
from fasttts.serving.call import Call, Choice, Listen, Outcome, report
from fasttts.serving.chat_reply import usage
from fasttts.serving.model import ServedModel
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
            "choices": [_choice(choice, choice.text) for choice in outcome.choices],
            "usage": usage(outcome, call),
            "fasttts": report(outcome, page),
        }
    )


async def chunks(
    call: Call, listen: Listen | None, *, includes_usage: bool
) -> AsyncGenerator[str, None]:
    """Runs a call and yields its chunks as JSON texts.

    Args:
        call: The call.
        listen: Receives the events of a search; None for no calls.
        includes_usage: Whether the last chunk has the usage, and no choice.
    """
    async with aclosing(call.stream(listen)) as items:
        async for item in items:
            if isinstance(item, Outcome):
                if includes_usage:
                    yield _chunk(call, [], usage=usage(item, call).model_dump())
                continue
            text = item.delta.content
            if item.ended is not None:
                yield _chunk(call, [_choice(item.ended, text)])
            elif text:
                choice = {"index": item.index, "text": text, "finish_reason": None}
                yield _chunk(call, [{**choice, "logprobs": None}])


def _chunk(call: Call, choices: list[dict[str, Any]], **fields: Any) -> str:
    return json.dumps({**_head(call), "choices": choices, **fields}, ensure_ascii=False)


def _head(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
    }


def _choice(choice: Choice, text: str) -> dict[str, Any]:
    return {
        "index": choice.index,
        "text": text,
        "finish_reason": choice.reply.finish_reason,
        "logprobs": _logprobs(choice.logprobs) if choice.logprobs else None,
    }


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """In the form of this endpoint: a list for each of their properties."""
    ends = list(itertools.accumulate(len(token.text) for token in tokens))
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.likeliest) for token in tokens],
        "text_offset": [0, *ends[:-1]],
    }
