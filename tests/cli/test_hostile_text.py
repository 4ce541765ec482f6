"""Hostile text of models, tools, files, names and errors, through every command and option.

Every byte that a command prints is looked at, on a terminal and in a pipe.
"""

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup
from typer.testing import CliRunner

from fasttts import BackendError, EngineConfig, FastTTS, SearchResult
from fasttts.backends.fake import FakeVerifier
from fasttts.cli import app
from fasttts.cli.chat.history import Store, Turn
from fasttts.cli.printable import printable, printable_text
from fasttts.cli.streams import PrintableConsole, ShieldedLive
from fasttts.prm import read_labels
from fasttts.routing.threshold_store import STORE
from tests.engines import OpenWith
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

pytestmark = pytest.mark.usefixtures("unmeasured")

MARK = "EVIL"
HOSTILE = (
    f"{MARK}\x1b[7;35mA\x1b[2J\x1b]0;owned\x07\x1b7\x1bP1q\x1b\\\x9b31m\x9d2\x9c\u202eB\u2066\u200f"
    "C\u200b\u2060D\u200dE\u2028\x85\xad\ufeff\U000e0041\x08\rF\x0e\x0f\x7f"
)
NAME = HOSTILE + "\udcff"
"""The name of a file; the last byte is no UTF-8."""

OWN_SEQUENCES = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)|\r")
"""What rich writes to a terminal: colours but 7;35, the cursor, lines that are erased."""

MAIN = typer.main.get_command(app)
assert isinstance(MAIN, TyperGroup)
COMMANDS = MAIN.commands
ARGUMENTS = {
    "solve": ["two"],
    "eval": ["demo", "--num-problems", "1", "-n", "4"],
    "calibrate-router": ["--num-problems", "30", "-n", "4", "--max-tokens", "40"],
    "label": ["demo", "--num-problems", "1", "--rollouts", "1", "--output", "labels.jsonl"],
    "train-verifier": ["absent.jsonl", "--output", "verifier"],
}
"""Those without which a command does not begin, or is slow."""

OPTIONS = [
    (name, parameter.opts[0])
    for name, command in COMMANDS.items()
    for parameter in command.params
    if not parameter.opts[0].startswith("--help") and not getattr(parameter, "is_flag", False)
]

Print = Callable[..., str]


def unprintable(printed: str) -> list[str]:
    """The characters that a terminal would obey or hide."""
    return [
        character
        for character in printed
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and character not in "\n\t"
    ]


