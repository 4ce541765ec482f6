"""Where each rule finds an answer, and that no text holds it up."""

import pytest

from fasttts.answers.canonical_json import MalformedAnswer, canonical_json
from fasttts.answers.extraction import (
    EXTRACTORS,
    Answer,
    as_reader,
    make_extractor,
    reads_thoughts,
    resolve_extractor,
)
from fasttts.answers.thoughts import opens_thoughts, without_thoughts
from fasttts.code import CodeTests, extract_program
from fasttts.config import search_config
from fasttts.errors import ConfigurationError
from tests.unit.answer_cases import EXTRACTIONS
from tests.unit.answer_kinds import EXTRACTION_KINDS

RULES = [*EXTRACTORS, "json:answer"]


@pytest.mark.parametrize(("rule", "text", "answer"), EXTRACTIONS)
def test_extraction(rule: str, text: str, answer: str | None) -> None:
    assert make_extractor(rule)(text) == answer


@pytest.mark.parametrize(
    ("rule", "text", "answer"), [row for rows in EXTRACTION_KINDS.values() for row in rows]
)
def test_extraction_by_kind(rule: str, text: str, answer: str | None) -> None:
    assert make_extractor(rule)(text) == answer


OPENINGS = ["<think>", "<thinking>", "<reasoning>", "<|thinking|>", "[THINK]", "◁think▷"]
ANSWERED = """The answer is 5. \\boxed{5} #### 5
{"answer": 5}
```
5
```
(B)"""


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("opening", OPENINGS)
def test_no_rule_reads_thoughts(rule: str, opening: str) -> None:
    closing = opening.replace("◁", "◁/") if "◁" in opening else opening.replace("[", "[/")
    closing = closing.replace("<|", "<|/").replace("<t", "</t").replace("<r", "</r")
    find = make_extractor(rule)
    assert find(ANSWERED) is not None
    for thought in (opening + ANSWERED, opening + ANSWERED + closing, ANSWERED + closing):
        assert find(thought) is None
        assert find(f"{thought}{'' if closing in thought else closing}{ANSWERED}") == find(ANSWERED)


