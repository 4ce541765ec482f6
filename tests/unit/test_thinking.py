"""Thoughts: their budget, their probes, their steps, and the switch that opens them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError, FastTTS, SearchResult
from fasttts.backends.fake import TURN, FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.config import search_config
from fasttts.config.template_switches import unknown_switch
from fasttts.decoding.steps import StepRule, StepScan
from fasttts.decoding.thoughts import MARKERS, THINK, Markers, ThoughtMask, ThoughtReader
from fasttts.decoding.tokenizer import text_behind_control
from fasttts.engine.request import is_thinking
from fasttts.search import Beam, Branch, Dynasor
from fasttts.search.probing import probed_answer
from fasttts.types import Message, TextDelta

THINKING: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
END = "\n</think>"
TOKENIZER = FakeTokenizer()


@pytest.fixture
def engine() -> FastTTS:
    return FastTTS(FakeGenerator(mean_steps=1e6), FakeVerifier())  # its thoughts do not end


def num_tokens(text: str) -> int:
    return len(TOKENIZER.encode(text))


# --- The budget.


@pytest.mark.parametrize("budget", [0, 1, 17, 40])
def test_a_thought_has_as_many_tokens_as_its_budget(engine: FastTTS, budget: int) -> None:
    options: dict[str, Any] = {"search": "none", "temperature": 1.0, "seed": 3, **THINKING}
    free = engine.search("a", max_tokens=90, **options)
    assert THINK.end not in free.text
    ended = engine.search("a", max_tokens=90, thinking_token_budget=budget, **options)
    thought, _, answer = ended.text.partition(END)
    assert num_tokens(thought) == budget
    assert free.text.startswith(thought)
    assert answer
    assert ended.usage.returned_tokens == 90
    assert ended.usage.generated_tokens == ended.usage.required_tokens == 90
    assert engine.usage.generated_tokens == 180


@pytest.mark.parametrize("search", ["none", "best_of_n", "beam_search", "dvts", "lookahead"])
def test_every_candidate_of_every_search_has_the_budget(engine: FastTTS, search: str) -> None:
    result = engine.search(
        "a", search=search, n=4, max_tokens=60, thinking_token_budget=20, max_depth=4, **THINKING
    )
    for candidate in result.candidates:
        thought, end, _ = candidate.text.partition(END)
        assert num_tokens(thought) == 20 or (not end and num_tokens(thought) < 20)


def test_an_answer_limit_within_the_end_of_a_thought_holds(engine: FastTTS) -> None:
    result = engine.search("a", search="none", max_tokens=13, thinking_token_budget=10, **THINKING)
    assert num_tokens(result.text) == 13
    assert result.text.endswith(END[:3])
    assert result.finish_reason == "length"


def scripted(answer: str) -> FastTTS:
    return FastTTS(FakeGenerator(lambda prompt: answer))


def test_a_thought_that_the_model_opens_counts_behind_its_marker() -> None:
    with scripted("<think>0123456789</think>42") as engine:
        whole = engine.search("a", search="none", max_tokens=60)
        assert whole.text == "<think>0123456789</think>42"
        assert engine.search("a", search="none", thinking_token_budget=18).text == whole.text
        cut = engine.search("a", search="none", thinking_token_budget=4, max_tokens=60)
        assert cut.text.startswith(f"<think>0123{END}")


@pytest.mark.parametrize("answer", ["an answer of one step", "Say <think> in the middle of it"])
def test_an_answer_without_a_thought_has_no_budget(answer: str) -> None:
    with scripted(answer) as engine:
        assert engine.search("a", search="none", thinking_token_budget=2).text == answer


def test_a_thought_that_ended_in_time_is_left_alone() -> None:
    with scripted("<think>0123</think>and a long answer behind it") as engine:
        whole = engine.search("a", search="none", thinking_token_budget=12)
        assert whole.text == "<think>0123</think>and a long answer behind it"


@pytest.mark.parametrize("options", [{}, {"num_logprobs": 2}, {"stop": ["q", "zz"]}])
@pytest.mark.parametrize("budget", [0, 9])
def test_a_stream_tells_what_was_not_sampled(
    engine: FastTTS, options: dict[str, Any], budget: int
) -> None:
    asked = {"search": "none", "max_tokens": 50, "thinking_token_budget": budget, **THINKING}
    events = list(engine.stream("a", **asked, **options))
    told = "".join(event.text for event in events if isinstance(event, TextDelta))
    result = engine.search("a", **asked, **options)
    assert told == result.text
    if "num_logprobs" in options:
        assert "".join(token.text for token in result.logprobs) == result.text
        assert [token.logprob for token in result.logprobs[budget:][: len(END)]] == [0.0] * len(END)


@pytest.mark.parametrize("budget", [0, 5])
def test_structured_outputs_follow_a_thought_that_was_ended(engine: FastTTS, budget: int) -> None:
    result = engine.search(
        "a",
        search="none",
        max_tokens=80,
        thinking_token_budget=budget,
        structured_outputs={"choice": ["yes", "no"]},
        **THINKING,
    )
    thought, _, answer = result.text.partition(END)
    assert num_tokens(thought) == budget
    assert answer.strip() in ("yes", "no")


def test_probes_leave_structured_outputs_alone(engine: FastTTS) -> None:
    result = probed(engine, structured_outputs={"choice": ["yes", "no"]}, probe_window=2, n=4)
    assert result.candidates
    for candidate in result.candidates:
        if candidate.finish_reason == "stop":
            assert candidate.text.partition("</think>")[2].strip() in ("yes", "no")


@pytest.mark.parametrize("markers", [Markers("<thinking>", "</thinking>")])
def test_a_grammar_that_knows_no_such_thought_is_followed(markers: Markers) -> None:
    """The answer is of the grammar from its beginning on, and has no thought to end."""
    with FastTTS(FakeGenerator()) as engine:
        prompt = engine.render("a")
        opened = (*prompt.token_ids, *TOKENIZER.encode(markers.begin))
        for search in ("none", "dynasor"):
            result = engine.search(
                replace(prompt, token_ids=opened),
                search=search,
                thinking_token_budget=2,
                structured_outputs={"choice": ["certainly", "never"]},
                probe_interval=3,
            )
            assert result.text in ("certainly", "never")


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5])
def test_no_character_is_torn(budget: int) -> None:
    """Its tokens are bytes; the end waits for the last one, for three tokens at most."""
    with scripted("<think>é😀aé</think>42") as engine:
        result = engine.search("a", search="none", thinking_token_budget=budget, max_tokens=40)
        thought = {1: "é", 2: "é", 3: "é😀", 4: "é😀", 5: "é😀"}[budget]
        assert result.text.startswith(f"<think>{thought}{END}")


def test_signals_read_no_tokens_that_were_not_sampled() -> None:
    with FastTTS(FakeGenerator(mean_steps=1e6), "mean_confidence") as engine:
        result = engine.search(
            "a", search="best_of_n", n=2, max_tokens=40, thinking_token_budget=9, **THINKING
        )
        assert all(0.0 < (step.score or 0.0) < 1.0 for step in result.candidates[0].steps)


# --- Markers.


class SpecialTokenizer(FakeTokenizer):
    """Two markers are special tokens, which decoding leaves out."""

    SPECIAL = ("[THINK]", "[/THINK]")

    def decode(self, token_ids: Sequence[int]) -> str:
        return super().decode([i for i in token_ids if i > 1])

    def token_id(self, text: str) -> int | None:
        return self.SPECIAL.index(text) if text in self.SPECIAL else None


def test_special_tokens_are_markers_too() -> None:
    tokenizer = SpecialTokenizer()
    opened = ThoughtReader(tokenizer, [*tokenizer.encode("user: a "), 0, *tokenizer.encode("\n")])
    markers = Markers("[THINK]", "[/THINK]")
    assert opened.opened == (0, markers)
    assert opened.end_token_ids(markers) == [10, 1]
    assert opened.has_end([97, 1, 98], markers)
    assert not opened.has_end([97, 98], markers)
    closed = ThoughtReader(tokenizer, [*tokenizer.encode("user: a "), 0, 1])
    assert closed.opened is None
    assert closed.find_begin([32, 0, 97]) == (2, markers)
    assert closed.find_begin([97, 0]) is None


@pytest.mark.parametrize("markers", MARKERS)
def test_every_marker_opens_and_ends(markers: Markers) -> None:
    reader = ThoughtReader(TOKENIZER, TOKENIZER.encode(f"user: a assistant: {markers.begin}\n"))
    assert reader.opened == (0, markers)
    assert TOKENIZER.decode(reader.end_token_ids(markers)) == "\n" + markers.end
    itself = ThoughtReader(TOKENIZER, TOKENIZER.encode("assistant: "))
    begin = TOKENIZER.encode(f"\n{markers.begin}so")
    assert itself.find_begin(begin) == (len(begin) - 2, markers)
    assert itself.find_begin(begin[:-3]) is None


# --- Steps.

PIECES = st.lists(
    st.sampled_from(["a", "b", "\n", "\n\n", "```", "<think>", "</think>", "<th", "</"]),
    max_size=16,
).map("".join)


@given(text=PIECES, cuts=st.lists(st.integers(0, 60), max_size=4), is_inside=st.booleans())
def test_a_thought_is_blanked_however_its_text_arrives(
    *, text: str, cuts: list[int], is_inside: bool
) -> None:
    rule = StepRule(skips_thoughts=True, begins_inside=is_inside)
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    mask = ThoughtMask(is_inside=is_inside)
    shown = "".join(mask.push(text[i:j]) for i, j in itertools.pairwise(bounds))
    visible = rule.visible(text)
    assert visible.startswith(shown)
    assert len(visible) == len(text)
    assert all(a in (b, " ") for a, b in zip(visible, text, strict=True))
    middle = bounds[len(bounds) // 2]
    assert rule.visible(text[middle:], text[:middle]) == visible[middle:]
    whole = StepScan(rule)
    whole.push(text)
    pieces = StepScan(rule)
    for i, j in itertools.pairwise(bounds):
        pieces.push(text[i:j])
    assert pieces.ends == whole.ends
    later = StepScan(rule, text[:middle])
    later.push(text[middle:])
    assert all(middle + end in whole.ends for end in later.ends if middle == 0)


class Watched:
    """A function verifier that keeps what it was asked."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, ...]] = []

    def __call__(self, problem: str, steps: Sequence[str]) -> float:
        self.steps.append(tuple(steps))
        return 0.5