def in_a_pipe(arguments: Sequence[str], stdin: str) -> str:
    return _run(arguments, stdin, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


def on_a_terminal(arguments: Sequence[str], stdin: str) -> str:
    """Without the sequences that rich writes by itself."""
    master, slave = os.openpty()
    read: list[bytes] = []

    def drain() -> None:
        try:
            while piece := os.read(master, 65_536):
                read.append(piece)
        except OSError:  # the other end is closed
            pass

    thread = threading.Thread(target=drain)
    thread.start()
    _run(arguments, stdin, os.fdopen(slave, "w", encoding="utf-8"))
    thread.join()
    os.close(master)
    printed = b"".join(read).decode()
    assert "\x1b[7;35m" not in printed
    return OWN_SEQUENCES.sub("", printed)


def _run(arguments: Sequence[str], stdin: str, screen: io.TextIOWrapper) -> str:
    """Runs a command whose both outputs are the screen; what a stream of bytes has in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        patch.setattr(sys, "stdout", screen)
        patch.setattr(sys, "stderr", screen)
        with pytest.raises(SystemExit):
            MAIN.main(list(arguments), prog_name="fasttts")
        screen.flush()
        held = screen.buffer
        printed = held.getvalue().decode() if isinstance(held, io.BytesIO) else ""
    screen.close()
    return printed


@pytest.fixture(params=[in_a_pipe, on_a_terminal])
def printed(request: pytest.FixtureRequest) -> Print:
    """Runs a command and returns what it printed, of which every character is harmless."""

    def run(*arguments: str, stdin: str = "") -> str:
        text = request.param(arguments, stdin)
        assert unprintable(text) == []
        return str(text)

    return run


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def answer(prompt: str) -> str:
    """Calls every tool with hostile arguments, then answers in steps."""
    for asked, text in {
        "read!": call("read_file", path=NAME.encode(errors="replace").decode()),
        "list!": call("read_file", path="."),
        "read it!": call("read_file", path="evil.txt"),
        "compute!": call("calculator", expression=HOSTILE),
        "call!": call(HOSTILE, **{HOSTILE: HOSTILE}),
    }.items():
        if prompt.endswith(f"{asked}assistant: "):
            return text
    return f"{HOSTILE} first.\n\n{HOSTILE} second.\n\nThe answer is \\boxed{{{HOSTILE}}}."


class Evil(HermesGenerator):
    """A model whose name and answers are hostile."""

    name = f"model-{HOSTILE}"


class EvilVerifier(FakeVerifier):
    """A verifier of such a name."""

    name = f"verifier-{HOSTILE}"


@pytest.fixture(autouse=True)
def evil(open_with: OpenWith, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Engines, directories and stored documents in which everything is hostile."""

    def open_engine(settings: EngineConfig) -> FastTTS:
        logging.getLogger("fasttts").warning("loaded with %s", HOSTILE)
        return FastTTS(Evil(answer), EvilVerifier(), scheduling=UNTIMED)

    open_with(open_engine)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    for kind in ("CACHE", "DATA", "STATE"):
        # These names are logged; pytest-xdist cannot send logs with bytes that are no UTF-8.
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / HOSTILE))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory of a hostile name, with a hostile file of one."""
    folder = tmp_path / f"files-{NAME}"
    folder.mkdir()
    for name in (NAME, "evil.txt"):
        (folder / name).write_text(HOSTILE)
    (folder / "device.json").write_text(
        json.dumps({"name": HOSTILE, "memory": "24GiB", "bandwidth": "1TB/s", "compute": "1TFLOPS"})
    )
    (folder / f"{NAME}.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    (folder / f"{NAME}.jsonl").write_text(json.dumps({"problem": HOSTILE, "answer": HOSTILE}))
    return folder


def solve(print_: Print, files: Path) -> Iterator[str]:
    yield print_("solve", HOSTILE, "-n", "4", "--beam-width", "2", "--stats")
    yield print_("solve", "-", "--search", "none", stdin=HOSTILE)
    yield print_("solve", "two", "-n", "4", "--json")


def chat(print_: Print, files: Path) -> Iterator[str]:
    roles = ("user", "assistant")
    turn = Turn(asked=HOSTILE, messages=tuple({"role": r, "content": HOSTILE} for r in roles))
    Store().new().add(turn)
    STORE.write([Evil.name, EvilVerifier.name], {"threshold": HOSTILE})
    lines = [
        f"/plain {HOSTILE} of 2 + 2?",
        "/deliberate what is 2 + 2?",
        *(f"/plain 2 + 2: {what}!" for what in ("read", "list", "read it", "compute", "call")),
        "what is 2 + 2?",
        f"/read {HOSTILE}",
        "/read evil.txt",
        f"/{HOSTILE}",
        f"/calculator {HOSTILE}",
        f"/save {HOSTILE}",
        f"/clock {HOSTILE}",
        f"/effort {HOSTILE}",
        "/resume",
        "/resume 1",
        f"/resume {HOSTILE}",
        "/stats",
    ]
    options = ("--files", str(files), "--tools", "--resume", "--effort", "low")
    yield print_("chat", *options, stdin="\n".join(line.replace("\r", "") for line in lines))


def evaluate(print_: Print, files: Path) -> Iterator[str]:
    yield print_("eval", "demo", "--num-problems", "2", "-n", "4")
    yield print_("eval", HOSTILE)


def check(print_: Print, files: Path) -> Iterator[str]:
    file = str(files / f"{NAME}.jsonl")
    yield print_("check", "--problems", file, "--time-limit", "1", "--generator", f"m-{HOSTILE}")
    yield print_("check", "--problems", str(files / NAME))
    yield print_("check", "--labels", file, "--verifier", f"v-{HOSTILE}")


def plan(print_: Print, files: Path) -> Iterator[str]:
    yield print_("plan", "--gpu", str(files / "device.json"))
    yield print_("plan", "--gpu", str(files / f"{NAME}.json"))


def calibrate(print_: Print, files: Path) -> Iterator[str]:
    yield print_("calibrate")


def calibrate_router(print_: Print, files: Path) -> Iterator[str]:
    yield print_("calibrate-router", str(files / f"{NAME}.jsonl"))
    yield print_("calibrate-router", *ARGUMENTS["calibrate-router"], "--answer", "text")


def label(print_: Print, files: Path) -> Iterator[str]:
    file, sizes = str(files / f"{NAME}.jsonl"), ("--rollouts", "2", "--continuations", "2")
    yield print_("label", HOSTILE, "--output", "labels.jsonl")
    yield print_("label", file, *sizes, "--output", str(files / "labels.jsonl"))
    yield print_("label", file, *sizes, "--output", str(files / "evil.txt"))
    assert HOSTILE in read_labels(files / "labels.jsonl")[0].rollouts[0].steps[0].text


def train_verifier(print_: Print, files: Path) -> Iterator[str]:
    file = str(files / "labels.jsonl")
    print_("label", str(files / f"{NAME}.jsonl"), "--rollouts", "1", "--output", file)
    yield print_("train-verifier", str(files / f"{NAME}.jsonl"), "--output", "verifier")
    yield print_("train-verifier", file, "--held-out", file, "--output", "verifier")
    yield print_("train-verifier", file, "--output", "verifier", "--method", HOSTILE)


def serve(print_: Print, files: Path) -> Iterator[str]:
    yield print_("serve", "--api-key-file", str(files / f"{NAME}.none"))
    yield print_("serve", "--host", HOSTILE)
    yield print_("serve", "--allowed-host", HOSTILE)


def mcp(print_: Print, files: Path) -> Iterator[str]:
    yield print_("mcp", "--transport", HOSTILE)
    yield print_("mcp", "--transport", "http", "--api-key-file", str(files / f"{NAME}.none"))
    yield print_("mcp", "--transport", "http", "--allowed-origin", HOSTILE)


FEEDS = {
    "solve": solve,
    "chat": chat,
    "serve": serve,
    "mcp": mcp,
    "eval": evaluate,
    "check": check,
    "label": label,
    "train-verifier": train_verifier,
    "plan": plan,
    "calibrate": calibrate,
    "calibrate-router": calibrate_router,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_text_is_printed_and_obeyed_by_no_terminal(
    command: str, printed: Print, files: Path
) -> None:
    for text in FEEDS[command](printed, files):  # a new command needs its own
        assert MARK in text


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_hostile_options_are_refused_or_taken(command: str, option: str) -> None:
    value = [NAME] if option.startswith("-") else []
    flag = [option] if option.startswith("-") else [NAME]
    arguments = [command, *ARGUMENTS.get(command, []), *flag, *value]
    assert unprintable(in_a_pipe(arguments, "")) == []


@pytest.mark.parametrize("option", ["--log-format", "--log-level"])
def test_hostile_options_of_all_commands_are_refused(option: str, printed: Print) -> None:
    assert MARK in printed(option, NAME, "plan")


@pytest.mark.parametrize("format_", ["text", "json"])
def test_hostile_messages_are_logged_in_harmless_words(
    format_: str, printed: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTTTS_LOG_FORMAT", format_)
    told = printed("solve", "two", "-n", "4")
    assert "loaded with" in told
    assert MARK in told


@pytest.mark.parametrize("arguments", [(NAME,), (f"--{NAME}",), ("solve", "a", NAME)])
def test_wrong_usage_is_told_in_harmless_words(printed: Print, arguments: Sequence[str]) -> None:
    assert MARK in printed(*arguments)


@pytest.mark.parametrize("debug", [[], ["--debug"]])
@pytest.mark.parametrize(
    "command", [name for name in COMMANDS if name not in {"plan", "train-verifier"}]
)
def test_errors_are_told_in_harmless_words(
    command: str, debug: list[str], printed: Print, open_with: OpenWith
) -> None:
    def fail(settings: EngineConfig) -> FastTTS:
        raise BackendError(HOSTILE, role="generator")

    open_with(fail)
    assert MARK in printed(command, *ARGUMENTS.get(command, []), *debug)


@pytest.mark.parametrize(
    ("encoding", "more", "code", "count"), [("utf-8", [], 1, 4), ("ascii", ["\u2713 much"], 2, 0)]
)
def test_bugs_logs_and_warnings_are_printed_by_the_same_stream(
    encoding: str, more: list[str], code: int, count: int
) -> None:
    program = f"""
