"""Makes a search that can start from a user's problem: checked input and a rendered prompt."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fasttts.answers.extraction import Extractor
from fasttts.config import SearchConfig, option_name, search_config
from fasttts.decoding.structured_outputs import THINK_END, THINK_START, Thoughts
from fasttts.decoding.tokenizer import Tokenizer, text_behind_control, text_start
from fasttts.engine.messages import Conversation, check_conversation, check_tools, question
from fasttts.errors import ConfigurationError, ContractError, FastTTSError, shown, wrong_type
from fasttts.interfaces import Generator
from fasttts.scheduling.recovery import user_failure
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.search import make_policy, uses_verifier
from fasttts.tree import Limits, Node
from fasttts.types import AnswerPrefix, Message

_PLAIN_PRIORITY, _SEARCH_PRIORITY = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered problem.

    Attributes:
        token_ids: The conversation and the tools through the chat template.
        problem: The text that the verifier judges steps against: the last one of the user.
        answer_prefix: Text that every answer begins with; None for none.
        messages: The conversation that was rendered, for routing policies.
        tools: The tools that were rendered with it.
        shows_tools: Whether the model reads of them in this prompt.
    """

    token_ids: tuple[int, ...]
    problem: str
    answer_prefix: AnswerPrefix | None = None
    messages: tuple[Message, ...] = field(default=(), compare=False, repr=False)
    tools: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)
    shows_tools: bool = field(default=True, compare=False, repr=False)


Problem = Conversation | Prompt
"""A question, a conversation whose last user message is the question, or either one rendered."""


