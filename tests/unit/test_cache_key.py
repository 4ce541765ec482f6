"""Keys of the result cache: what determines a result is in them, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import Budget, SearchConfig
from fasttts.answers.extraction import Extractor
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.decoding.structured_outputs import StructuredOutputs
from fasttts.engine.cache_key import SearchIdentity
from fasttts.engine.request import Prompt, prepare
from fasttts.interfaces import Generator, Verifier
from fasttts.scheduling.run import SearchRequest
from fasttts.search import BeamSearch, SearchPolicy, resolve
from fasttts.types import AnswerPrefix, Step
from fasttts.verifiers import (
    Entropy,
    FunctionVerifier,
    Gate,
    LowestConfidence,
    Mean,
    Minimum,
    Perplexity,
    Product,
)

ANSWER_PREFIX = AnswerPrefix(text="4\n\n", steps=(Step(text="4", score=0.5),))
PROMPT = Prompt(token_ids=(1, 2, 3), problem="2 + 2?")

OPTIONS: dict[str, list[Any]] = {
    "search": ["best_of_n", "dvts", "none"],
    "n": [4, 32],
    "beam_width": [1, 2],
    "stopping": ["agreement"],
    "confidence": [0.9],
    "wave_size": [8],
    "warmup": [8],
    "keep": [0.5],
    "stop_below": [0.0, 0.5],
    "probe": ["So: "],
    "probe_interval": [32],
    "probe_window": [2],
    "probe_tokens": [8],
    "score_temperature": [0.2],
    "granularity": [(1, 2)],
    "lookahead_steps": [2],
    "temperature": [0.0, 0.5],
    "top_k": [40],
    "top_p": [0.5],
    "min_p": [0.1],
    "repetition_penalty": [1.2],
    "max_tokens": [128],
    "max_step_tokens": [64],
    "max_depth": [3],
    "step_separator": ["\n"],
    "step_pattern": ["[.]"],
    "step_tokens": [16],
    "thinking": [True],
    "thinking_token_budget": [0, 512],
    "score_thoughts": [False],
    "chat_template_kwargs": [{"enable_thinking": False}],
    "keep_code_blocks": [False],
    "stop": [("x",), ("x", "y")],
    "answer": ["boxed", "json:a"],
    "aggregation": ["min", "mean"],
    "selection": ["majority", "weighted"],
    "seed": [1, 2**62],
    "on_cut": ["raise"],
    "structured_outputs": [StructuredOutputs(regex="a+"), StructuredOutputs(json_object=True)],
    "num_logprobs": [0, 3],
    "budget": [Budget(tokens=9), Budget(verifier_calls=9), Budget(grace_tokens=9)],
}
"""Other values than the default ones of each option."""


def policy(config: SearchConfig) -> SearchPolicy:
    return BeamSearch(n=config.n, beam_width=config.beam_width)


def known_policy(config: SearchConfig) -> SearchPolicy:
    return policy(config)


def half(problem: str, steps: tuple[str, ...]) -> float:
    return 0.5


def known_half(problem: str, steps: tuple[str, ...]) -> float:
    return 0.5


def first_word(text: str) -> str:
    return text.split(maxsplit=1)[0]


known_policy.fingerprint = "1"  # type: ignore[attr-defined]  # functions take any attribute
known_half.fingerprint = "1"  # type: ignore[attr-defined]  # functions take any attribute


def key(
    config: SearchConfig | None = None,
    *,
    prompt: Prompt = PROMPT,
    generator: Generator | None = None,
    verifier: Verifier | None = None,
    extract: Extractor | None = None,
) -> str | None:
    generator, verifier = generator or FakeGenerator(), verifier or FakeVerifier()
    resolved = resolve(config or SearchConfig(), has_verifier=True)
    run = prepare(prompt, resolved, generator, extract)
    return SearchIdentity(generator, verifier).key(run.request)


def test_nothing_of_a_search_is_forgotten() -> None:
    assert OPTIONS.keys() == SearchConfig.model_fields.keys()
    in_key = {"prompt_token_ids", "problem", "config", "extract", "grammar", "answer_prefix"}
    follow = {"uses_verifier", "num_logprobs"}  # from the options and the verifier
    assert in_key | follow == SearchRequest.__dataclass_fields__.keys()


@given(changed=st.sampled_from(sorted(OPTIONS)), data=st.data())
def test_every_option_of_a_search_changes_the_key(changed: str, data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(OPTIONS[changed]))
    base = {"search": "none"} if changed == "num_logprobs" else {}
    other = {**base, changed: value}
    assert len({None, key(SearchConfig(**other)), key(SearchConfig(**base))}) == 3
    assert key(SearchConfig(**other)) == key(SearchConfig(**other))


@given(
    max_num_seqs=st.integers(1, 512),
    num_blocks=st.integers(2, 4096),
    block_size=st.integers(1, 64),
)
def test_room_changes_no_key(max_num_seqs: int, num_blocks: int, block_size: int) -> None:
    room = {"max_num_seqs": max_num_seqs, "num_blocks": num_blocks, "block_size": block_size}
    assert key(generator=FakeGenerator(**room)) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": Prompt(token_ids=(1, 2, 4), problem=PROMPT.problem)},
        {"prompt": Prompt(token_ids=PROMPT.token_ids, problem="3 + 3?")},
        {"prompt": replace(PROMPT, answer_prefix=ANSWER_PREFIX)},
        {"generator": FakeGenerator(mean_steps=9)},
        {"generator": FakeGenerator(max_model_len=512)},
        {"verifier": FunctionVerifier(known_half)},
    ],
)
def test_prompt_and_models_are_in_the_key(other: dict[str, Any]) -> None:
    assert len({None, key(**other), key()}) == 3


def test_a_verifier_that_is_not_asked_is_not_in_the_key() -> None:
    config = SearchConfig(search="none")
    assert key(config, verifier=FunctionVerifier(half)) == key(config) is not None


def test_what_is_made_of_fake_parts_is_told_apart() -> None:
    def parts() -> tuple[Verifier, Verifier]:
        return FakeVerifier(), FunctionVerifier(known_half)

    makers: list[Callable[[], Verifier]] = [
        lambda: Mean(*parts()),
        lambda: Mean(*parts(), weights=(1, 3)),
        lambda: Minimum(*parts()),
        lambda: Product(*parts()),
        lambda: Gate(*parts()),
        lambda: Gate(*parts(), threshold=0.25),
        lambda: Gate(*reversed(parts())),
        lambda: Minimum(FakeVerifier()),
        Perplexity,
        Entropy,
        lambda: LowestConfidence(5),
        LowestConfidence,
        lambda: LowestConfidence(window=5),
        lambda: Minimum(Entropy()),
    ]
    keys = [key(verifier=make()) for make in makers]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert keys == [key(verifier=make()) for make in makers]


class Largest(Minimum):
    def combine(self, scores_P: Any) -> float:
        return float(max(scores_P))


@pytest.mark.parametrize(
    "unknown",
    [
        {"generator": FakeGenerator(lambda prompt: None)},
        {"verifier": FunctionVerifier(half)},
        {"verifier": FakeVerifier(half)},
        {"verifier": Mean(FakeVerifier(), half)},
        {"verifier": Largest(FakeVerifier())},
        {"extract": first_word},
        {"config": SearchConfig(search=f"{__name__}:policy")},
        {"config": SearchConfig(budget=Budget(seconds=3600))},
    ],
)
def test_what_is_no_function_of_known_inputs_has_no_key(unknown: dict[str, Any]) -> None:
    assert key(**unknown) is None


def test_functions_with_a_fingerprint_are_known_by_it() -> None:
    def last_word(text: str) -> str:
        return text.rsplit(maxsplit=1)[-1]

    keys = [key(SearchConfig(search=f"{__name__}:known_policy")), key()]
    for number in (1, 2):
        last_word.fingerprint = f"{number}"  # type: ignore[attr-defined]  # as above
        keys.append(key(extract=last_word))
    assert None not in keys
    assert len(set(keys)) == 4