THOUGHTFUL = "<think>One.\n\nTwo.</think>\n\nFirst.\n\nSecond."


@pytest.mark.parametrize("search", ["best_of_n", "beam_search"])
def test_steps_of_thoughts_are_scored_or_not(search: str) -> None:
    asked: dict[str, Any] = {"search": search, "n": 2, "beam_width": 2}
    with FastTTS(FakeGenerator(lambda prompt: THOUGHTFUL), (seen := Watched())) as engine:
        scored = engine.search("a", **asked)
        assert [step.text for step in scored.candidates[0].steps][-2:] == ["First.", "Second."]
        assert any(steps[0] == "<think>One." for steps in seen.steps)
        seen.steps.clear()
        unscored = engine.search("a", score_thoughts=False, **asked)
        assert unscored.text == THOUGHTFUL
        assert set(seen.steps) == {("First.",), ("First.", "Second.")}
        assert [step.text for step in unscored.candidates[0].steps] == ["First.", "Second."]


def test_a_thought_that_is_not_scored_is_not_cut() -> None:
    """It is as long as its answer may be, and no longer than its budget."""
    with FastTTS(FakeGenerator(mean_steps=1e6), FakeVerifier()) as engine:
        result = engine.search(
            "a",
            n=4,
            max_step_tokens=8,
            max_tokens=90,
            score_thoughts=False,
            thinking_token_budget=30,
            max_depth=2,
            on_cut="return",
            **THINKING,
        )
        for candidate in result.candidates:
            assert num_tokens(candidate.text.partition(END)[0]) == 30
            assert all("</think>" not in step.text for step in candidate.steps)


