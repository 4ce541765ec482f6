"""Rules that end a step, compared on the same texts."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fasttts.config import SearchConfig, search_config
from fasttts.decoding.reader import place_tokens
from fasttts.decoding.steps import StepRule, StepScan
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.types import TokenLogprob, TokenLogprobs

FEWEST_STEPS, MOST_STEPS = 3, 15
"""Median steps of an answer that a search can use."""

SENTENCE = r"(?:[^\d\n]|[^\n]\d)[.!?]\s"
r"""The end of a sentence: not of `3.5`, nor of the `1. ` that begins a line."""

_FEWEST_TOKENS, _MOST_TOKENS = 5, 200
"""Median tokens of a step."""

_FIXED_STEPS = 6
_FIXED_TOKENS = (16, 128)
MOST_SINGLE = 0.2
"""Share of answers that may be one step."""

MOST_CUT_STEPS = 0.1
"""Share of steps that may be cut at their longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatistics:
    """Steps of sampled answers under one rule.

    Attributes:
        name: The rule, in words.
        options: The options of a search that set it; empty for the rule that the answers were
            sampled with.
        num_steps: Median steps of an answer.
        num_tokens: Median tokens of a step.
        single_share: Share of answers that are one step.
        cut_share: Share of steps that reach `max_step_tokens`, and are cut there.
        suits: Whether a search can use such steps.
    """

    name: str
    options: Mapping[str, Any]
    num_steps: float
    num_tokens: float
    single_share: float
    cut_share: float
    suits: bool


def compare_rules(
    texts: Sequence[str], tokenizer: Tokenizer, config: SearchConfig
) -> list[StepStatistics]:
    """Measures the rule of a search first, then others, the last of which is of fixed length.

    Args:
        texts: Sampled answers; empty ones do not count.
        tokenizer: The generator's.
        config: The search.

    Returns:
        One for each rule; none without texts.
    """
    texts = [text for text in texts if text.strip()]
    if not texts:
        return []
    answer_tokens = statistics.median(len(tokenizer.encode(text)) for text in texts)
    return [
        _measure(
            name, _changed(options, config), texts, tokenizer, search_config(config, **options)
        )
        for name, options in _rules(texts, config, answer_tokens)
    ]


def suiting_rule(rules: Sequence[StepStatistics]) -> StepStatistics | None:
    """Returns the first rule whose steps a search can use; None where there is none."""
    return next((rule for rule in rules if rule.suits), None)


def split_steps(text: str, config: SearchConfig, tokenizer: Tokenizer) -> list[str]:
    """Splits an answer into steps, as a search does.

    Args:
        text: The answer.
        config: The search, for its rule and its longest step.
        tokenizer: The generator's.
    """
    return [step for _, step in _located(text, config, tokenizer)]


def step_logprobs(
    tokens: Sequence[TokenLogprob], config: SearchConfig, tokenizer: Tokenizer
) -> tuple[Sequence[TokenLogprobs], ...]:
    """The log-probabilities of each step of an answer, as a search hands them to a verifier.

    Args:
        tokens: The answer's; joined they are its text. Their ids are not known, and given as 0.
        config: As for `split_steps`.
        tokenizer: The generator's.
    """
    text = "".join(token.text for token in tokens)
    starts = [start for start, _ in _located(text, config, tokenizer)]
    spans = place_tokens([len(token.text) for token in tokens], starts) if starts else ()
    found = [
        TokenLogprobs(
            0, token.logprob, [(0, logprob) for _, logprob in token.likeliest], token.distribution
        )
        for token in tokens
    ]
    return tuple(found[i:j] for i, j in spans)


def _located(text: str, config: SearchConfig, tokenizer: Tokenizer) -> Iterator[tuple[int, str]]:
    """The steps of an answer, and where each begins."""
    rule = config.step_rule
    text = rule.visible(text)
    ends = _fixed_ends(text, rule.num_tokens, tokenizer) if rule.num_tokens else _ends(text, rule)
    begins = [0, *ends]
    for start, end in zip(begins, [*ends, len(text)], strict=True):
        if clean := rule.clean(text[start:end]):
            yield start, clean


def _rules(
    texts: Sequence[str], config: SearchConfig, answer_tokens: float
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield _name(config.step_rule), {}
    if any("</think>" in text for text in texts) and not config.thinking:
        yield "thoughts alone", {"thinking": True, "step_tokens": None}
    if config.step_rule != StepRule():
        yield "a blank line", {"step_separator": "\n\n", "step_pattern": None, "step_tokens": None}
    yield "a line", {"step_pattern": r"\n", "step_tokens": None}
    yield "a sentence", {"step_pattern": SENTENCE, "step_tokens": None}
    low, high = _FIXED_TOKENS
    fixed = min(max(low, 8 * round(answer_tokens / _FIXED_STEPS / 8)), high, config.max_step_tokens)
    yield f"{fixed} tokens", {"step_tokens": fixed, "step_pattern": None, "thinking": False}


def _changed(options: Mapping[str, Any], config: SearchConfig) -> Mapping[str, Any]:
    return {name: value for name, value in options.items() if value != getattr(config, name)}


def _name(rule: StepRule) -> str:
    if rule.num_tokens is not None:
        return f"{rule.num_tokens} tokens"
    if rule.pattern is not None:
        return f"the pattern {rule.pattern}"
    if rule.separator == "\n\n":
        return "a blank line"
    return f"the separator {rule.separator!r}"


def _measure(
    name: str,
    options: Mapping[str, Any],
    texts: Sequence[str],
    tokenizer: Tokenizer,
    config: SearchConfig,
) -> StepStatistics:
    split = [split_steps(text, config, tokenizer) or [text.strip()] for text in texts]
    tokens = [len(tokenizer.encode(step)) for steps in split for step in steps]
    num_steps = statistics.median(len(steps) for steps in split)
    num_tokens = statistics.median(tokens)
    single_share = statistics.mean(len(steps) == 1 for steps in split)
    cut_share = statistics.mean(count >= config.max_step_tokens for count in tokens)
    return StepStatistics(
        name=name,
        options=options,
        num_steps=num_steps,
        num_tokens=num_tokens,
        single_share=single_share,
        cut_share=cut_share,
        suits=FEWEST_STEPS <= num_steps <= MOST_STEPS
        and _FEWEST_TOKENS <= num_tokens <= _MOST_TOKENS
        and single_share <= MOST_SINGLE
        and cut_share <= MOST_CUT_STEPS,
    )


def _ends(text: str, rule: StepRule) -> list[int]:
    scan = StepScan(rule)
    scan.push(text)
    return scan.ends


def _fixed_ends(text: str, num_tokens: int, tokenizer: Tokenizer) -> list[int]:
    """Ends of steps of fixed length; texts of single tokens cannot be joined, beginnings can."""
    token_ids = tokenizer.encode(text)
    ends = range(num_tokens, len(token_ids), num_tokens)
    return [len(tokenizer.decode(token_ids[:end])) for end in ends]
