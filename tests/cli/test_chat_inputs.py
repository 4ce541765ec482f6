"""What the chat survives: lines, names, files and calls of any content, at a line of text each."""

import contextlib
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeVerifier
from fasttts.chat import ReplyCall
from fasttts.cli import app
from fasttts.cli.chat import keyboard
from fasttts.cli.chat.commands import COMMANDS
from fasttts.cli.chat.files import Folder
from fasttts.cli.chat.history import Cost, Store, Turn
from fasttts.cli.chat.tools import Toolbox, sound_call
from fasttts.evaluation import read_problems
from fasttts.memory.devices import read_device
from tests.engines import OpenWith
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

WORKS = b"/calculator 6 * 7"
BAD_NAMES = ["\0", "a\0b", "\udcff", "caf\udce9.txt", "\ud800", "~nobody-of-this-name/x", "x" * 300]
BAD_NAMES += [
    "/",
    ".",
    "..",
    "",
    "9" * 5000,
    "\u0663",
    "-",
    "link",
    "pipe",
    "folder",
    "*",
    "[",
    "{0}",
]
NO_JSON = ["NaN", "Infinity", "-Infinity", '"\\ud800"', "1e999"]

SHORT = ("--max-tokens", "20")
Chat = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in which names are no UTF-8 and files are none."""
    for kind in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    root = tmp_path / "caf\udce9"
    root.mkdir()
    (root / "caf\udce9.txt").write_text("45 eggs")
    (root / "link").symlink_to("nowhere")
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def generator() -> HermesGenerator:
    return HermesGenerator()


@pytest.fixture
def chat(folder: Path, generator: HermesGenerator, open_with: OpenWith) -> Chat:
    """Runs a chat on lines of bytes; it has to go on until the last of them."""
    open_with(lambda _: FastTTS(generator, FakeVerifier(), scheduling=UNTIMED))
    runner = CliRunner()

    def run(*lines: bytes, options: tuple[str, ...] = SHORT) -> Result:
        typed = b"\n".join((*lines, b"/new", WORKS))
        done = runner.invoke(app, ["chat", "--files", str(folder), *options], input=typed)
        assert done.exception is None, done.exception
        assert done.stdout.endswith("\n  42\n\n\n"), done.output
        assert "Traceback" not in done.output
        return done

    return run


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
LINES = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(lambda text: text.encode(errors="surrogateescape")),
    st.tuples(
        st.sampled_from([*COMMANDS.keys() - {"quit"}]),
        st.sampled_from(BAD_NAMES) | st.text(max_size=9),
    )
    .map(lambda pair: " ".join(pair).encode(errors="surrogatepass"))
    .map(b"/".__add__),
).map(lambda line: line.replace(b"\n", b" ").replace(b"\r", b" "))


@FUZZ
@given(st.lists(LINES.filter(lambda line: line.strip() != b"/quit"), max_size=6))
@example([b"/save \0", b"/resume " + b"9" * 5000, b"/read \xff", b"\xff", b"/plain \xed\xa0\x80"])
def test_any_lines_are_survived(chat: Chat, lines: list[bytes]) -> None:
    chat(*lines)


@pytest.mark.parametrize("line", [b"caf\xe9?", b"/plain caf\xe9?", b"/deliberate \xed\xa0\x80"])
def test_a_message_that_is_no_text_is_one_line(chat: Chat, line: bytes) -> None:
    done = chat(line)
    assert "the message is not UTF-8 text" in done.stdout
    assert done.stdout.count("UTF-8") == 1


@pytest.mark.parametrize("name", BAD_NAMES)
def test_any_name_is_answered_in_few_lines(chat: Chat, name: str) -> None:
    typed = [f"/{command} {name}".encode(errors="surrogatepass") for command in ("read", "resume")]
    chat(b"/plain hello", *typed[:1], typed[0].replace(b"/read", b"/save"))
    lines = [line for line in chat(*typed).stdout.splitlines() if line.strip()]
    assert 4 <= len(lines) <= 25


def test_a_file_of_a_name_that_is_no_text_is_read(chat: Chat, folder: Path) -> None:
    done = chat(b"/read caf\xe9.txt")
    assert "caf\\udce9.txt: 7 characters" in done.stdout
    assert Folder(folder).read("caf\udce9.txt") == "45 eggs"


def test_names_that_are_no_text_reach_the_model_as_text(folder: Path) -> None:
    toolbox = Toolbox(Folder(folder))
    listed = toolbox.run(ReplyCall(name="read_file", arguments={"path": "."}))
    missing = toolbox.run(ReplyCall(name="read_file", arguments={"path": "\ud800"}))
    assert "caf?.txt" in listed.text
    assert "no file has such a name" in missing.text
    json.dumps([listed.text, missing.text, toolbox.schemas], ensure_ascii=False).encode()


def calls_calculator(value: str, name: str = "calculator") -> str:
    body = f'{{"name": "{name}", "arguments": {{"expression": {value}}}}}'
    return f"<tool_call>\n{body}\n</tool_call>"


@pytest.mark.parametrize(
    "call",
    [
        *map(calls_calculator, [*NO_JSON, '{"a": [1e999]}', '{"\\udfff": 1}']),
        calls_calculator('"2 + 2"', name="\\ud800"),
    ],
)
def test_a_call_that_is_no_json_stays_text(
    chat: Chat, generator: HermesGenerator, call: str
) -> None:
    generator.answers |= {"2 + 2?": call, "": "It is 4."}
    done = chat(b"/plain what is 2 + 2?", b"/stats", b"/save x.md", options=("--tools",))
    assert "tool calculator" not in done.stdout
    (conversation,) = Store().recent(5)
    (turn,) = conversation.turns
    assert ([each["content"] for each in turn.messages[1:]], conversation.num_damaged) == (
        [call],
        0,
    )
    assert call in Path("x.md").read_text()


def test_arguments_of_many_levels_are_an_error_for_the_model(
    chat: Chat, generator: HermesGenerator
) -> None:
    deep = calls_calculator("[" * 40 + "]" * 40)
    generator.answers |= {"2 + 2?": deep, "": "It is 4."}
    done = chat(b"/plain what is 2 + 2?", b"/stats", b"/save x.md", options=("--tools",))
    assert "refused: the arguments of calculator" in done.stdout
    (conversation,) = Store().recent(5)
    (turn,) = conversation.turns
    assert (len(turn.messages), conversation.num_damaged) == (4, 0)
    assert "more than 20 levels" in turn.messages[2]["content"]
    assert Path("x.md").read_text().count("more than 20 levels") == 1


def test_sound_calls_stay_as_they_are() -> None:
    call = ReplyCall(name="calculator", arguments={"expression": "2 + 2", "more": [{"a": 1.5}]})
    assert sound_call(call) == (call, None)


def conversation_file() -> Path:
    folder = Store().folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "20260101-000000-abcd.jsonl"


DIALOGUE = ("/resume", "/resume 1", "/resume 20260101-000000-abcd", "/stats", "/plain again")


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b"\0" * 1000 + b"\xff\n"),
        lambda path: path.write_bytes(b""),
        lambda path: os.truncate(path, path.touch() or (1 << 26) + 1),
    ],
)
def test_what_lies_in_the_place_of_a_conversation_is_survived(
    chat: Chat, make: Callable[[Path], object]
) -> None:
    make(conversation_file())
    chat(*(line.encode() for line in DIALOGUE))
    assert len(Store().recent(10)) >= 1  # the one that has just been made
    chat(b"/plain more", options=("--resume", *SHORT))


def test_a_conversation_is_written_into_no_link_and_no_pipe(chat: Chat, tmp_path: Path) -> None:
    conversation = Store().new()
    outside = tmp_path / "outside"
    outside.write_text("mine")
    turn = Turn(asked="a", messages=({"role": "user", "content": "a"},))
    conversation.path.parent.mkdir(parents=True)
    for make in (
        lambda: conversation.path.symlink_to(outside),
        lambda: os.mkfifo(conversation.path),
    ):
        make()
        with pytest.raises(ConfigurationError, match="cannot be written"):
            conversation.add(turn)
        conversation.path.unlink()
    assert outside.read_text() == "mine"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TURN: dict[str, Any] = {
    "asked": "What is 2 + 2?",
    "messages": [
        {"role": "user", "content": "What is 2 + 2?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"function": {"name": "calculator", "arguments": '{"expression": "2"}'}}
            ],
        },
        {"role": "tool", "name": "calculator", "content": "2"},
        {"role": "assistant", "content": "4"},
    ],
    "costs": [
        {"search": "none", "n": 1, "generated_tokens": 1, "verifier_tokens": 0, "seconds": 1}
    ],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every part of a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*path, key))


def changed(place: tuple[Any, ...], part: Any) -> Any:
    if not place:
        return part
    turn = json.loads(json.dumps(TURN))
    inner = turn
    for key in place[:-1]:
        inner = inner[key]
    if part is KeyError:
        del inner[place[-1]]
    else:
        inner[place[-1]] = part
    return turn


LEFT_OUT = st.sampled_from([p for p in places(TURN) if p]).map(lambda p: changed(p, KeyError))
TURNS = (
    st.tuples(st.sampled_from([*places(TURN)]), JSON).map(lambda pair: changed(*pair))
    | LEFT_OUT
    | JSON
)
EVIL_LINES = [
    b"[" * 100_000,
    b"9" * 5000,
    b'{"asked": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
    json.dumps(changed(("costs", 0, "n"), 10**4000)).encode(),
    json.dumps(changed(("costs", 0, "seconds"), float("nan"))).encode(),
    json.dumps(
        changed(("messages", 1, "tool_calls", 0, "function", "arguments"), "[" * 9999)
    ).encode(),
]


@FUZZ
@given(
    st.lists(
        st.binary(max_size=30)
        | TURNS.map(lambda turn: json.dumps(turn).encode())
        | st.sampled_from(EVIL_LINES),
        min_size=1,
        max_size=5,
    )
)
@example(EVIL_LINES)
@example([json.dumps(TURN).encode()])
def test_conversations_of_any_content_are_resumed(chat: Chat, lines: list[bytes]) -> None:
    conversation_file().write_bytes(b"\n".join(lines))
    chat(*(line.encode() for line in DIALOGUE), b"/save")
    for saved in Path().glob("chat-*.md"):
        saved.unlink()


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (("messages",), [{"role": "tool", "name": "f", "tool_call_id": "lost", "content": "2"}]),
        (("messages", 2, "tool_call_id"), "lost"),
        (("messages", 2, "tool_call_id"), 5),
        (("messages", 0, "tool_calls"), TURN["messages"][1]["tool_calls"]),
        (("messages", 0, "more"), json.loads("[" * 150 + "]" * 150)),
        (("messages", 0, "content"), " "),
    ],
)
def test_a_turn_that_no_model_could_be_shown_is_left_out(
    chat: Chat, generator: HermesGenerator, place: tuple[Any, ...], part: Any
) -> None:
    lines = (changed(place, part), TURN)
    conversation_file().write_text("\n".join(map(json.dumps, lines)))
    generator.answers[""] = "It is 4."
    done = chat(b"/plain and now?", options=("--resume", *SHORT))
    assert "1 damaged lines of its file were left out" in done.stdout
    assert "It is 4." in done.stdout


def test_the_whole_turn_comes_back(chat: Chat) -> None:
    conversation_file().write_text(json.dumps(TURN))
    (found,) = Store().recent(5)
    assert (len(found.turns), found.num_damaged) == (1, 0)
    assert found.turns[0].costs == (
        Cost(search="none", n=1, generated_tokens=1, verifier_tokens=0, seconds=1.0),
    )


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("target")])
def test_what_lies_in_the_place_of_the_lines_is_left_alone(
    make: Callable[[Path], object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "chat-lines"
    make(path)

    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Tty())
    with keyboard.remembered(path):
        pass
    assert not stat.S_ISREG(path.lstat().st_mode)
    assert not (folder / "target").exists()


@pytest.mark.parametrize("system", ["caf\udce9", "preset:\udcff"])
def test_a_system_message_that_is_no_text_is_refused(
    folder: Path, open_with: OpenWith, system: str
) -> None:
    for command in (["solve", "two"], ["chat"]):
        done = CliRunner().invoke(app, [*command, "--system", system])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert "--system" in done.stderr


@pytest.mark.parametrize("name", ["~nobody-of-this-name/d.json", "9" * 5000 + ".json"])
@pytest.mark.parametrize("option", ["--gpu", "--generator", "--verifier"])
def test_a_path_that_can_be_none_is_named(folder: Path, option: str, name: str) -> None:
    done = CliRunner().invoke(app, ["plan", "--gpu", "rtx-4090", option, name])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "is no path" in done.stderr
    assert len(done.stderr) < 200


@pytest.mark.parametrize("name", ["~nobody-of-this-name/d", "9" * 5000])
@pytest.mark.parametrize("command", [["solve", "two", "--verifier", "judge"], ["chat"], ["check"]])
def test_a_model_at_such_a_path_is_refused(folder: Path, command: list[str], name: str) -> None:
    done = CliRunner().invoke(app, [*command, "--generator", name])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "is no path" in done.stderr


@FUZZ
@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"problem": value, "answer": value}).encode())
    | JSON.map(
        lambda v: json.dumps({"name": v, "memory": v, "bandwidth": v, "compute": v}).encode()
    )
    | st.sampled_from([*EVIL_LINES, b'{"problem": "\\ud800", "answer": "\\ud800"}'])
)
def test_files_of_any_content_are_read_or_refused(folder: Path, content: bytes) -> None:
    for name, read in {
        "problems.jsonl": read_problems,
        "problems.json": read_problems,
        "problems.csv": read_problems,
        "device.json": read_device,
        "device.toml": read_device,
    }.items():
        (folder / name).write_bytes(content)
        with contextlib.suppress(ConfigurationError):
            repr(read(folder / name)).encode()


def test_a_problem_may_hold_every_end_of_a_line(folder: Path) -> None:
    text = "one\u2028two\x85three\x0cfour"
    file = folder / "problems.jsonl"
    file.write_text(json.dumps({"problem": text, "answer": 4}, ensure_ascii=False) + "\r\n\n")
    (problem,) = read_problems(file)
    assert (problem.text, problem.answer) == (text, "4")