def render(
    problem: Problem,
    generator: Generator,
    *,
    system: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Prompt:
    """Renders the prompt of a problem.

    Args:
        problem: A question, a conversation, or a prompt, which is returned as it is.
        generator: Its tokenizer renders, its context bounds the length.
        system: A system message put before the conversation; None for none.
        tools: Tool schemas in OpenAI's form; None for none.
        chat_template_kwargs: Switches of the model's chat template, as in `SearchConfig`; None for
            none. A rendered prompt stays as it is.

    Raises:
        ConfigurationError: The input cannot work.
    """
    if isinstance(problem, Prompt):
        if system is not None or tools is not None:
            raise ConfigurationError("a rendered prompt takes neither a system message nor tools")
        return problem
    messages = check_conversation(problem, system)
    offered = check_tools(tools)
    tools = offered or None
    switches = _checked_switches(chat_template_kwargs)
    token_ids = _token_ids(generator.tokenizer, messages, tools, switches)
    if len(token_ids) >= generator.max_model_len:
        raise ConfigurationError(
            f"the prompt has {len(token_ids)} tokens, the context {generator.max_model_len}: "
            f"shorten the prompt, or raise {option_name('max_model_len')} if the model allows it"
        )
    return Prompt(
        token_ids=tuple(token_ids),
        problem=question(messages),
        messages=tuple(messages),
        tools=offered,
        shows_tools=not offered
        or token_ids != _token_ids(generator.tokenizer, messages, None, switches),
    )


def text_prompt(text: str, tokenizer: Tokenizer) -> Prompt:
    """Makes the prompt of a text to complete, without a chat template; it may be empty or too long.

    Args:
        text: The text; control tokens that it spells stay text.
        tokenizer: The generator's.
    """
    token_ids = (*text_start(tokenizer), *tokenizer.encode(text))
    messages = ({"role": "user", "content": text},)  # what routing policies look at
    return Prompt(token_ids=token_ids, problem=text, messages=messages)


def _checked_switches(switches: object) -> dict[str, Any]:
    """Checks the switches of a chat template.

    Raises:
        ConfigurationError: They are none.
    """
    if not isinstance(switches, Mapping | None):
        raise wrong_type("chat_template_kwargs", switches, "a dictionary or None")
    if not switches:
        return {}
    return search_config(chat_template_kwargs=dict(switches)).chat_template_kwargs


def _token_ids(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
    switches: Mapping[str, Any],
) -> list[int]:
    """Renders messages with a tokenizer, which may be a user's class, and checks the tokens.

    Raises:
        ContractError: It raised, or it does not turn messages to tokens and tokens to text.
    """
    found: object = None
    try:
        own = (switches,) if switches else ()  # older tokenizers know nothing of them
        found = tokenizer.encode_chat(messages, tools, *own)
        token_ids = list(map(operator.index, found))
        if not isinstance(tokenizer.decode(token_ids[-1:]), str):
            raise TypeError("decode returned no text")
    except FastTTSError:
        raise
    except Exception as error:  # a tokenizer may raise and return anything
        raise ContractError(
            f"the tokenizer failed: {type(error).__name__}: {error}; encode_chat returned "
            f"{shown(found)}; see fasttts.decoding.tokenizer.Tokenizer",
            role="generator",
        ) from error
    return token_ids


def prepare(
    prompt: Prompt,
    config: SearchConfig,
    generator: Generator,
    extract: Extractor | None = None,
    num_logprobs: int | None = None,
) -> SearchRun:
    """Makes a search that can start.

    Args:
        prompt: The rendered problem.
        config: The search, resolved for the engine's models.
        generator: The engine's generator.
        extract: Finds answers where the search counts them; None goes by the option `answer`.
        num_logprobs: How many of the likeliest tokens the engine's verifier reads; None reads none.

    Raises:
        ConfigurationError: The search's policy is user-defined and cannot be made, or the prompt's
            answer prefix does not fit.
        SearchError: The policy, or the tokenizer, is a user's and raised.
    """
    scores = uses_verifier(config)
    policy = make_policy(config)
    request = SearchRequest(
        prompt_token_ids=prompt.token_ids,
        problem=prompt.problem,
        config=config,
        uses_verifier=scores,
        extract=extract,
        grammar=_grammar(prompt, config, generator.tokenizer),
        answer_prefix=_answer_prefix(prompt, config, generator, is_scored=scores),
        num_logprobs=num_logprobs if scores else config.num_logprobs,
    )
    try:
        return SearchRun(
            request,
            policy,
            generator.tokenizer,
            max_model_len=generator.max_model_len,
            priority=_PLAIN_PRIORITY if config.search == "none" else _SEARCH_PRIORITY,
        )
    except FastTTSError:
        raise
    except Exception as error:  # a user's class may raise anything
        raise user_failure("policy or tokenizer", error) from error


def is_thinking(prompt: Prompt, tokenizer: Tokenizer) -> bool:
    """Whether the prompt ends inside `<think>`, as in some chat templates.

    Args:
        prompt: The rendered problem.
        tokenizer: The generator's.
    """
    return text_behind_control(tokenizer, prompt.token_ids[-8:]).rstrip().endswith(THINK_START)


def _grammar(prompt: Prompt, config: SearchConfig, tokenizer: Tokenizer) -> str | None:
    """The grammar of the answer; thoughts are allowed where the closing tag is one token."""
    if config.structured_outputs is None:
        return None
    thoughts: Thoughts = "possible" if len(tokenizer.encode(THINK_END)) == 1 else "none"
    if is_thinking(prompt, tokenizer):
        thoughts = "open"
    return config.structured_outputs.decoding_grammar(thoughts)


def _answer_prefix(
    prompt: Prompt, config: SearchConfig, generator: Generator, *, is_scored: bool
) -> Node | None:
    """Makes the prompt's answer prefix the parent of the tree's roots."""
    answer_prefix = prompt.answer_prefix
    if answer_prefix is None:
        return None
    token_ids = generator.tokenizer.encode(answer_prefix.text)
    num_left = min(config.max_tokens, generator.max_model_len - len(prompt.token_ids))
    if len(token_ids) >= num_left:
        raise ConfigurationError(
            f"an answer prefix of {len(token_ids)} tokens is too long for an answer of {num_left}: "
            "raise max_tokens, or begin with less"
        )
    scores_S = [step.score for step in answer_prefix.steps if step.score is not None]
    if is_scored and len(scores_S) != len(answer_prefix.steps):
        raise ConfigurationError("a search that scores needs a score for each step of the prefix")
    return Node(
        path=(),
        seed=config.seed,
        parent=None,
        num_prefix_tokens=len(prompt.token_ids),
        limits=Limits(
            max_tokens=len(token_ids), at_max_tokens="step", num_steps=None, at_step_end="step"
        ),
        token_ids=token_ids,
        text=answer_prefix.text,
        steps=tuple(step.text for step in answer_prefix.steps),
        scores_S=tuple(scores_S) if is_scored else None,
        finish_reason="step",
    )


def check_extractor(option: str, extract: object) -> None:
    """Checks what finds answers.

    Args:
        option: The argument's name, for the error.
        extract: A function; None for none.

    Raises:
        ConfigurationError: It is neither.
    """
    if extract is not None and not callable(extract):
        raise wrong_type(option, extract, "a function of a text or None")