@pytest.mark.parametrize(
    "options", [{"thinking": True}, {"step_tokens": 8}, {"aggregation": "model"}]
)
def test_thoughts_left_whole_go_with_no_rule_that_divides_them(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="score_thoughts=False"):
        search_config(score_thoughts=False, **options)


# --- Contents.


class TersePrompts(FakeTokenizer):
    """Its template has control tokens alone behind a message, as Phi's and Mistral's have."""

    def encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[int]:
        turns = [self._turn(str(message["content"])) for message in messages]
        opened = self.encode(THINK.begin) if chat_template_kwargs else []
        return [*itertools.chain(*turns), *self.encode("\n"), TURN, *opened, *self.encode("\n")]


@pytest.mark.parametrize("text", ["How does one close <think>", "What is\n<think>\n", "<think>"])
def test_contents_open_no_thought(text: str) -> None:
    generator = FakeGenerator(mean_steps=1e6)
    generator.tokenizer = TersePrompts()
    with FastTTS(generator, FakeVerifier()) as engine:
        asked: dict[str, Any] = {"search": "none", "max_tokens": 40}
        free = engine.search(text, **asked)
        assert engine.search(text, thinking_token_budget=3, **asked).text == free.text
        assert not is_thinking(engine.render(text), engine.tokenizer)
        assert is_thinking(engine.render(text, **THINKING), engine.tokenizer)
        ended = engine.search(text, thinking_token_budget=3, **asked, **THINKING).text
        assert num_tokens(ended.partition(END)[0]) == 3
        said = engine.search(text, search="best_of_n", n=2, answer="text", max_tokens=40)
        assert said.answer is not None


