"""Requests of lm-evaluation-harness as prompts and options of a search."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fasttts import FastTTS
from fasttts.config import SearchConfig, search_config
from fasttts.engine.request import Prompt, text_prompt
from fasttts.errors import ConfigurationError, wrong_type
from fasttts.evaluation.harness import task_sampling

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the longest answer; the first that a task has is taken, as the harness does."""

_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_KNOWN = {*_LENGTHS, *_SAMPLING, "do_sample", "until"}


class ChatContext(str):
    """The messages of a request as JSON, in the place where the harness expects a prompt's text.

    They are rendered when they are answered, so that no content becomes a control token.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of a search for the answers of a task.

    Attributes:
        config: The model's options with those of the task.
        unstopped: The same without the task's stops, for models that think.
        until: Texts that end the harness's answer.
    """

    config: SearchConfig
    unstopped: SearchConfig
    until: tuple[str, ...]


def chat_context(messages: Sequence[Mapping[str, str]]) -> ChatContext:
    """Writes messages, of which a last one of the assistant begins the answer."""
    return ChatContext(json.dumps(list(messages), ensure_ascii=False))


def make_prompt(
    engine: FastTTS, context: str, chat_template_kwargs: Mapping[str, Any] | None = None
) -> Prompt:
    """Makes the prompt of a request: a conversation, or a text to complete.

    Args:
        engine: Renders it, and bounds its length.
        context: The request's context.
        chat_template_kwargs: Switches of the chat template, for conversations; None for none.

    Raises:
        ConfigurationError: It is empty, or does not fit into the context.
    """
    if not isinstance(context, ChatContext):
        prompt = text_prompt(context, engine.tokenizer)
    else:
        messages = json.loads(context)
        begun = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
        prompt = engine.render(messages, chat_template_kwargs=chat_template_kwargs)
        more = engine.tokenizer.encode(begun) if begun else ()
        prompt = replace(prompt, token_ids=(*prompt.token_ids, *more))
    num_tokens = len(prompt.token_ids)
    if not num_tokens:
        raise ConfigurationError("the prompt is empty")
    if num_tokens >= engine.max_model_len:
        raise ConfigurationError(
            f"the prompt has {num_tokens} tokens, the context {engine.max_model_len}: take fewer "
            "examples (num_fewshot), or raise max_model_len if the model allows it"
        )
    return prompt


def task_options(own: SearchConfig, asked: Mapping[str, Any]) -> TaskOptions:
    """Puts the options of a task over those of the model.

    A task's length and stops hold. Its sampling holds where the model has none of its own, but a
    search never decodes greedily: see `task_sampling`. Where a search divides thoughts, no stop
    ends it.

    Args:
        own: The model's options.
        asked: The task's `generation_kwargs`.

    Raises:
        ConfigurationError: An option is unknown, or its value cannot work.
    """
    if unknown := sorted(asked.keys() - _KNOWN):
        raise ConfigurationError(
            f"the task's generation_kwargs have {', '.join(unknown)}; known are "
            f"{', '.join(sorted(_KNOWN))}"
        )
    until = _until(asked.get("until"))
    options: dict[str, Any] = task_sampling(own, _sampling(asked))
    lengths = [asked[name] for name in _LENGTHS if asked.get(name) is not None]
    if lengths:
        options["max_tokens"] = lengths[0]
    unstopped = search_config(own, **options)
    config = unstopped if own.thinking else search_config(unstopped, stop=(*own.stop, *until))
    return TaskOptions(config=config, unstopped=unstopped, until=until)


def _sampling(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The task's sampling; the harness decodes greedily unless a task says otherwise."""
    found = {name: asked.get(name) for name in _SAMPLING}
    is_sampled = asked.get("do_sample")
    if is_sampled is None:
        is_sampled = bool(found["temperature"])
    if not is_sampled:
        found["temperature"] = 0.0
    elif found["temperature"] is None:
        found["temperature"] = 1.0
    return found


def _until(until: object) -> tuple[str, ...]:
    texts = [until] if isinstance(until, str) else until or []
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        raise wrong_type("until", until, "a text or a list of texts")
    return tuple(one for one in texts if one)
