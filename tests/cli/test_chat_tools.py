"""The tools of the chat: what they do, and what they refuse."""

import datetime
import itertools
import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fasttts import ConfigurationError
from fasttts.chat import ReplyCall
from fasttts.cli.chat.calculator import (
    BINARY,
    CONSTANTS,
    FUNCTIONS,
    MAX_BITS,
    MAX_CHARS,
    calculate,
)
from fasttts.cli.chat.files import MAX_FILE_BYTES, Folder
from fasttts.cli.chat.tools import Toolbox


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(3 + 4) * 12", "84"),
        ("2 ^ 10", "1024"),
        ("2 ** -1", "0.5"),
        ("7 / 2", "3.5"),
        ("8 / 2", "4"),
        ("-7 // 2", "-4"),
        ("7 % 4", "3"),
        ("+1 - -1", "2"),
        ("sqrt(2) * sqrt(2) - 2 < 1", None),
        ("1+" * (MAX_CHARS // 2 - 1) + "1", "250"),
        ("max(1, 2, 3) - min(4, 5)", "-1"),
        ("round(pi, 2)", "3.14"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("round(1250, -2)", "1200"),
        ("round(2.5)", "2"),
        ("round(5, -10**7)", "0"),
        ("round(9^1000, -10**7) + round(2.5, 10**7)", "2.5"),
    ],
)
def test_the_calculator_computes(expression: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(ConfigurationError, match="no arithmetic"):
            calculate(expression)
    else:
        assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1 +",
        "__import__('os').getcwd()",
        "().__class__",
        "open('x')",
        "x",
        "'a' * 3",
        "[1][0]",
        "True + 1",
        "1j",
        "1 if 1 else 2",
        "max(*[1])",
        "round(1.5, ndigits=1)",
        "lambda: 1",
        "(x := 1)",
        "1, 2",
        "1\n2",
        "1if 2else 3",
        "1 # and more",
        "\u0661 + \u0662",
        "1 + \udcff",
        "\0",
        "(" * 220 + "1" + ")" * 220,
    ],
)
def test_the_calculator_refuses_what_is_no_arithmetic(expression: str) -> None:
    with pytest.raises(ConfigurationError):
        calculate(expression)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1 / 0", "no value"),
        ("sqrt(-1)", "no value"),
        ("sqrt()", "no value"),
        ("(-8) ^ 0.5", "no real number"),
        ("0 ^ -1", "no value"),
        ("9 ^ 9 ^ 9", "too large"),
        ("2 ^ 2000 * 2 ^ 2000 * 2 ^ 2000", "4096 bits"),
        ("1e308 * 10", "too large or undefined"),
        ("10.0 ^ 400", "no value"),
        ("1" * (MAX_CHARS + 1), f"more than {MAX_CHARS} characters"),
        ("-" * 300 + "1", "levels deep"),
    ],
)
def test_the_calculator_says_why_there_is_no_value(expression: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        calculate(expression)


EXTREMES = ("0", "-1", "5", "-10^7", "10^7", "(9^1000)", "-9^1000", "1e308", "5e-324", "-0.5")
OPERATORS = ("+", "-", "*", "/", "//", "%", "^", "**")
CALLS = st.sampled_from([*FUNCTIONS, "", "-", "factorial", "pow"])
MAX_SECONDS = 0.1


def outcome(expression: str) -> str:
    """The value of an expression, or why it has none, within the time limit."""
    started = time.thread_time()
    try:
        return calculate(expression)
    except ConfigurationError as error:
        return str(error)
    finally:
        assert time.thread_time() - started < MAX_SECONDS, expression[:MAX_CHARS]


@pytest.mark.parametrize("name", [*FUNCTIONS, *OPERATORS])
def test_every_operation_on_the_largest_numbers_ends_in_time(name: str) -> None:
    assert len(OPERATORS) == len(BINARY) + len(("^", "**"))
    for numbers in itertools.chain(
        itertools.product(EXTREMES, repeat=2), ([each] * 40 for each in EXTREMES)
    ):
        joined = ",".join(numbers) if name in FUNCTIONS else name.join(numbers)
        value = outcome(f"{name}({joined})" if name in FUNCTIONS else joined)
        if value.removeprefix("-").isdecimal():
            assert int(value).bit_length() <= MAX_BITS


@pytest.mark.parametrize(
    "expression",
    [
        "9" * MAX_CHARS,
        "9^" * 200 + "9",
        "round(5," * 60 + "-9" + ")" * 60,
        "-" * (MAX_CHARS - 1) + "1",
        "(" * 400,
        "1+" * 249 + "1",
        "f(" * 200,
        "1,a[" * 120,
        "[x for x in " * 40,
        "{" * MAX_CHARS,
        "1" * 1_000_000,
        "abs(" * 250_000,
        "1e" + "9" * 400,
        "0x" + "f" * 490,
        "1_" * 249 + "1",
        "max(" + "9^1200," * 70 + "1)",
    ],
)
def test_no_hostile_expression_takes_long(expression: str) -> None:
    assert outcome(expression)


@given(
    st.recursive(
        st.sampled_from(EXTREMES) | st.sampled_from([*CONSTANTS]) | st.integers().map(str),
        lambda inner: (
            st.tuples(inner, st.sampled_from(OPERATORS), inner).map("".join)
            | st.tuples(CALLS, st.lists(inner, max_size=3).map(",".join)).map(
                "{0[0]}({0[1]})".format
            )
        ),
    )
    | st.text()
)
@example("round(5,-10^7)")
def test_no_expression_takes_long(expression: str) -> None:
    assert outcome(expression)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A directory with a file, a folder, and links that lead out of it."""
    root = tmp_path / "root"
    (root / "notes").mkdir(parents=True)
    (root / "notes" / "eggs.txt").write_text("45 eggs")
    (root / "latin.txt").write_bytes(b"caf\xe9")
    (root / "large.txt").write_text("x" * (MAX_FILE_BYTES + 1))
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to("../secret.txt")
    (root / "up").symlink_to("..")
    (root / "inside.txt").symlink_to("notes/eggs.txt")
    os.mkfifo(root / "pipe")
    return Folder(root)


@pytest.mark.parametrize("path", ["notes/eggs.txt", "./notes//eggs.txt"])
def test_files_below_the_directory_are_read(folder: Folder, path: str) -> None:
    assert folder.read(path) == "45 eggs"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret.txt", "leads out of the directory"),
        ("notes/../../secret.txt", "leads out of the directory"),
        ("notes/../notes/eggs.txt", "leads out of the directory"),
        ("/etc/passwd", "leads out of the directory"),
        ("notes\0", "leads out of the directory"),
        ("link.txt", "symbolic links are not followed"),
        ("up/secret.txt", "not a directory|symbolic links"),
        ("inside.txt", "symbolic links are not followed"),
        ("missing.txt", "no such file"),
        ("notes/eggs.txt/more", "not a directory"),
        ("x" * 300, "file name too long"),
        ("pipe", "no regular file"),
        ("large.txt", "more than 65,536 bytes"),
        ("latin.txt", "no UTF-8 text"),
        ("notes", "this directory holds eggs.txt"),
        ("", "this directory holds inside.txt, large.txt"),
        (".", "this directory holds"),
    ],
)
def test_other_files_are_refused(folder: Folder, path: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        folder.read(path)


def test_nothing_stays_open(folder: Folder) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("notes/eggs.txt", "link.txt", "notes", "pipe", "missing/more", "large.txt"):
        Toolbox(folder).run(ReplyCall(name="read_file", arguments={"path": path}))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(ConfigurationError, match="no readable directory"):
            Folder(path)


def test_tools_run_and_tell_of_mistakes(folder: Folder) -> None:
    now = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    toolbox = Toolbox(folder, now=lambda: now)
    assert toolbox.names == ["calculator", "clock", "read_file"]
    for name, arguments, text, is_error in [
        ("calculator", {"expression": "6 * 7"}, "42", False),
        ("clock", {}, "Tuesday, 2026-02-03 04:05:06 UTC", False),
        ("read_file", {"path": "notes/eggs.txt"}, "45 eggs", False),
        ("read_file", {"path": "../secret.txt"}, "leads out of the directory", True),
        ("calculator", {"expression": 3}, "wrong arguments for calculator: expression", True),
        ("calculator", {}, "expression: Field required", True),
        ("clock", {"place": "here"}, "place: Extra inputs", True),
        ("calculator", {"expression": "6 * 7", "type": "object", "required": []}, "42", False),
        ("calculater", {}, "did you mean 'calculator'?", True),
    ]:
        outcome = toolbox.run(ReplyCall(name=name, arguments=arguments))
        assert (text in outcome.text, outcome.is_error) == (True, is_error), outcome


def test_without_a_directory_no_file_can_be_read() -> None:
    assert Toolbox().names == ["calculator", "clock"]
    assert Toolbox().run(ReplyCall(name="read_file", arguments={"path": "x"})).is_error


def test_schemas_are_those_of_openai(folder: Folder) -> None:
    calculator, clock, read_file = (tool["function"] for tool in Toolbox(folder).schemas)
    assert calculator["parameters"]["required"] == ["expression"]
    assert calculator["parameters"]["properties"]["expression"]["type"] == "string"
    assert clock["parameters"]["properties"] == {}
    assert "below the directory root" in read_file["description"]
    assert all("description" not in each["parameters"] for each in (calculator, clock, read_file))
