"""From what a user asks to a search that can start: checked input and a rendered prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

from fasttts.backends.base import Generator
from fasttts.config import SearchConfig, search_config
from fasttts.errors import ConfigurationError
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.search import make_policy, uses_verifier
from fasttts.types import Message

Problem = str | Sequence[Message]
"""A question, or a whole conversation whose last user message is the question."""

_PLAIN_PRIORITY, _SEARCH_PRIORITY = 0, 1


def prepare(
    problem: Problem,
    config: SearchConfig,
    generator: Generator,
    *,
    system: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> SearchRun:
    """A search that can start.

    Args:
        problem: What to solve.
        config: The search, resolved for the engine's models.
        generator: Renders the prompt and bounds its length.
        system: A system message put before the conversation.
        tools: Tool schemas in OpenAI's form.

    Raises:
        ConfigurationError: The input cannot work.
    """
    messages = _messages(problem, system)
    prompt_token_ids = generator.tokenizer.encode_chat(messages, tools)
    if len(prompt_token_ids) >= generator.max_model_len:
        raise ConfigurationError(
            f"the prompt has {len(prompt_token_ids)} tokens, the context "
            f"{generator.max_model_len}: shorten the prompt, or raise max_model_len if the model "
            "allows it"
        )
    request = SearchRequest(
        prompt_token_ids=prompt_token_ids,
        problem=_last_user_text(messages),
        config=config,
        uses_verifier=uses_verifier(config),
    )
    return SearchRun(
        request,
        make_policy(config),
        generator.tokenizer,
        max_model_len=generator.max_model_len,
        priority=_PLAIN_PRIORITY if config.search == "none" else _SEARCH_PRIORITY,
    )


def seeded(
    config: SearchConfig, seeds: Sequence[int] | None, num_problems: int
) -> list[SearchConfig]:
    """The configuration of each problem; None gives all of them the same seed.

    Raises:
        ConfigurationError: There are not as many seeds as problems.
    """
    if seeds is None:
        return [config] * num_problems
    if len(seeds) != num_problems:
        raise ConfigurationError(f"{len(seeds)} seeds for {num_problems} problems")
    return [search_config(config, seed=seed) for seed in seeds]


def _messages(problem: Problem, system: str | None) -> list[Message]:
    if isinstance(problem, str):
        if not problem.strip():
            raise ConfigurationError("the prompt is empty")
        problem = [{"role": "user", "content": problem}]
    if not problem:
        raise ConfigurationError("the conversation has no messages")
    return [*([{"role": "system", "content": system}] if system else []), *problem]


def _last_user_text(messages: Sequence[Message]) -> str:
    """What the verifier judges steps against: the last message of the user."""
    texts = (m.get("content") for m in reversed(messages) if m.get("role") == "user")
    return str(next(texts, "") or "")