@pytest.mark.parametrize("tail", [[], [0xC3], [0xF0, 0x9F], [*"é ".encode()]])
def test_text_behind_control_tokens_is_whole(tail: list[int]) -> None:
    begun = [*TOKENIZER.encode("<think>"), TURN, *TOKENIZER.encode("\u00e9a")]
    text = TOKENIZER.decode([*TOKENIZER.encode("\u00e9a"), *tail])
    assert text_behind_control(TOKENIZER, [*begun, *tail]) == text
    assert text_behind_control(TOKENIZER, begun[:7]) == "<think>"
    assert text_behind_control(TOKENIZER, begun[:8]) == text_behind_control(TOKENIZER, []) == ""


# --- Probes.


def probed(engine: FastTTS, **options: Any) -> SearchResult:
    asked = {"search": "dynasor", "n": 3, "probe": "So: ", "probe_tokens": 1, "probe_interval": 6}
    return engine.search("a", max_tokens=70, selection="best", **{**asked, **options}, **THINKING)


def test_a_thought_ends_where_probes_agree(engine: FastTTS) -> None:
    """It is the same thought as without probes, up to there."""
    free = engine.search("a", search="best_of_n", n=3, max_tokens=70, **THINKING)
    thoughts = {candidate.path: candidate.text for candidate in free.candidates}
    lengths = []
    for window in (1, 2):
        result = probed(engine, probe_window=window)
        assert len(result.candidates) == 3
        for candidate in result.candidates:
            thought, end, answer = candidate.text.partition(END)
            assert "So: " not in candidate.text
            assert thoughts[candidate.path[:1]].startswith(thought)
            if end:
                assert num_tokens(thought) % 6 == 0
                assert answer
            lengths.append(num_tokens(thought))
    assert lengths[:3] == [6, 6, 6]
    assert all(later > 6 for later in lengths[3:])


