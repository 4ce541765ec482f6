"""Answers on the screen, and Ctrl-C while they are made."""

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.chat import Delta, Reply, ReplyCall
from fasttts.cli.chat.answer_view import AnswerView
from fasttts.cli.chat.events import Grown, LeftOut, Replied, ToolRan
from fasttts.cli.chat.interrupts import Interrupts
from fasttts.cli.chat.screen import Screen
from fasttts.cli.chat.tools import ToolOutcome
from fasttts.routing import Always, Never, Router, RoutingPolicy
from fasttts.types import Finished, SearchResult
from tests.searches import UNTIMED


@pytest.fixture
def engine() -> Iterator[FastTTS]:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


def shown(events: Any, *, is_terminal: bool = False) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=is_terminal, width=80, highlight=False, no_color=True
    )
    AnswerView(console).show(events)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def result_of(engine: FastTTS, policy: RoutingPolicy) -> SearchResult:
    *_, last = Router(engine, policy).stream("What is 2 + 2?", n=8)
    assert isinstance(last, Finished)
    return last.result


def replied(result: SearchResult, **changed: Any) -> Replied:
    reply = {"reasoning": "", "content": result.text, "calls": (), "finish_reason": "stop"}
    return Replied(reply=Reply(**reply | changed), result=result)


def grown(content: str = "", reasoning: str = "") -> Grown:
    return Grown(delta=Delta(reasoning=reasoning, content=content))


def test_a_plain_answer_is_broken_between_words(engine: FastTTS) -> None:
    result = result_of(engine, Never())
    written = shown([grown(reasoning="Hm. "), grown("word " * 20), replied(result)])
    lines = written.splitlines()
    assert lines[:3] == ["  Hm.", " " + " word" * 15, " " + " word" * 5]
    assert lines[3].startswith("  \u25c7 plain, ")


def test_a_searched_answer_is_a_table_of_steps(engine: FastTTS) -> None:
    result = result_of(engine, Always())
    written = shown([replied(result, finish_reason="length")])
    steps = result.candidates[0].steps
    assert [f"  {step.score:.4f}" for step in steps] == [
        line[:8] for line in written.splitlines()[: len(steps)]
    ]
    assert "(cut off at the token limit)\n  \u25c6 deliberated: beam_search, n=8, score" in written


def test_a_search_is_drawn_on_terminals_and_taken_back(engine: FastTTS) -> None:
    events = [*engine.stream("What is 2 + 2?", n=8)][:-1]
    assert "deliberating" in shown(events, is_terminal=True)
    assert "deliberating" not in shown(events)


def test_tools_and_what_is_left_out_are_shown(engine: FastTTS) -> None:
    call = ReplyCall(name="read_file", arguments={"path": "x"})
    told = ToolRan(call=call, outcome=ToolOutcome(text="line\n" * 9))
    refused = ToolRan(call=call, outcome=ToolOutcome(text="not\nthis", is_error=True))
    lines = shown([LeftOut(num_turns=1), LeftOut(num_turns=2), told, refused]).splitlines()
    assert lines == [
        "  (the first 1 turn no longer fits into the context)",
        "  (the first 2 turns no longer fit into the context)",
        "  tool read_file(path='x')",
        *["    line"] * 6,
        "    ... 3 more lines",
        "  tool read_file(path='x')",
        "    refused: not this",
    ]


def test_the_greeting_says_what_the_demonstration_models_can_do() -> None:
    generator = FakeGenerator()
    for name, files, tools in (("demo", Path("notes"), "clock"), ("other", None, "none")):
        generator.name = name
        console = Console(file=io.StringIO(), width=80)
        with FastTTS(generator, scheduling=UNTIMED) as engine:
            Screen(console).greet(engine, files=files, tools=tools)
        assert isinstance(console.file, io.StringIO)
        written = console.file.getvalue()
        assert ("arithmetic word problems" in written) == (name == "demo")
        assert ("below notes" in written) == ("clock" in written) == (name == "demo")
        assert "none, so searches take a vote" in written


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    found = Interrupts()
    with found.installed():
        yield found


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_between_two_items_ends_the_wait_for_the_next(interrupts: Interrupts) -> None:
    seen: list[object] = []

    def work() -> None:
        for item in interrupts.each(range(9)):
            seen.append(item)
            if item == 3:
                ctrl_c()
                seen.append("the work is done to its end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [0, 1, 2, 3, "the work is done to its end"]


def test_ctrl_c_while_waiting_raises_once(interrupts: Interrupts) -> None:
    def items() -> Iterator[int]:
        yield 1
        try:
            ctrl_c()
        finally:
            ctrl_c()  # impatience while the work is taken down

    with pytest.raises(KeyboardInterrupt):
        list(interrupts.each(items()))
    interrupts.forget()
    assert list(interrupts.each([1, 2])) == [1, 2]


def test_the_usual_treatment_comes_back() -> None:
    usual = signal.getsignal(signal.SIGINT)
    with Interrupts().installed():
        ctrl_c()
        assert signal.getsignal(signal.SIGINT) != usual
    assert signal.getsignal(signal.SIGINT) == usual
