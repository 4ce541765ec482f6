"""Runs inside a sandbox, as one of two processes that share nothing but a pipe in each direction.

The program's process holds the candidate and answers calls. The tests' process holds the tests,
knows the expected values, and calls the candidate through the pipe. Only plain data crosses it, so
a candidate may patch, exit or forge whatever its own process holds: all that reaches a test is the
value that a call returned. Standard library only; started by its path, never imported as a part of
a search.

    python -I -S worker.py program LIMITS
    python -I -S worker.py tests   LIMITS   then one line of JSON on standard input
"""

import builtins
import functools
import io
import json
import os
import random
import re
import resource
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MODULE = "program"
_NATIVE_INT = 1 << 53
_DATA = "data"


class LostError(BaseException):
    """The program's process ended or broke the protocol; no test may catch this."""


class Ref:
    """An object of the candidate's that is no plain data: it can be called, read and iterated.

    It equals itself alone and is neither true nor false, whatever the candidate's class says.

    Args:
        link: The way to the program's process.
        number: The object's, there.
    """

    __slots__ = ("_link", "_number")

    def __init__(self, link: "Link", number: int) -> None:
        self._link = link
        self._number = number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._link.ask("call", self._number, encode(list(args)), encode(kwargs))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._link.ask("attribute", self._number, name)

    def __bool__(self) -> bool:
        raise TypeError("an object of the candidate's is neither true nor false")

    def __iter__(self) -> Iterator[Any]:
        iterator = self._link.ask("iterate", self._number)
        while (found := self._link.ask("next", iterator._number)) != ():
            yield found[0]


def encode(value: Any, keep: Callable[[Any], int] | None = None) -> Any:
    """Plain data as JSON that gives its types back; subclasses count as the plain type.

    Args:
        value: The value.
        keep: Stores what is not plain, and returns its number; None refuses such values.

    Raises:
        TypeError: The value holds something that is not plain.
    """
    if value is None or value is True or value is False:
        return value
    for kind, encoder in _ENCODERS.items():
        if isinstance(value, kind):
            return encoder(value, keep)
    if isinstance(value, Ref):
        return ["ref", value._number]
    if keep is None:
        raise TypeError(f"{type(value).__name__} is no plain data")
    return ["ref", keep(value)]


def _encode_int(value: int, _: Any) -> Any:
    number = int.__index__(value)
    return number if abs(number) < _NATIVE_INT else ["int", hex(number)]


def _encode_items(tag: str, kind: Any) -> Callable[[Any, Any], Any]:
    return lambda value, keep: [tag, *(encode(item, keep) for item in kind.__iter__(value))]


def _encode_dict(value: dict[Any, Any], keep: Any) -> Any:
    return ["dict", *([encode(k, keep), encode(v, keep)] for k, v in dict.items(value))]


_ENCODERS: Mapping[type, Callable[[Any, Any], Any]] = {
    int: _encode_int,
    float: lambda value, _: float.__pos__(value),
    str: lambda value, _: str.__str__(value),
    complex: lambda value, _: ["complex", value.real, value.imag],
    bytes: lambda value, _: ["bytes", bytes.hex(value)],
    list: _encode_items("list", list),
    tuple: _encode_items("tuple", tuple),
    set: _encode_items("set", set),
    frozenset: _encode_items("frozenset", frozenset),
    dict: _encode_dict,
}


def decode(data: Any, ref: Callable[[int], Any]) -> Any:
    """The value that `encode` wrote.

    Args:
        data: Its JSON.
        ref: Finds the object that has a number.

    Raises:
        LookupError, TypeError, ValueError: It is nothing that `encode` writes.
    """
    if not isinstance(data, list):
        return data
    tag, *items = data
    if tag in _COLLECTIONS:
        return _COLLECTIONS[tag](decode(item, ref) for item in items)
    if tag == "dict":
        return {decode(key, ref): decode(value, ref) for key, value in items}
    return ref(int(items[0])) if tag == "ref" else _SCALARS[tag](*items)


