"""Which models the chat offers tools to, and what it says about those that see none."""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from fasttts import SYSTEM_PRESETS, EngineConfig, FastTTS
from fasttts.backends.fake import FakeTokenizer, FakeVerifier
from fasttts.cli.chat import offered_tools_row
from fasttts.cli.chat.screen import Screen
from fasttts.cli.chat.tools import Toolbox
from tests.engines import OpenWith
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

Run = Callable[..., Result]


class DeafTokenizer(FakeTokenizer):
    """A chat template that leaves tools out, as those of many small models do."""

    def encode_chat(
        self, messages: Sequence[Any], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        return super().encode_chat(messages)


@pytest.fixture(params=[False, True], ids=["with tools", "without"])
def generator(request: pytest.FixtureRequest) -> HermesGenerator:
    generator = HermesGenerator()
    if request.param:
        generator.tokenizer = DeafTokenizer()
    return generator


@pytest.fixture
def chat(
    run: Run,
    open_with: OpenWith,
    generator: HermesGenerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("FASTTTS_GENERATOR", "some/model")

    def open_engine(settings: EngineConfig) -> FastTTS:
        return FastTTS(generator, FakeVerifier(), scheduling=UNTIMED)

    open_with(open_engine)
    return lambda *arguments, lines: run("chat", *arguments, stdin="\n".join(lines))


def is_deaf(generator: HermesGenerator) -> bool:
    return isinstance(generator.tokenizer, DeafTokenizer)


def test_models_are_offered_tools_that_their_template_shows(
    chat: Run, generator: HermesGenerator, caplog: pytest.LogCaptureFixture
) -> None:
    generator.answers["How many are 3 * 4?"] = "12."
    done = chat(lines=["/plain How many are 3 * 4?"])
    assert done.exit_code == 0, done.output
    assert ("calculator" in generator.prompts[-1]) is not is_deaf(generator)
    assert caplog.text == ""


def test_tools_that_nobody_would_be_told_of_are_refused(
    chat: Run, generator: HermesGenerator
) -> None:
    generator.answers["Hello"] = "Good day."
    done = chat("--tools", lines=["/plain Hello"])
    assert done.exit_code == (2 if is_deaf(generator) else 0)
    if is_deaf(generator):
        assert "has no place for tools: leave the option out" in done.stderr


def test_the_greeting_names_the_tools_or_says_why_there_are_none(
    generator: HermesGenerator,
) -> None:
    console = Console(file=StringIO(), width=80)
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        toolbox = None if is_deaf(generator) else Toolbox()
        Screen(console).greet(engine, files=None, tools=offered_tools_row(engine, toolbox))
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert ("whose chat template has no place for them" in shown) is is_deaf(generator)
    assert ("calculator, clock" in shown) is not is_deaf(generator)


def test_a_preset_is_a_system_message(chat: Run, generator: HermesGenerator) -> None:
    generator.answers["Hello"] = "Good day."
    assert chat("--system", "preset:math", lines=["/plain Hello"]).exit_code == 0
    assert SYSTEM_PRESETS["math"] in generator.prompts[-1]
    done = chat("--system", "preset:maths", lines=["/plain Hello"])
    assert done.exit_code == 2
    assert "there is no such preset" in done.stderr