def test_probes_count_as_tokens_of_the_search(engine: FastTTS) -> None:
    result = probed(engine, probe_window=1)
    answers = sum(candidate.num_tokens for candidate in result.candidates)
    assert result.usage.required_tokens == answers + 3 * (6 + 5)  # a stretch that ran on, a probe


def test_probes_leave_alone_what_does_not_think(engine: FastTTS) -> None:
    asked: dict[str, Any] = {"n": 3, "max_tokens": 40, "selection": "best"}
    plain = engine.search("a", search="best_of_n", **asked)
    result = engine.search("a", search="dynasor", probe_interval=6, **asked)
    assert [one.text for one in result.candidates] == [one.text for one in plain.candidates]


def test_a_thought_that_ends_by_itself_goes_on_to_its_answer() -> None:
    with scripted("<think>0123456789</think>42") as engine:
        asked: dict[str, Any] = {"search": "dynasor", "n": 1, "probe": "So: ", "probe_window": 1}
        result = engine.search("a", probe_interval=12, **asked)
        assert result.text.startswith("<think>01234\n</think>")
        result = engine.search("a", probe_interval=18, **asked)
        assert result.text == "<think>0123456789</think>42"


def test_the_budget_ends_a_thought_that_probes_do_not(engine: FastTTS) -> None:
    result = probed(engine, probe_window=1000, thinking_token_budget=20)
    assert {num_tokens(one.text.partition(END)[0]) for one in result.candidates} == {20}


@pytest.mark.parametrize("interval", [1, 3, 4, 9])
@pytest.mark.parametrize("budget", [0, 1, 4, 11])
def test_no_probe_asks_within_the_end_of_a_budget(
    engine: FastTTS, budget: int, interval: int
) -> None:
    """A thought has one end, which nothing interrupts."""
    result = probed(
        engine, probe_interval=interval, probe_window=2, thinking_token_budget=budget, n=6
    )
    for candidate in result.candidates:
        thought, end, answer = candidate.text.partition(END)
        assert end
        assert num_tokens(thought) == budget or num_tokens(thought) % interval == 0
        assert not thought.endswith(tuple(END[:length] for length in range(2, len(END))))
        assert "</" not in answer


def beam(*path: int, answer: str | None = None, ended: bool = False) -> Beam:
    return Beam(path=path, score=0.0, is_answer_ended=ended, answer=answer)


def test_the_rule_wants_the_last_probes_to_agree() -> None:
    policy = Dynasor(n=2, interval=8, window=2, probe="?", probe_tokens=4)
    assert policy.num_roots == 2
    assert policy.expand([beam(1)], []) == [Branch(path=(1,), num_children=2)]
    first = beam(1, 1, answer="4", ended=True)
    going_on = [Branch(path=(1, 0), num_children=2)]
    assert policy.expand([beam(1, 0), first], []) == going_on
    stretch = beam(1, 0, 0)
    for answer, is_over in (("4", True), ("5", False), (None, False)):
        second = beam(1, 0, 1, answer=answer, ended=True)
        branches = policy.expand([stretch, second], [first])
        path, num = ((1, 0), 1) if is_over else ((1, 0, 0), 2)
        assert branches == [Branch(path=path, num_children=num)]
    over = beam(1, 0, 0, ended=True)
    assert policy.expand([over, beam(1, 0, 1, answer="4", ended=True)], [first]) == ()
    assert policy.step_shape((1, 0, 2)).closes_thought
    assert policy.step_shape((1,)).thought_tokens == 8
    assert policy.step_shape((1, 1)).probe == "?"


