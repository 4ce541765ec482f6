"""How steps are laid out for each family of verifiers, and how a model's family is found."""

import importlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fasttts import FastTTS
from fasttts.backends.fake import FakeTokenizer
from fasttts.backends.vllm import loader
from fasttts.config import EngineConfig
from fasttts.errors import CapacityError, ConfigurationError, ContractError
from fasttts.interfaces import VerificationRequest
from fasttts.verifiers.critiques import GenPrmFormat, ThinkPrmFormat
from fasttts.verifiers.generative import SHEPHERD_TAG, ConversationFormat, ShepherdFormat
from fasttts.verifiers.judge_formats import JUDGE_PROMPT, GradeFormat, JudgeFormat, PanelFormat
from fasttts.verifiers.orm import OrmFormat, QwenRewardFormat
from fasttts.verifiers.prompt_formats import (
    STEP_TAG,
    SYSTEM_PROMPT,
    ProcessRewardFormat,
    ReasonFluxFormat,
    ValueHeadFormat,
    VerifierFormat,
)
from fasttts.verifiers.registry import FAMILIES, find_family, judge_family
from fasttts.verifiers.step_reader import Place, Reading, StepReader
from fasttts.verifiers.thought import Thought
from fasttts.verifiers.token_classification import TokenClassFormat

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

    def encode_reply(self, messages: Sequence[Mapping[str, Any]], opening: str) -> list[int]:
        return [*self.encode_chat(messages), *self.encode(opening)]


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


class Thinking(FamilyTokenizer):
    """Its template opens a thought, which a switch may turn off."""

    has_switch = True
    opening = "<think>\n"

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[int]:
        if chat_template_kwargs and not self.has_switch:
            raise ConfigurationError("no such switch")
        is_off = chat_template_kwargs == {"enable_thinking": False}
        return super().encode_chat(messages) + ([] if is_off else self.encode(self.opening))


@pytest.mark.parametrize("kind", [JudgeFormat, PanelFormat, GradeFormat])
@pytest.mark.parametrize(
    ("has_switch", "opening", "end"),
    [
        (True, "<think>\n", b"assistant: "),
        (False, "<think>\n", b"assistant: <think>\n\n</think>\n\n"),
        (False, "[THINK]", b"assistant: [THINK]\n[/THINK]\n\n"),
        (False, "", b"assistant: "),
    ],
)
def test_judges_are_not_asked_inside_a_thought(
    kind: Any, has_switch: bool, opening: str, end: bytes
) -> None:
    tokenizer = Thinking()
    tokenizer.has_switch, tokenizer.opening = has_switch, opening
    layout: VerifierFormat = kind(tokenizer, "model")
    for variant in layout.variants:
        found = variant.prompt("p", ("a", "b"))
        assert text_of(found.token_ids).endswith(end)
        assert found.positions == (len(found.token_ids) - 1,)


def text_of(token_ids: Sequence[int]) -> bytes:
    """What the tokens read as, without tags."""
    return FakeTokenizer().decode([token for token in token_ids if token < TAG - 9]).encode()