MARKERS = [
    ("", "</think>"),
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("<scratchpad>", "</scratchpad>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ("analysisWell", "assistantfinal"),
]
BOXED = r"The answer is \boxed{5}."
BLOCK = "```python\ndef f(x):\n    return x\n```"


@pytest.mark.parametrize("opening_closing", MARKERS)
@pytest.mark.parametrize("fence", ["", "```", "``` ", "```.", "  ```ok. ", "```python "])
def test_a_line_of_a_fence_may_end_thoughts(opening_closing: tuple[str, str], fence: str) -> None:
    opening, closing = opening_closing
    thought = f"{opening}a\n```\nreturn 2\n{fence}{closing}"
    assert without_thoughts(f"{thought}\n\n{BOXED}") == BOXED
    assert make_extractor("auto")(f"{thought}\n\n{BOXED}") == "5"
    if opening or fence:  # else the marker may be one in a block of code
        assert without_thoughts(f"{thought}\n\n{BLOCK}\n{BOXED}") == f"{BLOCK}\n{BOXED}"
        assert make_extractor("code")(f"{thought}\n\n{BLOCK}") == BLOCK[10:-4]


@pytest.mark.parametrize("fence", ["```", "```python", "~~~", "```ok. "])
def test_an_unclosed_block_of_a_thought_ends_with_it(fence: str) -> None:
    assert without_thoughts(f"a\n{fence}</think>\n{BLOCK}") == BLOCK
    assert without_thoughts(f"<think>\n{fence}</think>\n{BLOCK}") == BLOCK
    thought = f"a\n{fence}\nx = 2 </think>\n{BLOCK}"
    assert without_thoughts("<think>" + thought) == BLOCK
    assert without_thoughts(thought, is_open=True) == BLOCK
    nested = thought.replace("a", "<reasoning>b</reasoning>", 1)
    assert without_thoughts("<think>" + nested) == BLOCK


@pytest.mark.parametrize(
    "text",
    [
        "```\nx </think> y\n```\nz",
        "```</think>``` ends thoughts.\n```\nx </think> y\n```",
        "```python title='</think>'\nx </think> y\n```",
        "```<think>\nx </think> y\n```",
        "`` ` `` and\n```\n```x``` </think>\n```",
    ],
)
def test_markers_within_blocks_and_lines_of_code_are_mentioned(text: str) -> None:
    assert without_thoughts(text) == text


@pytest.mark.parametrize("opening", ["", "<think>\n"])
@pytest.mark.parametrize("fence", ["```ok.", "```", "``` so: ", "```python"])
def test_a_program_of_thoughts_is_none(opening: str, fence: str) -> None:
    tests = CodeTests(tests=("assert f(1) == 1",), names=("f",))
    thought = f"{opening}```python\ndef f(x): return 2\n{fence}</think>"
    assert extract_program(f"{thought}\n\n{BLOCK}", tests) == BLOCK[10:-3]
    assert extract_program(f"{thought}\n\nThere is none.", tests) is None


def test_thoughts_may_begin_behind_a_block() -> None:
    assert without_thoughts(f"{BLOCK}<think>Is it 6?</think>{BOXED}") == f"{BLOCK}\n{BOXED}"


def test_a_users_function_is_given_what_is_said() -> None:
    text = "<think>a</think>b"
    assert as_reader(lambda said: said)(text) == "b"
    assert as_reader(reads_thoughts(lambda raw: raw))(text) == text
    assert resolve_extractor(lambda said: said, "auto").read(text) == Answer("b")
    assert as_reader(lambda said: None)(text) is None


def test_thoughts_may_have_been_opened_in_the_prompt() -> None:
    assert opens_thoughts("user: 1+1?\nassistant: <think>\n")
    assert not opens_thoughts("<think>\n\n</think>\n\n")
    assert not opens_thoughts("What does <think> mean?")
    assert not opens_thoughts("")
    reader = resolve_extractor(None, "auto", is_open=True)
    assert reader("So the answer is 5.") is None
    assert reader("So the answer is 5.</think>It is 6.") == "6"
    assert resolve_extractor(None, "auto")("So the answer is 5.") == "5"


def test_a_text_without_thoughts_stays_as_it_is() -> None:
    for text in ("", " a\n", "`<think>`", 'x.split("</think>")', "1 < 2 > 1", ANSWERED):
        assert without_thoughts(text) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 5.", Answer("5")),
        (r"\boxed{5}", Answer("5")),
        ("I have 5", Answer("5", is_announced=False)),
        ("<think>5</think>none", None),
    ],
)
def test_auto_says_whether_the_answer_is_announced(text: str, answer: Answer | None) -> None:
    assert make_extractor("auto").read(text) == answer


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": -float("inf")}]])
def test_numbers_that_json_lacks_are_malformed(value: object) -> None:
    with pytest.raises(MalformedAnswer, match="no number"):
        canonical_json(value)


def test_every_rule_has_cases() -> None:
    assert {rule for rule, _, _ in EXTRACTIONS} >= set(RULES)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "part",
    [
        r"\boxed{",
        r"\boxed{1",
        "{",
        '{"answer":',
        "answer is: **\n",
        "The answer is ",
        "```\n",
        "1,",
        "9",
        "- ",
        "(A",
        "option ",
        "$",
        "####",
        " ",
        "\n",
        "<think>",
        "</think>",
        "```</think>",
        "```x <",
        "```<|channel|>final x\n",
        "```</think>```\n",
        "$5 ",
        "$x$ ",
        "<answer>",
        "no, wait, ",
        "(A) or (B) ",
        r"\frac{",
        "B\n",
    ],
)
def test_a_model_that_repeats_itself_for_pages(rule: str, part: str) -> None:
    answer = make_extractor(rule)(part * (200_000 // len(part)))
    assert answer is None or isinstance(answer, str)


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_options(rule: str) -> None:
    assert search_config(answer=rule).answer == rule


@pytest.mark.parametrize("rule", ["", "json:", "jso", "box", "boxed ", "last number"])
def test_other_rules_are_refused(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="answer"):
        search_config(answer=rule)