@pytest.mark.parametrize(
    ("asked", "told", "answer"),
    [
        (r"\boxed{", r"42}\] and so on", "42"),
        (r"\boxed{", r"\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{", r"\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{", "42", None),
        (r"\boxed{", "}", None),
        (r"\boxed{", "42} Wait, that is", None),
        (r"\boxed{", "now} known", "now"),
        ("Answer: ", " 42\nbecause", "42"),
        ("Answer: ", "\n", None),
        ("Answer: ", "Hmm", None),
    ],
)
def test_the_answer_to_a_probe(asked: str, told: str, answer: str | None) -> None:
    assert probed_answer(asked, told) == answer


# --- The template's switch.


def test_a_switch_reaches_the_template(engine: FastTTS) -> None:
    switches = THINKING["chat_template_kwargs"]
    prompt = engine.render("a", chat_template_kwargs=switches)
    assert TOKENIZER.decode(prompt.token_ids).endswith("assistant: <think>")
    off = engine.render("a", chat_template_kwargs={"enable_thinking": False})
    assert off == engine.render("a") == engine.render("a", chat_template_kwargs={})
    by_prompt = engine.search(prompt, search="none", max_tokens=20)
    assert engine.search("a", search="none", max_tokens=20, **THINKING).text == by_prompt.text


@pytest.mark.parametrize(
    "switches",
    [
        {"chat_template": "{{ messages }}"},
        {"tools": True},
        {"bos_token": "x"},
        {"not a name": True},
        {"enable_thinking": "<|im_end|>"},
        {"enable_thinking": {"deep": True}},
        {"enable_thinking": float("nan")},
        {"enable_thinking": -float("inf")},
        {"enable_thinking": 10**4400},
        {f"switch_{number}": True for number in range(33)},
    ],
)
def test_what_is_no_switch_is_refused(engine: FastTTS, switches: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="switch"):
        search_config(chat_template_kwargs=switches)
    with pytest.raises(ConfigurationError, match="switch"):
        engine.render("a", chat_template_kwargs=switches)


@pytest.mark.parametrize(
    ("template", "known"),
    [
        ("{% if thinking is not defined %}{% set thinking = true %}{% endif %}", {"thinking"}),
        ("{% set thinking = thinking | default(false) %}{{ thinking }}", {"thinking"}),
        ("{% macro m(word) %}{{ word }}{{ effort }}{% endmacro %}{{ m(messages) }}", {"effort"}),
        ("{% for one in messages %}{% break %}{% endfor %}", set()),
        ("{% generation %}{{ thinking }}{% endgeneration %}", {"thinking"}),
        ("thinking {# effort #}{% set word = 1 %}{{ messages[0].one }}{{ range(2) }}", set()),
        ("{{ raise_exception('thinking') if effort }}{{ strftime_now('%Y') }}", {"effort"}),
    ],
)
def test_switches_are_the_variables_that_a_template_reads(template: str, known: set[str]) -> None:
    names = {"thinking", "effort", "word", "one", "range", "raise_exception", "strftime_now"}
    assert {name for name in names if unknown_switch({name: True}, template) is None} == known


def test_a_broken_template_is_told_by_rendering() -> None:
    assert unknown_switch({"thinking": True}, "{% if thinking") is None


def test_a_switch_that_the_template_has_not_is_refused(engine: FastTTS) -> None:
    with pytest.raises(ConfigurationError, match="has no switch 'thinking'"):
        engine.search("a", chat_template_kwargs={"thinking": True})
    wrong: Any = "on"
    with pytest.raises(ConfigurationError, match="chat_template_kwargs"):
        engine.render("a", chat_template_kwargs=wrong)


class OlderTokenizer(FakeTokenizer):
    """A user's, from before there were switches."""

    def encode_chat(  # type: ignore[override]  # that it takes fewer is the point
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        return super().encode_chat(messages, tools)


def test_a_tokenizer_without_switches_works_as_before() -> None:
    generator = FakeGenerator()
    generator.tokenizer = OlderTokenizer()
    with FastTTS(generator) as engine:
        assert engine.search("a", search="none", max_tokens=9).text