import logging, sys, warnings
from fasttts import FastTTS
from fasttts.cli import main

def open_engine(settings):
    logging.getLogger("elsewhere").warning({HOSTILE!r})
    warnings.warn({HOSTILE!r})
    print({HOSTILE!r}, file=sys.stderr)
    raise ZeroDivisionError({NAME!r})

FastTTS.from_config = open_engine
sys.argv = ["fasttts", "solve", "two", *sys.argv[1:]]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *more, *([NAME] if more else [])],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    told = done.stderr.decode(encoding)
    assert (done.returncode, unprintable(told)) == (code, [])
    assert told.count(MARK) >= max(1, count)


def test_what_is_logged_beside_a_changing_view_is_harmless() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with ShieldedLive(Text("searching"), console=console, transient=True):
        print(HOSTILE, file=sys.stderr)
    assert MARK in screen.getvalue()
    assert unprintable(OWN_SEQUENCES.sub("", screen.getvalue())) == []
    assert "\x1b[7;35m" not in screen.getvalue()


def test_json_results_hold_the_text_as_it_is() -> None:
    """The escapes of a terminal are those of JSON, so that a reader gets what the model wrote."""
    done = CliRunner().invoke(app, ["solve", "two", "--search", "none", "--json"])
    assert unprintable(done.stdout) == []
    assert f"{HOSTILE} first." in SearchResult.from_json(done.stdout).text


def test_a_json_document_stays_the_same() -> None:
    document = json.dumps({HOSTILE: [NAME, "\\", "\u2713"]}, ensure_ascii=False)
    assert json.loads(printable(document)) == json.loads(document)


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\nc",
        "می\u200cخواهم",
        "क्\u200dष",
        "👩\u200d👧",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
        "Ünï ✓ 漢字",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text
    assert printable_text(Text(text)).plain == text


def test_every_character_of_unicode_is_known() -> None:
    visible = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    for code in range(sys.maxunicode + 1):
        if unprintable(chr(code)):
            assert (printable(f"a{chr(code)}") != f"a{chr(code)}") == (code not in visible)


@given(
    st.text(st.sampled_from([*HOSTILE, "\u200c", "\ufe0f", "é", "漢", "😀", "\udcff", "]", ":"]))
)
def test_styled_and_plain_texts_are_printed_alike(text: str) -> None:
    screen = io.StringIO()
    PrintableConsole(file=screen).print(Text(text, style="bold"), end="", soft_wrap=True)
    assert screen.getvalue() == printable(Text(text).plain)
    assert printable(printable(text)) == printable(text)