def spoken(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def test_reasonflux_has_no_system_message_of_ours(tokenizer: TaggedTokenizer) -> None:
    found = ReasonFluxFormat(tokenizer, "prm").prompt("p", ("a", "b"))
    start = tokenizer.encode_chat(spoken(("user", "p")))
    assert list(found.token_ids) == [*start, *b"a", TAG, *b"b", TAG]


def test_the_outcome_model_of_qwen_has_its_system_message() -> None:
    tokenizer = FamilyTokenizer()
    found = QwenRewardFormat(tokenizer, "rm").prompt("p", ("a", "b"))
    said = spoken(("system", SYSTEM_PROMPT), ("user", "p"), ("assistant", "a\n\nb"))
    assert found.token_ids == tuple(tokenizer.encode_conversation(said))


@pytest.mark.parametrize("separator", ["\n", "\n\n", " <s>"])
def test_token_classes_are_read_at_the_separator_s_last_token(separator: str) -> None:
    tokenizer = FamilyTokenizer()
    layout = TokenClassFormat(tokenizer, "prm", step_separator=separator)
    found = layout.prompt("p", ("a", "bb"))
    own = tokenizer.encode(separator)
    assert found.token_ids == (BOS, *b"pa", *own, *b"bb", *own)
    assert found.positions == (2 + len(own), 4 + 2 * len(own))
    assert not layout.is_inverted


@pytest.mark.parametrize(
    ("labels", "given", "is_inverted"),
    [
        (None, {}, False),
        ({"0": "LABEL_0", "1": "LABEL_1"}, {}, False),
        ({"0": "error", "1": "correct"}, {}, False),
        ({"0": "Correct", "1": "incorrect"}, {}, True),
        ({0: "+", 1: "-"}, {}, True),
        ({"0": "good", "1": "right"}, {}, False),
        ({"0": "correct", "1": "error"}, {"good_label": 1}, False),
        (None, {"good_label": 0}, True),
    ],
)
def test_the_class_of_a_right_step(labels: Any, given: Any, is_inverted: bool) -> None:
    described = config("Qwen2ForTokenClassification", id2label=labels)
    family = find_family("x", described)
    layout = family.prompt_format(FamilyTokenizer(), "x", config=described, given=given)
    assert layout.is_inverted is is_inverted


def test_genprm_opens_the_analysis_of_the_newest_step() -> None:
    tokenizer = FamilyTokenizer()
    layout = GenPrmFormat(tokenizer, "prm", max_thought_tokens=5)
    found = text_of(layout.prompt("p", ("a", "b", "c")).token_ids).decode()
    assert found.endswith("<analyze>\nLet's analyze the Paragraph 3 step by step: ")
    assert "Question: p\n\na" in found
    assert found.count("\\boxed{Yes}$\n</output>") == 2
    assert layout.thought is not None
    closed = text_of(layout.thought.closed([*b"so</analyze>\n<output>"])).decode()
    assert closed == "so</analyze>\n<output>\n**Judgement**: $\\boxed{"
    assert layout.num_reserved_tokens == 5 + len(closed) - len("so")


def test_without_thoughts_the_verdict_is_read_at_once() -> None:
    tokenizer = FamilyTokenizer()
    direct = GenPrmFormat(tokenizer, "prm", max_thought_tokens=0)
    assert text_of(direct.prompt("p", ("a",)).token_ids).endswith(b"$\\boxed{")
    at_once = ThinkPrmFormat(tokenizer, "prm", max_thought_tokens=0)
    assert text_of(at_once.prompt("p", ("a",)).token_ids).endswith(
        b"Let's verify step by step:</think>\nIs the solution correct?"
    )
    assert direct.thought is at_once.thought is None


def test_thinkprm_numbers_the_steps() -> None:
    tokenizer = FamilyTokenizer()
    layout = ThinkPrmFormat(tokenizer, "prm")
    found = text_of(layout.prompt("p{x}", ("a", "Step 7: b {steps}")).token_ids).decode()
    assert "[Math Problem]\n\np{x}\n\n[Solution]\n\nStep 1: a\nStep 2: b {steps}\n\n" in found
    assert found.endswith("\nLet's verify step by step:")


STOP_ID = 997


@pytest.mark.parametrize(
    ("written", "is_over", "kept"),
    [
        (b"so far", False, b"so far"),
        (b"so</end>", True, b"so"),
        (b"so</end> and on", True, b"so"),
        (b"</end>", True, b""),
        ([*b"so", STOP_ID], True, b"so"),
        ([*b"so", 0, *b"x"], True, b"so"),
        ([*"ü".encode()][:1], False, [*"ü".encode()][:1]),
    ],
)
def test_a_thought_ends_once(written: Any, is_over: bool, kept: Any) -> None:
    class Ending(FakeTokenizer):
        eos_token_ids = frozenset({0})

    thought = Thought(Ending(), max_tokens=9, stop="</end>", stop_id=STOP_ID, closing_ids=[1, 2, 3])
    assert thought.is_over(list(written)) is is_over
    assert thought.closed(list(written)) == [*kept, 1, 2, 3]
    assert thought.num_tokens == 12


def test_a_panel_asks_three_questions_of_which_one_is_for_mistakes() -> None:
    layout = PanelFormat(FamilyTokenizer(), "judge")
    prompts = {one.prompt("p", ("a", "b")).token_ids for one in layout.variants}
    assert len(prompts) == 3
    assert sorted(one.is_inverted for one in layout.variants) == [False, False, True]
    assert {one.choices for one in layout.variants} == {layout.choices}
    assert all(b"a\n\nb" in text_of(prompt) for prompt in prompts)


def test_grades_are_five_letters() -> None:
    assert GradeFormat(FamilyTokenizer(), "judge").choices == tuple(b"ABCDE")

    class Spelled(FamilyTokenizer):
        def encode(self, text: str) -> list[int]:
            return super().encode(f"the letter {text}")

    with pytest.raises(ConfigurationError, match="A and B and C and D and E begin alike"):
        GradeFormat(Spelled(), "judge")


def read_with(
    layout: VerifierFormat, scores: Mapping[bytes, float], max_prompt_tokens: int = 9999
) -> StepReader:
    """A reader; its model gives the score of the longest text that a prompt contains."""

    def read(prompts: Mapping[Place, Sequence[int]]) -> dict[Place, Reading]:
        texts = {place: text_of(token_ids) for place, token_ids in prompts.items()}
        return {
            place: Reading(
                len(prompts[place]),
                0,
                [max((len(t), s) for t, s in scores.items() if t in text)[1]],
            )
            for place, text in texts.items()
        }

    reader = StepReader(name="m", prompt_format=layout, max_prompt_tokens=max_prompt_tokens)
    return lambda *requests: reader.score(requests, read)  # type: ignore[return-value]


PANEL = {b"Is everything": 0.9, b"a mistake": 0.2, b"Would an expert": 0.4}


def test_a_panel_s_score_is_the_mean_with_the_question_for_mistakes_turned() -> None:
    score: Any = read_with(PanelFormat(FamilyTokenizer(), "judge"), PANEL)
    steps = ("a", "b", "c")
    (found,) = score(VerificationRequest(problem="p", steps=steps, num_scored=1))
    assert found.scores == (pytest.approx((0.9 + 0.8 + 0.4) / 3),) * 2
    first, second = score(
        VerificationRequest(problem="p", steps=steps[:1]),
        VerificationRequest(problem="q", steps=steps, num_scored=3),
    )
    assert (len(first.scores), len(second.scores)) == (1, 0)
    assert first.num_computed_tokens > 0 == second.num_computed_tokens


@pytest.mark.parametrize("bad", [1.5, -0.1, float("inf")])
def test_what_is_no_probability_breaks_the_contract(bad: float) -> None:
    score: Any = read_with(PanelFormat(FamilyTokenizer(), "judge"), {**PANEL, b"a mistake": bad})
    with pytest.raises(ContractError, match="for step 0 of request 0"):
        score(VerificationRequest(problem="p", steps=("a",)))


def test_not_a_number_counts_as_0_for_the_step_it_was_given_for() -> None:
    scores = {**PANEL, b"worse" * 9: float("nan")}
    score: Any = read_with(PanelFormat(FamilyTokenizer(), "judge"), scores)
    (found,) = score(VerificationRequest(problem="p", steps=("a", "b: " + "worse" * 9)))
    assert found.is_nan == (False, True)
    assert found.scores[0] > 0 == found.scores[1]


def test_thoughts_take_room_in_the_context() -> None:
    layout = ThinkPrmFormat(FamilyTokenizer(), "prm", max_thought_tokens=100)
    length = len(layout.prompt("p", ("a",)).token_ids)
    room = length + layout.num_reserved_tokens
    request = VerificationRequest(problem="p", steps=("a",))
    enough: Any = read_with(layout, {b"": 0.5}, room)
    assert enough(request)[0].scores == (0.5,)
    short: Any = read_with(layout, {b"": 0.5}, room - 1)
    with pytest.raises(CapacityError, match=f"where its context holds {length - 1}"):
        short(request)
    with pytest.raises(ConfigurationError, match=r"a thought takes up to \d+ tokens of a context"):
        read_with(layout, {b"": 0.5}, layout.num_reserved_tokens)


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
        ("x", config("LlamaForCausalLM"), "judge-panel", "judge-panel"),
        ("Gen-Verse/ReasonFlux-PRM-7B", config("Qwen2ForProcessRewardModel"), "auto", "reasonflux"),
        ("x", config("Qwen2ForRewardModel"), "auto", "qwen-rm"),
        ("x", config("Qwen2ForTokenClassification"), "auto", "trl"),
        ("x", config("LlamaForTokenClassification", num_labels=2), "auto", "trl"),
        ("GenPRM/GenPRM-7B", config("Qwen2ForCausalLM"), "auto", "genprm"),
        ("launch/ThinkPRM-1.5B", config("Qwen2ForCausalLM"), "auto", "thinkprm"),
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
        (config("Qwen2ForTokenClassification", num_labels=9), "auto", "tells 9 labels apart"),
        (config("BertForTokenClassification"), "auto", "cannot be read as a verifier"),
        (config("ModernBertForTokenClassification"), "trl", "cannot be read as verifier_format"),
    ],
)
def test_what_is_no_verifier_is_refused(described: Any, chosen: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"verifier='x'.*{message}"):
        find_family("x", described, chosen)


