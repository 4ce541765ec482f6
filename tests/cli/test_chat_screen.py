"""What lines mean, how growing text is broken, and how a running search is drawn."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.cli.chat.commands import COMMANDS, Command, Said, completions, parse
from fasttts.cli.chat.live_tree import LiveTree
from fasttts.cli.chat.wrapping import Wrapping
from fasttts.types import Progress, Pruned, SearchStarted, StepFinished, StepScored
from tests.searches import UNTIMED


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", None),
        ("  \n", None),
        (" What is 2 + 2? ", Said(text="What is 2 + 2?")),
        ("//etc", Said(text="/etc")),
        ("/help", Command(name="help")),
        (" /effort  high ", Command(name="effort", argument="high")),
        ("/plain What is /2?", Command(name="plain", argument="What is /2?")),
    ],
)
def test_lines_are_understood(line: str, meant: Command | Said | None) -> None:
    assert parse(line) == meant


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("/efort low", "unknown command /efort: did you mean '/effort'?"),
        ("/xyzzy", "unknown command /xyzzy: /help lists the commands"),
        ("/", "unknown command /: /help lists the commands"),
        ("/quit now", "/quit takes nothing, not 'now'"),
        ("/read", "/read needs FILE"),
    ],
)
def test_mistakes_are_answered_with_one_line(line: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(line)
    assert str(raised.value) == hint


def test_commands_are_completed() -> None:
    assert completions("/re") == ["/read ", "/resume "]
    assert completions("/clo") == ["/clock"]
    assert [each.strip() for each in completions("/")] == [f"/{name}" for name in COMMANDS]


def test_words_are_kept_whole() -> None:
    wrapping = Wrapping(20, indent=2)
    written = "".join(map(wrapping.add, ["The an", "swer to ever", "ything\n\nis 42", ".", " "]))
    assert written + wrapping.finish() == "  The answer to\n  everything\n\n  is 42."


@given(st.lists(st.text("ab \n", max_size=12)), st.integers(8, 30), st.integers(0, 4))
def test_pieces_do_not_change_the_lines(pieces: list[str], width: int, indent: int) -> None:
    def wrapped(texts: list[str]) -> str:
        wrapping = Wrapping(width, indent)
        return "".join(map(wrapping.add, texts)) + wrapping.finish()

    text = "".join(pieces)
    assert wrapped(pieces) == wrapped([text])
    assert wrapped(pieces).split() == text.split()
    longest = max(map(len, text.split()), default=0)
    assert all(len(line) <= max(width, indent + longest) for line in wrapped([text]).split("\n"))


def told(*events: Any) -> LiveTree:
    tree = LiveTree()
    for event in events:
        tree.apply(event)
    return tree


def step(path: tuple[int, ...], text: str, score: float | None = None) -> list[Any]:
    scored = [] if score is None else [StepScored(path=path, score=score)]
    return [StepFinished(path=path, text=text), *scored]


def test_equal_steps_are_one_line_and_single_ones_are_not_moved_in() -> None:
    tree = told(
        *step((0,), "One.\n\n", 0.9),
        *step((1,), "One.", 0.8),
        *step((2,), "Zero.", 0.1),
        Pruned(paths=((2,),)),
        *step((0, 0), "Two."),
        *step((1, 0), "Three.", 0.7),
        *step((0, 0, 0), "Four."),
    )
    assert [line.plain for line in tree.lines(9)] == [
        "   0.900  \u251c\u2500 One.  x2",
        "    ..    \u2502  \u251c\u2500 Two.",
        "    ..    \u2502  \u2502  Four.",
        "   0.700  \u2502  \u2514\u2500 Three.",
        "   0.100  \u2514\u2500 Zero.",
    ]
    best = ["   0.900  One.  x2", "    ..    Two.", "    ..    Four."]
    assert [line.plain for line in tree.lines(3)] == best
    assert [line.plain for line in tree.lines(2)] == best[-2:]


@pytest.mark.parametrize("search", ["best_of_n", "beam_search", "dvts", "lookahead"])
@pytest.mark.parametrize("height", [1, 5, 12])
def test_every_search_fits_on_the_screen(search: str, height: int) -> None:
    console = Console(width=50, highlight=False)
    tree = LiveTree()
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        for event in engine.stream("What is 2 + 2?", search=search, n=8):
            if tree.apply(event):
                with console.capture() as capture:
                    console.print(tree.view(50, height))
                lines = capture.get().splitlines()
                assert len(lines) <= max(height, 2)
                assert max(map(len, lines)) <= 50
    assert tree.texts


def test_the_state_is_told_in_one_line() -> None:
    progress = Progress(
        depth=12,
        num_beams=64,
        num_finished=63,
        best_text="",
        best_score=None,
        generated_tokens=99_999,
        elapsed_s=1.0,
    )
    console = Console(width=78)
    for tree, line in [
        (told(), "thinking"),
        (told(SearchStarted(num_beams=4)), "deliberating"),
        (
            told(SearchStarted(num_beams=4), progress),
            "deliberating: step 12, 64 beams, 0 dropped, 63 finished, 99,999 tokens",
        ),
    ]:
        with console.capture() as capture:
            console.print(tree.view(78, 3))
        assert capture.get().strip()[2:] == line
