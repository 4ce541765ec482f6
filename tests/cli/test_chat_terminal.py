"""The chat as a person meets it: in a terminal of 80 columns."""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttts.cli.chat.screen import DEMO_PROBLEM
from fasttts.demo.problems import generate_problems
from tests.cli.terminal import CTRL_C, CTRL_D, TAB, Terminal, terminal

ROOT = Path(__file__).parents[2]
KINDS = ("CACHE", "DATA", "STATE")
LONG = (
    "Nina has 45 eggs. After that, Nina uses 11 eggs on each of 2 days. A month later Nina has "
    "4 times as many eggs. 5 friends give Nina 50 eggs each. How many eggs does Nina have now?"
)
HARD = generate_problems("test", 0, 12, min_operations=4, max_operations=8)[-1]
"""Plain decoding gets it wrong."""

UP = "\x1b[A"
MAIN = "from fasttts.cli import main; main()"
SCRIPTED = """
import sys
from fasttts import FastTTS
from fasttts.backends.fake import FakeVerifier
from fasttts.cli import main, session
from tests.hermes import HermesGenerator

def open_engine(settings, verifier=None):
    generator = HermesGenerator()
    generator.answers |= {answers}
    generator.step_s = {step_s}
    return FastTTS(generator, FakeVerifier())

session.open_engine = open_engine
main()
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Variables under which the chat keeps everything below the test's own folder."""
    folders = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in KINDS}
    return dict(os.environ) | folders | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory to read from, beside something that may not be read."""
    (tmp_path / "secret.txt").write_text("the secret")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "pencils.txt").write_text("Max owns 50 pencils. Then Max sells 37 pencils.")
    (folder / "link.txt").symlink_to("../secret.txt")
    return folder


def scripted(answers: dict[str, str], step_s: float = 0.0) -> str:
    return SCRIPTED.format(answers=answers, step_s=step_s)


def call(name: str, **arguments: str) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


@pytest.fixture
def tool_chat(env: dict[str, str], files: Path) -> Iterator[Terminal]:
    """A model that calls tools: rightly, wrongly, and to get at what it may not read."""
    answers = {
        "Steal!": call("read_file", path="../secret.txt"),
        "leading '/'": "I may not read that.",
        "Read!": call("read_file", path="pencils.txt"),
        "37 pencils.": "He has 13.",
        "6 * 7?": call("calculator", expression="6 * 7"),
        "42": "It is 42.",
    }
    arguments = ("-c", scripted(answers), "chat", "--tools", "--files", str(files))
    with terminal(sys.executable, *arguments, env=env) as chat:
        chat.wait_for_prompt()
        yield chat


def test_tools_are_shown_and_keep_to_their_directory(tool_chat: Terminal) -> None:
    assert "read_file" in tool_chat.text
    tool_chat.say("/plain")
    assert "tool calculator(expression='6 * 7')\n    42\n" in tool_chat.say("6 * 7?")
    assert "It is 42." in tool_chat.text
    refused = tool_chat.say("Steal!")
    assert "tool read_file(path='../secret.txt')\n    refused: '../secret.txt' leads out" in refused
    assert "I may not read that." in refused
    assert "the secret" not in refused
    assert "Max owns 50 pencils." in tool_chat.say("Read!")
    assert "He has 13." in tool_chat.text
    deliberated = tool_chat.say("/deliberate Steal!")
    assert "refused:" in deliberated
    assert "deliberated: beam_search" in deliberated


def test_ctrl_c_ends_the_answer_and_not_the_program(env: dict[str, str]) -> None:
    endless = scripted({"Go!": "word " * 400, "Hello": "Good day."}, step_s=0.02)
    with terminal(sys.executable, "-c", endless, "chat", env=env) as chat:
        chat.wait_for_prompt()
        chat.say("/plain")
        chat.say("Go!", until="word word")
        chat.type(CTRL_C * 3)
        assert "Cancelled; nothing of this turn is kept." in chat.wait_for_prompt()
        assert "Good day." in chat.say("Hello")
        assert "Good day." not in chat.say("/deliberate Go!", until="deliberating")
        chat.type(CTRL_C)
        assert "Cancelled" in chat.wait_for_prompt()
        chat.type(f"half a line{CTRL_C}")
        chat.wait_for("/quit leaves the chat")
        chat.wait_for_prompt()
        chat.say("/stats", until="replies")  # a prompt that is drawn once more may come first
        assert re.search(r"replies +1 +0 +1\n", chat.wait_for_prompt())
        chat.type(CTRL_D)
        assert chat.end() == 0


def test_lines_and_conversations_are_remembered(env: dict[str, str]) -> None:
    arguments = ("-c", scripted({"Hello": "Good day."}), "chat")
    with terminal(sys.executable, *arguments, env=env) as chat:
        chat.wait_for_prompt()
        assert "Effort is low" in chat.say(f"/eff{TAB}low")
        chat.say("/plain Hello")
        chat.type(CTRL_D)
        assert chat.end() == 0
    with terminal(sys.executable, *arguments, "--resume", env=env | {"NO_COLOR": "1"}) as chat:
        resumed = chat.wait_for_prompt()
        assert "1 turn.\n> Hello\n  Good day.\n" in resumed
        assert "Effort is low" in chat.say(f"{UP}{UP}")
        chat.type("/quit\r")
        assert chat.end() == 0


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(600)  # a whole conversation behind the loading of the models
def test_a_conversation_on_the_bundled_models(env: dict[str, str], files: Path) -> None:
    with terminal(sys.executable, "-c", MAIN, "chat", "--files", str(files), env=env) as chat:
        opening = chat.wait_for_prompt(timeout_s=250)
        assert " ".join(DEMO_PROBLEM.split()) in " ".join(opening.split())
        assert "arithmetic word problems" in opening

        assert "auto: every step of the draft scores" in chat.say(DEMO_PROBLEM)
        assert "plain, score " in chat.text
        doubted = chat.say(HARD.text)
        assert "auto: a step of the draft scores" in doubted
        assert f"The answer is \\boxed{{{HARD.answer}}}.\n  \u25c6 deliberated" in doubted

        chat.say(f"/deliberate {LONG}", until=r"deliberating: step \d+, 16 beams")
        found = chat.wait_for_prompt()
        assert re.search(r"^  [01]\.\d{4}  The answer is \\boxed\{342\}\.$", found, re.MULTILINE)
        assert re.search(r"deliberated: beam_search, n=16, score [01]\.\d{4}, [\d,]+ tokens", found)
        assert "deliberating" not in found

        assert "did you mean '/effort'?" in chat.say("/efort high")
        assert "Effort is high" in chat.say("/effort high")
        chat.say(f"/deliberate {LONG}", until=r"deliberating: step \d+, 64 beams")
        chat.type(CTRL_C)
        assert "Cancelled" in chat.wait_for_prompt()

        for path in ("../secret.txt", "link.txt", "/etc/hostname"):
            refused = chat.say(f"/read {path}")
            assert "leads out of the directory" in refused or "are not followed" in refused
        chat.say("/read pencils.txt")
        assert "\\boxed{13}" in chat.say("/plain How many pencils does Max have in the end?")

        chat.say("/new")
        resumed = chat.say("/resume 1")
        assert "4 turns." in resumed
        assert "> How many pencils does Max have in the end?\n  Max sells 37" in resumed
        chat.type("/quit\r")
        assert chat.end() == 0
