"""How much of the code one request passes through: modules, classes and functions entered.

    python -m benchmarks.crossings

Counted with `sys.setprofile` on the fake backend, in the caller's thread and in the loop's, from
the call to its result; engines are made before. A module whose functions are not entered, such as
one of values or protocols, does not count.
"""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.report import Report
from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier

_ROOT = Path(__file__).parents[1]
_FOLDERS = tuple(f"{_ROOT / name}/" for name in ("fasttts", "integrations", "agents"))
_COLUMNS = {
    "arm": "request",
    "modules": "modules",
    "classes": "classes",
    "functions": "functions",
    "calls": "calls",
}
PROBLEM = "What is 12 times 12?"
OPTIONS: dict[str, Any] = {"n": 4, "max_tokens": 400, "temperature": 0.8, "seed": 1}


class Crossings:
    """Counts the project's functions that any thread enters while it is recording."""

    def __init__(self) -> None:
        self.entered: dict[tuple[str, str], int] = {}
        self.is_recording = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if self.is_recording and event == "call" and code.co_filename.startswith(_FOLDERS):
            key = (code.co_filename, code.co_qualname)
            self.entered[key] = self.entered.get(key, 0) + 1

    def row(self, name: str) -> dict[str, Any]:
        """The counts of what was recorded."""
        entered = {key: num for key, num in self.entered.items() if key[1] != "<module>"}
        functions = {(file, name.split(".<locals>")[0]) for file, name in entered}
        classes = {(file, name.split(".")[0]) for file, name in functions if "." in name}
        return {
            "arm": name,
            "modules": len({file for file, _ in functions}),
            "classes": len(classes),
            "functions": len(functions),
            "calls": sum(entered.values()),
            "module_names": sorted({str(Path(file).relative_to(_ROOT)) for file, _ in functions}),
        }


def crossings(name: str, make: Callable[[FastTTS], Callable[[], Any]]) -> dict[str, Any]:
    """The counts of one request; an equal one before it has imported and cached what it needs."""
    recorder = Crossings()
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        with FastTTS(FakeGenerator(mean_step_tokens=8), FakeVerifier()) as engine:
            request = make(engine)
            request()
            recorder.is_recording = True
            request()
            recorder.is_recording = False
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # documented, and not in the stubs
    return recorder.row(name)


def search(engine: FastTTS) -> Callable[[], Any]:
    """A beam search."""
    return lambda: engine.search(PROBLEM, **OPTIONS)


def routed_call(engine: FastTTS) -> Callable[[], Any]:
    """A chat call in LangChain that the default policy drafts, doubts and searches."""
    from langchain_fasttts import ChatFastTTS

    model = ChatFastTTS(engine=engine, search="auto", **OPTIONS)
    return lambda: model.invoke(PROBLEM)


def main() -> None:
    """Prints the counts of both requests."""
    report = Report(
        benchmark="crossings", config={"problem": PROBLEM, **OPTIONS}, seed=0, columns=_COLUMNS
    )
    report.take([crossings("search", search), crossings("routed call", routed_call)])
    report.print()


if __name__ == "__main__":
    main()