@pytest.mark.parametrize(
    ("family", "given", "message"),
    [
        ("trl", {"separator": "x"}, "is no setting of .*'trl': it has step_separator, good_label"),
        ("trl", {"step_separator": ""}, r"\['step_separator'\]='': give a text"),
        ("trl", {"good_label": True}, "=True: give 0 or 1"),
        ("genprm", {"max_thought_tokens": -1}, "=-1: give a number of tokens, or 0"),
        ("thinkprm", {"max_thought_tokens": "9"}, "='9': give a number"),
        ("judge", {"max_thought_tokens": 9}, "is no setting of .*'judge': it has none"),
    ],
)
def test_settings_are_checked(family: str, given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FAMILIES[family].check_settings(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"verifier": "judge", "verifier_format": "judge-panel"},
            "of .*'judge-panel': it has none",
        ),
        ({"verifier": "demo"}, "of .*'qwen-prm': it has none"),
        ({"verifier": "org/model", "verifier_format": "trl"}, "it has step_separator, good_label"),
        ({"generator": "org/model"}, "no such model is loaded"),
        ({"verifier": "perplexity"}, "no such model is loaded"),
        ({"verifier": lambda problem, steps: 1.0, "verifier_format": "trl"}, "no such model"),
    ],
)
def test_settings_are_checked_before_anything_is_loaded(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FastTTS.load(**options, verifier_format_args={"max_thought_tokens": 9})


NO_MODELS = ("perplexity", ["perplexity", "entropy"], lambda problem, steps: 1.0, None)


@pytest.mark.parametrize(
    ("verifier", "option", "value"),
    [
        *[(one, "verifier_format", "judge") for one in NO_MODELS],
        *[(one, "verifier_format", "trl") for one in NO_MODELS],
        *[(one, "verifier_process", True) for one in (*NO_MODELS, "judge", ["judge", "entropy"])],
        *[(one, "verifier_args", {"seed": 4}) for one in (*NO_MODELS, "judge")],
    ],
)
def test_options_of_a_model_are_refused_where_none_is_loaded(
    verifier: Any, option: str, value: Any
) -> None:
    message = f"{option} (FASTTTS_{option.upper()})={value!r} is of a verifier's model, and no such"
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        FastTTS.load("org/model", verifier=verifier, **{option: value})


@pytest.mark.parametrize("verifier", ["judge", ["judge", "perplexity"]])
def test_a_judge_is_refused_the_format_of_a_model(verifier: Any) -> None:
    message = r"='trl' asks the judge nothing.*'judge', 'judge-panel', 'judge-grades', or leave"
    with pytest.raises(ConfigurationError, match=message):
        FastTTS.load("org/model", verifier=verifier, verifier_format="trl")


def test_a_model_s_gpu_is_refused_where_none_is_loaded() -> None:
    config = EngineConfig(generator="org/model", verifier="org/verifier", verifier_device=1)
    with pytest.raises(ConfigurationError, match=r"verifier_device .*=1 is of a verifier's model"):
        FastTTS.from_config(config, verifier="perplexity")


@pytest.mark.parametrize("verifier", ["judge", ["judge", "perplexity"]])
@pytest.mark.parametrize("chosen", ["auto", "judge", "judge-panel", "judge-grades"])
def test_a_judge_s_formats_reach_it(
    verifier: Any, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise ConfigurationError("all options were checked")

    monkeypatch.setattr(loader, "check_vllm_installed", stop)
    with pytest.raises(ConfigurationError, match="all options were checked"):
        FastTTS.load("org/model", verifier=verifier, verifier_format=chosen)


def test_only_a_judge_s_format_chooses_a_judge_s_question() -> None:
    assert judge_family("judge-grades").name == "judge-grades"
    assert {judge_family(chosen).name for chosen in ("auto", "judge", "qwen-prm")} == {"judge"}


def test_vllm_is_told_of_the_model_it_lacks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["entry-points"]["vllm.general_plugins"]["fasttts"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
