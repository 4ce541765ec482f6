"""Structured prediction: objects of a pydantic class whose schema constrains decoding."""

from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    TextBlock,
)
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.llm import LLM, dispatcher
from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.program.utils import FlexibleModel, create_flexible_model
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.types import Model
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from fasttts.errors import wrong_type

_OF_FUNCTION_CALLS = ("tool_required", "tool_choice", "allow_parallel_tool_calls")
"""Options that LlamaIndex's callers pass to models that make objects by calling functions."""


def announce(output_cls: type[Model], prompt: PromptTemplate, prompt_args: dict[str, Any]) -> None:
    """Reports the start of a prediction to LlamaIndex's instrumentation; see `conclude`.

    Args:
        output_cls: Class of the object.
        prompt: The prompt.
        prompt_args: Values of the prompt's variables.
    """
    _check(output_cls, prompt, None)
    dispatcher.event(
        LLMStructuredPredictStartEvent(
            output_cls=output_cls, template=prompt, template_args=prompt_args
        )
    )


def _check(output_cls: object, prompt: object, llm_kwargs: object) -> None:
    if not isinstance(output_cls, type) or not issubclass(output_cls, BaseModel):
        raise wrong_type("output_cls", output_cls, "a pydantic class")
    if not isinstance(prompt, BasePromptTemplate):
        raise wrong_type("prompt", prompt, "a PromptTemplate")
    options = {} if llm_kwargs is None else llm_kwargs
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise wrong_type("llm_kwargs", llm_kwargs, "a dictionary of options or None")


def conclude(response: ChatResponse, output_cls: type[Model]) -> Model:
    """Reports the end of a prediction and returns its object; raises as `predicted` does.

    Args:
        response: A finished response.
        output_cls: Class of the object.
    """
    output = predicted(response, output_cls)
    dispatcher.event(LLMStructuredPredictEndEvent(output=output))
    return output


def prediction_arguments(
    llm: LLM,
    output_cls: type[Model],
    prompt: PromptTemplate,
    llm_kwargs: Mapping[str, Any] | None = None,
    /,
    **prompt_args: Any,
) -> dict[str, Any]:
    """Makes the arguments of `FastTTS.chat` for a prediction.

    The last message ends with the schema, in LlamaIndex's own words: the constraint fixes the form,
    and the model should know the fields it is to fill in.

    Args:
        llm: Extends and formats the messages.
        output_cls: Class of the object.
        prompt: The prompt.
        llm_kwargs: Further options of the call; None for none.
        prompt_args: Values of the prompt's variables.
    """
    _check(output_cls, prompt, llm_kwargs)
    *before, last = llm._extend_messages(prompt.format_messages(llm=llm, **prompt_args))
    words = PydanticOutputParser(output_cls).get_format_string(escape_json=False)
    asked = ChatMessage(
        role=last.role,
        blocks=[*last.blocks, TextBlock(text=words)],
        additional_kwargs=last.additional_kwargs,
    )
    options = {k: v for k, v in (llm_kwargs or {}).items() if k not in _OF_FUNCTION_CALLS}
    schema = output_cls.model_json_schema()
    return {"messages": [*before, asked], "response_schema": schema, **options}


def predicted(response: ChatResponse, output_cls: type[Model]) -> Model:
    """Parses the object of a finished response.

    Args:
        response: A finished response.
        output_cls: Class of the object.

    Raises:
        ValueError: The response was cut off, or a rule of the class that is not in its schema
            rejects it.
    """
    content = response.message.content or ""
    try:
        return output_cls.model_validate_json(content)
    except ValidationError as error:
        is_cut = response.raw is not None and response.raw["finish_reason"] == "length"
        hint = "raise max_tokens" if is_cut else str(error)
        raise ValueError(f"{content!r} is no {output_cls.__name__}: {hint}") from error


def growing(
    responses: ChatResponseGen, output_cls: type[Model]
) -> Generator[Model | FlexibleModel, None, None]:
    """Yields the partial object as it grows, and then the whole; raises as `predicted` does.

    Args:
        responses: Streamed responses of one message.
        output_cls: Class of the object.
    """
    for response in responses:
        if (output := _as_far(response, output_cls)) is not None:
            yield output


async def agrowing(
    responses: ChatResponseAsyncGen, output_cls: type[Model]
) -> AsyncGenerator[Model | FlexibleModel, None]:
    """Streams as `growing` does, for event loops.

    Args:
        responses: Streamed responses of one message.
        output_cls: Class of the object.
    """
    async for response in responses:
        if (output := _as_far(response, output_cls)) is not None:
            yield output


def _as_far(response: ChatResponse, output_cls: type[Model]) -> Model | FlexibleModel | None:
    """Parses the partial object; a stream's last response alone is finished."""
    if response.raw is not None:
        return predicted(response, output_cls)
    content = response.message.content or ""
    if not content.startswith("{"):
        return None
    values = from_json(content, allow_partial="trailing-strings")
    try:
        return output_cls.model_validate(values)
    except ValidationError:
        return create_flexible_model(output_cls)(**values)
