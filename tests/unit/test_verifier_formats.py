"""How steps are laid out for each family of verifiers, and how a model's family is found."""

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fasttts.backends.fake import FakeTokenizer
from fasttts.errors import ConfigurationError
from fasttts.verifiers.generative import (
    JUDGE_PROMPT,
    SHEPHERD_TAG,
    ConversationFormat,
    JudgeFormat,
    ShepherdFormat,
)
from fasttts.verifiers.orm import OrmFormat
from fasttts.verifiers.prompt_formats import (
    STEP_TAG,
    SYSTEM_PROMPT,
    ProcessRewardFormat,
    ValueHeadFormat,
    VerifierFormat,
)
from fasttts.verifiers.registry import FAMILIES, find_family

ROOT = Path(__file__).parents[2]
TAG = 999


class UntaggedTokenizer(FakeTokenizer):
    """Bytes, and finished conversations."""

    bos_token_id: int | None = None

    def token_id(self, text: str) -> int | None:
        token_ids = self.encode(text)
        return token_ids[0] if len(token_ids) == 1 else None

    def encode_conversation(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        return self.encode_chat(messages)[: -len("assistant: ")]


class TaggedTokenizer(UntaggedTokenizer):
    """Bytes, with a step tag that no text becomes; counts what it is asked."""

    num_encoded = 0

    def encode(self, text: str) -> list[int]:
        self.num_encoded += 1
        return super().encode(text)

    def token_id(self, text: str) -> int | None:
        return TAG if text == STEP_TAG else super().token_id(text)


class PieceTokenizer(UntaggedTokenizer):
    """Bytes, with a step tag that is an ordinary token."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def encode(self, text: str) -> list[int]:
        parts = [super(PieceTokenizer, self).encode(part) for part in text.split(self.tag)]
        return [token for part in parts for token in (TAG, *part)][1:]


@pytest.fixture
def tokenizer() -> TaggedTokenizer:
    return TaggedTokenizer()


@pytest.fixture
def layout(tokenizer: TaggedTokenizer) -> ProcessRewardFormat:
    return ProcessRewardFormat(tokenizer, "prm")


def test_the_prompt(layout: ProcessRewardFormat, tokenizer: TaggedTokenizer) -> None:
    found = layout.prompt("1 + 2?", ("add", "three"))
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": "1 + 2?"},
    ]
    start = tokenizer.encode_chat(messages)
    expected = [*start, *b"add", TAG, *b"three", TAG]
    assert list(found.token_ids) == expected
    assert found.positions == (len(start) + 3, len(start) + 9)


def test_positions_are_those_of_the_tags(layout: ProcessRewardFormat) -> None:
    found = layout.prompt("p", ("a", "bb", "ccc"))
    assert [i for i, token in enumerate(found.token_ids) if token == TAG] == list(found.positions)
    assert found.positions[-1] == len(found.token_ids) - 1


def test_a_longer_path_extends_the_prompt(layout: ProcessRewardFormat) -> None:
    short, long = layout.prompt("p", ("a", "b")), layout.prompt("p", ("a", "b", "c"))
    assert long.token_ids[: len(short.token_ids)] == short.token_ids
    assert long.positions[:2] == short.positions


def test_a_tag_in_a_problem_or_a_step_is_text(layout: ProcessRewardFormat) -> None:
    found = layout.prompt(f"p{STEP_TAG}", (f"a{STEP_TAG}b",))
    assert bytes(found.token_ids[-len(STEP_TAG) - 3 : -1]) == f"a{STEP_TAG}b".encode()
    assert found.token_ids.count(TAG) == 1


def test_a_tag_that_is_an_ordinary_token_is_dropped() -> None:
    layout = ProcessRewardFormat(PieceTokenizer(STEP_TAG), "prm")
    tagged = layout.prompt(f"p{STEP_TAG}q", (f"a{STEP_TAG}b",))
    assert tagged == layout.prompt("pq", ("ab",))
    assert tagged.token_ids.count(TAG) == 1


def test_nothing_is_tokenised_twice(
    layout: ProcessRewardFormat, tokenizer: TaggedTokenizer
) -> None:
    layout.prompt("p", ("a", "b"))
    before = tokenizer.num_encoded
    layout.prompt("p", ("a", "b"))
    assert tokenizer.num_encoded == before


def test_a_tokenizer_without_tag_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=f"'prm'.*no token {STEP_TAG}"):
        ProcessRewardFormat(UntaggedTokenizer(), "prm")


BOS = 998


class FamilyTokenizer(PieceTokenizer):
    """Bytes, with Math-Shepherd's tag and a token that begins texts."""

    bos_token_id = BOS

    def __init__(self) -> None:
        super().__init__(SHEPHERD_TAG)


def test_the_value_head_reads_lines() -> None:
    found = ValueHeadFormat(FamilyTokenizer(), "prm").prompt("p", ("a", "b"))
    assert found.token_ids == (BOS, *b"p\na\nb\n")
    assert found.positions == (4, 6)


def test_shepherd_reads_numbered_steps() -> None:
    tokenizer = FamilyTokenizer()
    layout = ShepherdFormat(tokenizer, "prm")
    found = layout.prompt("p", ("a", f"Step 2: b {SHEPHERD_TAG}"))
    text = f"p Step 1: a {SHEPHERD_TAG}\nStep 2: b {SHEPHERD_TAG}"
    assert found.token_ids == (BOS, *tokenizer.encode(text))
    assert [found.token_ids[i] for i in found.positions] == [TAG, TAG]
    assert layout.choices == (ord("+"), ord("-"))
    with pytest.raises(ConfigurationError, match=f"has no token {SHEPHERD_TAG}"):
        ShepherdFormat(TaggedTokenizer(), "prm")


@pytest.mark.parametrize("stray", [SHEPHERD_TAG, f"{SHEPHERD_TAG}но", f"ру{SHEPHERD_TAG} +"])
def test_shepherd_reads_its_own_tags_only(stray: str) -> None:
    layout = ShepherdFormat(FamilyTokenizer(), "prm")
    steps = (f"a {stray}", f"{stray} b {stray}", stray)
    found = layout.prompt(f"p {stray} q", steps)
    places = [place for place, token in enumerate(found.token_ids) if token == TAG]
    assert places == list(found.positions)
    assert len(places) == len(steps)
    short = layout.prompt(f"p {stray} q", steps[:2])
    assert found.token_ids[: len(short.token_ids)] == short.token_ids


def test_a_conversation_is_replied_to_with_plus() -> None:
    tokenizer = FamilyTokenizer()
    found = ConversationFormat(tokenizer, "prm").prompt("p", ("a", "b"))
    messages = [("user", "p a"), ("assistant", "+"), ("user", "b")]
    spoken = [{"role": role, "content": content} for role, content in messages]
    assert found.token_ids == tuple(tokenizer.encode_chat(spoken))
    assert found.positions == (len(tokenizer.encode_chat(spoken[:1])) - 1, len(found.token_ids) - 1)


def test_a_template_that_rewrites_turns_is_refused() -> None:
    class Counting(FamilyTokenizer):
        def encode_chat(self, messages: Any, tools: Any = None) -> list[int]:
            return [len(messages), *super().encode_chat(messages, tools)]

    with pytest.raises(ConfigurationError, match="steps cannot be scored one by one"):
        ConversationFormat(Counting(), "prm")


@pytest.mark.parametrize("kind", [JudgeFormat, OrmFormat])
def test_formats_that_do_not_cover_steps_read_the_last_position(kind: Any) -> None:
    tokenizer = FamilyTokenizer()
    layout: VerifierFormat = kind(tokenizer, "model")
    found = layout.prompt("p", ("a", "b"))
    asked = [{"role": "user", "content": JUDGE_PROMPT.format(problem="p", steps="a\n\nb")}]
    said = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a\n\nb"}]
    is_judge = kind is JudgeFormat
    expected = tokenizer.encode_chat(asked) if is_judge else tokenizer.encode_conversation(said)
    assert found.token_ids == tuple(expected)
    assert found.positions == (len(expected) - 1,)
    assert not layout.covers_steps
    assert layout.choices == ((ord("Y"), ord("N")) if is_judge else None)


def config(architecture: str, **others: object) -> dict[str, object]:
    return {"architectures": [architecture], **others}


@pytest.mark.parametrize(
    ("name", "described", "chosen", "family"),
    [
        ("x", config("Qwen2ForProcessRewardModel"), "auto", "qwen-prm"),
        ("x", config("Qwen2ForPrmModel"), "auto", "skywork-prm"),
        ("x", config("LlamaForSequenceClassification", num_labels=1), "auto", "outcome"),
        ("x", config("MistralForSequenceClassification", id2label={"0": "r"}), "auto", "outcome"),
        ("peiyi9979/math-shepherd-mistral-7b-prm", config("MistralForCausalLM"), "auto", None),
        ("RLHFlow/Llama3.1-8B-PRM-Deepseek-Data", config("LlamaForCausalLM"), "auto", "rlhflow"),
        ("x", config("LlamaForCausalLM", _name_or_path="RLHFlow/x"), "auto", "rlhflow"),
        ("x", config("LlamaForCausalLM"), "math-shepherd", None),
        ("x", config("LlamaForCausalLM"), "judge", "judge"),
    ],
)
def test_families_are_found(name: str, described: Any, chosen: str, family: str | None) -> None:
    assert find_family(name, described, chosen) is FAMILIES[family or "math-shepherd"]


@pytest.mark.parametrize(
    ("described", "chosen", "message"),
    [
        ({}, "auto", "architecture none cannot be read as a verifier; supported"),
        (config("BertModel"), "auto", "architecture BertModel cannot be read as a verifier"),
        (config("LlamaForCausalLM"), "auto", "say verifier_format='math-shepherd'"),
        (config("LlamaForCausalLM"), "qwen-prm", "cannot be read as verifier_format='qwen-prm'"),
        (config("LlamaForSequenceClassification"), "auto", "tells 2 labels apart"),
        (config("LlamaForSequenceClassification", num_labels=5), "outcome", "tells 5 labels"),
    ],
)
def test_what_is_no_verifier_is_refused(described: Any, chosen: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"verifier='x'.*{message}"):
        find_family("x", described, chosen)


def test_vllm_is_told_of_the_model_it_lacks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["entry-points"]["vllm.general_plugins"]["fasttts"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