_COLLECTIONS: Mapping[str, Callable[[Iterator[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_SCALARS: Mapping[str, Callable[..., Any]] = {
    "int": lambda digits: int(digits, 16),
    "complex": complex,
    "bytes": bytes.fromhex,
}


class Link:
    """The tests' end of the pipes.

    Args:
        reader: Answers of the program's process.
        writer: Questions to it.
        max_bytes: The most that all answers may have together.

    Attributes:
        lost: Why there are no more answers; None while there are.
    """

    def __init__(self, reader: io.BufferedReader, writer: io.RawIOBase, max_bytes: int) -> None:
        self._reader = reader
        self._writer = writer
        self._num_left = max_bytes
        self.lost: str | None = None

    def ask(self, *question: Any) -> Any:
        """Asks one question and returns its value, or raises what the candidate raised.

        Raises:
            LostError: There was no answer, or none that could be read.
        """
        written = json.dumps(question).encode() + b"\n"
        if self.lost is None:
            line = self._exchange(written)
        self.check()
        try:
            kind, payload = json.loads(line)
            if kind == _DATA:
                return decode(payload, lambda number: Ref(self, number))
            name, message = map(str, payload)
        except (ValueError, TypeError, LookupError, RecursionError):
            self.lost = "protocol"
        self.check()
        raise exception_class(name)(message)

    def check(self) -> None:
        """Raises if there was no answer, which a test may have tried to hide.

        Raises:
            LostError: So it was.
        """
        if self.lost is not None:
            raise LostError(self.lost)

    def _exchange(self, question: bytes) -> bytes:
        try:
            write_all(self._writer, question)
            line = self._reader.readline(self._num_left + 1)
        except OSError:
            line = b""
        self._num_left -= len(line)
        if not line.endswith(b"\n"):
            self.lost = "output" if self._num_left < 0 else "ended"
        return line


def exception_class(name: str) -> type[Exception]:
    """The built-in exception of a name; `RuntimeError` where there is none."""
    found: Any = getattr(builtins, name, None)
    is_usable = isinstance(found, type) and issubclass(found, Exception)
    chosen: type[Exception] = found if is_usable and found not in _UNUSABLE else RuntimeError
    return chosen


_UNUSABLE = (StopIteration, StopAsyncIteration, UnicodeDecodeError, UnicodeEncodeError)
_UNUSABLE += (UnicodeTranslateError, ExceptionGroup)  # type: ignore[assignment]  # take other arguments


def send(writer: io.RawIOBase, message: Any) -> None:
    """Writes one line of JSON.

    Args:
        writer: The pipe.
        message: The message.
    """
    write_all(writer, json.dumps(message).encode() + b"\n")


def write_all(writer: io.RawIOBase, data: bytes) -> None:
    """Writes all bytes, however few the pipe takes at once.

    Args:
        writer: The pipe.
        data: The bytes.
    """
    left = memoryview(data)
    while left:
        left = left[writer.write(left) or 0 :]


class Candidate:
    """The program's end: its module, and the objects that the tests hold references to."""

    def __init__(self) -> None:
        self._module = types.ModuleType(MODULE)
        self._objects: list[Any] = []

    def load(self, source: str) -> None:
        """Runs the program as a module."""
        sys.modules[MODULE] = self._module
        random.seed(0)
        exec(compile(source, MODULE, "exec"), self._module.__dict__)

    def answer(self, kind: str, *arguments: Any) -> Any:
        """The JSON of a question's value.

        Args:
            kind: `name`, `call`, `attribute`, `iterate` or `next`.
            arguments: Those of the method of that name.
        """
        value = getattr(self, f"_{kind}")(*arguments)
        return encode(value, self._keep)

    def _keep(self, value: Any) -> int:
        self._objects.append(value)
        return len(self._objects) - 1

    def _name(self, name: str) -> Any:
        found = self._module.__dict__
        if name not in found:
            raise NameError(f"name {name!r} is not defined")
        return found[name]

    def _call(self, number: int, args: Any, kwargs: Any) -> Any:
        lookup = self._objects.__getitem__
        return self._objects[number](*decode(args, lookup), **decode(kwargs, lookup))

    def _attribute(self, number: int, name: str) -> Any:
        return getattr(self._objects[number], name)

    def _iterate(self, number: int) -> Any:
        return iter(self._objects[number])

    def _next(self, number: int) -> Any:
        return next(([item] for item in self._objects[number]), ())


def serve(reader: io.BufferedReader, writer: io.RawIOBase) -> None:
    """Answers questions for ever; the first is the program's text.

    Args:
        reader: Questions, a line each.
        writer: Their answers.
    """
    candidate = Candidate()
    while line := reader.readline():
        kind, *arguments = json.loads(line)
        try:
            if kind == "load":
                candidate.load(*arguments)
                found = None
            else:
                found = candidate.answer(kind, *arguments)
            send(writer, [_DATA, found])
        except BaseException as error:  # noqa: BLE001, a candidate may raise anything
            send(writer, ["error", [type(error).__name__, _message(error)]])


def _message(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except BaseException:  # noqa: BLE001, its `__str__` is the candidate's
        return ""


def run_tests(job: Mapping[str, Any], link: Link, report: Callable[[Any], None]) -> None:
    """Loads the program, then runs the tests and the calls, and reports each.

    Args:
        job: `program`, `names` taken from it, `setup`, and `tests` or `calls`.
        link: The way to the program's process.
        report: Takes what happened: `["loaded", problem]`, `["prepared", problem]`, then
            `["test", problem]` or `["call", result]` for each; a problem is None or a text.
    """
    namespace: dict[str, Any] = {"__name__": "tests"}
    problem = _attempt(functools.partial(link.ask, "load", job["program"]))
    report(["loaded", problem])
    if problem is None:
        problem = _attempt(functools.partial(_prepare, job, link, namespace))
        report(["prepared", problem])
    if problem is not None:
        return
    for source in job.get("tests", ()):
        code = compile(source, "test", "exec")
        problem = _attempt(functools.partial(exec, code, namespace))
        link.check()
        report(["test", problem])
    for source in job.get("calls", ()):
        code = compile(source, "call", "eval")
        report(["call", _behaviour(functools.partial(eval, code, namespace))])


def _prepare(job: Mapping[str, Any], link: Link, namespace: dict[str, Any]) -> None:
    namespace.update((name, link.ask("name", name)) for name in job["names"])
    exec(compile(job["setup"], "setup", "exec"), namespace)


def _attempt(function: Callable[[], Any]) -> str | None:
    """Calls a function and returns its exception in words; None where it raised none."""
    try:
        function()
    except LostError:
        raise
    except BaseException as error:  # noqa: BLE001, tests may raise anything
        return f"{type(error).__name__}: {_message(error)}".removesuffix(": ")
    return None


def _behaviour(call: Callable[[], Any]) -> str:
    """A call's value, or the name of its exception, as one text."""
    try:
        return canonical(call())
    except Exception as error:  # noqa: BLE001, a candidate may raise anything
        return f"raises {type(error).__name__}"


def canonical(value: Any) -> str:
    """One text for all plain values that are equal."""
    return json.dumps(_canonical(value), sort_keys=True)


def _canonical(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(_canonical, value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(map(canonical, value))]
    if isinstance(value, dict):
        return ["dict", *sorted([canonical(k), canonical(v)] for k, v in value.items())]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return ["number", hex(value)]
    return ["object"] if isinstance(value, Ref) else [type(value).__name__, repr(value)]


def whole_length(source: str) -> int | None:
    """Characters of the whole statements at the beginning of a text.

    The last line is not judged: it may go on.

    Returns:
        None where the text is not Python, and nothing that follows could make it so.
    """
    warnings.simplefilter("ignore")
    if _is_python(source):
        return len(source)
    whole = source[: source.rfind("\n") + 1]
    if not _is_beginning(source) and not _is_beginning(whole):
        return None
    starts = [0, *(match.end() for match in _NEXT_STATEMENT.finditer(source))]
    return next((at for at in reversed(starts[-_MAX_CUTS:]) if _is_python(source[:at])), 0)


_MAX_CUTS = 50
_NEXT_STATEMENT = re.compile(r"\n(?=[^\s#)\]}])(?!(?:else|elif|except|finally)\b)")
_UNREADABLE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)


def _is_python(source: str) -> bool:
    import ast  # a third of the time that a worker takes to start, and two of three need none

    try:
        ast.parse(source)
    except _UNREADABLE:
        return False
    return True


def _is_beginning(source: str) -> bool:
    """Whether a program may begin with these lines."""
    import codeop

    try:
        codeop.compile_command(source, symbol="exec")
    except _UNREADABLE:
        return False
    return True


def main(role: str, limits: Mapping[str, Any]) -> None:
    """Limits itself, hides the pipes and plays one of the roles.

    Args:
        role: `program`, `tests`, `syntax` or `probe`.
        limits: `rlimits` by their names, `output_bytes`, and for tests their `pipes`.
    """
    pipes = [os.dup(number) for number in (0, 1)]
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    for name, value in limits.get("rlimits", {}).items():
        resource.setrlimit(getattr(resource, name), (value, value))
    reader, writer = open(pipes[0], "rb"), open(pipes[1], "wb", buffering=0)  # noqa: SIM115, open until exit
    threading.stack_size(1 << 20)
    if role == "probe":
        write_all(writer, b"ready\n")
        return
    if role == "program":
        serve(reader, writer)
        return
    job = json.loads(reader.readline())
    if role == "syntax":
        send(writer, ["syntax", whole_length(job["program"])])
        send(writer, ["end", None])
        return
    answers, questions = limits["pipes"]
    link = Link(open(answers, "rb"), open(questions, "wb", buffering=0), limits["output_bytes"])  # noqa: SIM115, as well
    try:
        run_tests(job, link, lambda found: send(writer, found))
    except LostError as lost:
        send(writer, ["lost", str(lost)])
    send(writer, ["end", None])


if __name__ == "__main__":
    try:
        main(sys.argv[1], json.loads(sys.argv[2]))
    finally:
        os._exit(0)
