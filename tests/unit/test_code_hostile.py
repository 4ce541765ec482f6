"""Programs that mean harm: contained, counted as failed, and nothing of them left behind."""

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fasttts.code import CancelledError, CodeRunner, CodeTests, Verdict, assert_tests, call_tests
from fasttts.code.processes import Cancellation
from fasttts.verifiers.daemon_pool import Call

pytestmark = pytest.mark.sandbox

DOUBLED = call_tests("double", [((1,), 2), ((21,), 42), (("ab",), "abab")])
ASSERTED = assert_tests(
    ["assert double(1) == 2", "x = double(21)\nassert x == 42", "assert double('ab') in ['abab']"],
    names=["double"],
)

# Each is what a program does inside `double(x)`; the right value would be `x * 2`.
IN_THE_FUNCTION = {
    "loops without end": "while True: pass",
    "loops without end in C": "return 10 ** 10 ** 10",
    "sleeps": "import time; time.sleep(1000)",
    "reads standard input": "return input()",
    "waits for standard input": "import sys; return sys.stdin.buffer.raw.read(1)",
    "prints without end": "while True: print('x' * 10**6)",
    "writes to every descriptor": """
        import os
        for number in range(64):
            try: os.write(number, b'["data", 2]\\n' * 100)
            except OSError: pass
        while True: pass""",
    "takes memory": "return len([0] * 10**10)",
    "takes memory bit by bit": "a = []\n        while True: a.append(bytes(10**6))",
    "takes memory outside its address space": """
        import os
        files = [os.memfd_create('x') for _ in range(10)]
        return x * 2""",
    "returns more than it may": "return 'x' * 10**8",
    "returns a generator without end": "import itertools; return itertools.count()",
    "nests its value without end": "a = []; a.append(a); return a",
    "nests its value deeply": "a = 0\n        for _ in range(10**6): a = [a]\n        return a",
    "recurses": "import sys; sys.setrecursionlimit(10**9); return double(x)",
    "forks": "import os; os.fork(); return x * 2",
    "forks without end": "import os\n        while True:\n            os.fork()",
    "starts a daemon": """
        import os
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True: pass
        return x * 2""",
    "starts a program": "import subprocess; subprocess.run(['true']); return x * 2",
    "starts a shell": "import os; assert os.system('true') == 0; return x * 2",
    "starts a process of multiprocessing": """
        import multiprocessing
        multiprocessing.Process(target=print).start()
        return x * 2""",
    "becomes another program": "import os; os.execv('/bin/sh', ['sh', '-c', 'sleep 100'])",
    "becomes Python again": "import os, sys; os.execv(sys.executable, ['python', '-c', '1'])",
    "starts threads without end": """
        import threading, time
        while True:
            threading.Thread(target=time.sleep, args=[1000]).start()""",
    "connects to the network": """
        import socket
        socket.create_connection(('127.0.0.1', 22), timeout=1)
        return x * 2""",
    "listens": "import socket; socket.socket().bind(('', 0)); return x * 2",
    "asks for a name": "import socket; socket.getaddrinfo('localhost', 80); return x * 2",
    "reads the passwords": "open('/etc/passwd').read(); return x * 2",
    "lists the home": "import os; os.listdir(os.path.expanduser('~')); return x * 2",
    "finds installed packages": """
        import os, sys, sysconfig
        folder = sysconfig.get_path('purelib')
        assert os.listdir(folder)
        return x * 2""",
    "lists processes": "import os; os.listdir('/proc'); return x * 2",
    "writes a file": "[open(p + 'found', 'w') for p in ('/tmp/', '/', '')]; return x * 2",
    "writes to a temporary folder": "import tempfile; tempfile.mkstemp(); return x * 2",
    # The path is one inside the sandbox.
    "overwrites its harness": "open('/worker.py', 'w').write(''); return x * 2",
    "overwrites the library": "import json; open(json.__file__, 'w').write(''); return x * 2",
    "links to the outside": "import os; os.symlink('/etc/passwd', '/tmp/linked'); return x * 2",
    "signals everybody": "import os; os.kill(-1, 9); return x * 3",
    "signals its parent": "import os; os.kill(os.getppid(), 9); return x * 3",
    "traces its parent": """
        import ctypes, os
        libc = ctypes.CDLL(None)
        assert libc.ptrace(16, os.getppid(), 0, 0) == 0
        return x * 2""",
    "takes rights": "import os; os.setuid(0); os.chroot('/tmp'); return x * 2",
    "mounts": """
        import ctypes
        assert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0
        return x * 2""",
    "makes a namespace": """
        import ctypes
        assert ctypes.CDLL(None).unshare(0x10000000) == 0
        return x * 2""",
    "raises its limits": """
        import resource
        unlimited = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_AS, (unlimited, unlimited))
        return x * 2""",
    "ignores signals": """
        import signal
        for number in (1, 2, 15, signal.SIGXCPU): signal.signal(number, signal.SIG_IGN)
        while True: pass""",
    "exits": "import sys; sys.exit(0)",
    "exits at once": "import os; os._exit(0)",
    "raises what nobody catches": "raise KeyboardInterrupt",
    "raises an exception of its own": """
        class Passed(BaseException):
            def __str__(self): raise self
        raise Passed""",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "equals everything": """
        class Equal:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __bool__(self): return True
            def __hash__(self): return 0
        return Equal()""",
    "equals everything as a number": """
        class Equal(int):
            def __eq__(self, other): return True
            __hash__ = None
        return Equal(-1)""",
    "equals everything as a list": """
        class Equal(list):
            def __eq__(self, other): return True
            def __iter__(self): return iter([2])
        return Equal()""",
    "looks for the expected value in frames": """
        import sys
        frame = sys._getframe()
        while frame:
            for value in list(frame.f_locals.values()):
                if isinstance(value, dict) and 'tests' in value: return x * 2
            frame = frame.f_back""",
    "looks for the expected value in objects": """
        import gc
        if any('double(' in repr(o) for o in gc.get_objects() if type(o) is str): return x * 2
        return [o for o in gc.get_objects() if type(o) is list and 42 in o[:1]]""",
    "forges a verdict": """
        import os
        for number in range(3, 64):
            try: os.write(number, b'["test", null]\\n' * 3 + b'["end", null]\\n')
            except OSError: pass
        return 0""",
    "patches the harness": """
        import __main__
        __main__.send = __main__.encode = lambda *a: None
        return 0""",
    "patches json": "import json; json.dumps = lambda *a, **k: '[\"test\", null]'; return 0",
    "patches built-ins": """
        import builtins
        builtins.AssertionError = type('E', (Exception,), {})
        builtins.isinstance = lambda *a: True
        return 0""",
    "hooks the interpreter": """
        import sys, threading
        def trace(frame, event, arg):
            for name in list(frame.f_locals):
                if name == 'value': frame.f_locals[name] = 2
            return trace
        sys.settrace(trace); sys.setprofile(trace); threading.settrace(trace)
        sys.addaudithook(lambda *a: None)
        return 0""",
}

WHOLE_PROGRAMS = {
    "empty": "",
    "no Python": "def double(x) return x",
    "a NUL": "def double(x):\n    return x * 2\n\0",
    "half a character": "double = '\ud800'",
    "right to left": "def double(x):\n    return \u202e2 * x",
    "gigantic": "def double(x):\n    return x * 2\n" + "#" * 10**6,
    "nested deeply": "def double(x):\n    return " + "(" * 5000 + "x" + ")" * 5000,
    "long sums": "def double(x):\n    return " + "+".join(["x"] * 50_000),
    "exits when loaded": "import sys\ndef double(x): return x * 2\nsys.exit(0)",
    "exits while it ends": "import atexit, os\natexit.register(os._exit, 0)\ndouble = lambda x: 0",
    "prints results": "print('3 passed')\nprint('[\"test\", null]')\ndouble = print",
    "is no function": "double = 2",
    "deletes itself": "import os\nclass D:\n    def __del__(self): os._exit(0)\nd = D()\ndel d",
    "fills the module table": "import sys\nfor n in list(sys.modules): sys.modules[n] = None",
    "loops when loaded": "while True: pass\ndef double(x): return x * 2",
    "answers before it is asked": (
        "import os\n"
        "for n in range(3, 64):\n"
        "    try: os.write(n, b'[\"data\", null]\\n' + b'[\"data\", 2]\\n' * 9)\n"
        "    except OSError: pass\n"
        "double = lambda x: 0"
    ),
    "calls back from a thread": (
        "import os, threading\n"
        "def work():\n"
        "    while True:\n"
        "        for n in range(3, 64):\n"
        "            try: os.write(n, b'[\"data\", 2]\\n')\n"
        "            except OSError: pass\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "double = lambda x: 0"
    ),
}

WRITTEN = ("/found", "found", "/tmp/found", "/tmp/linked")
"""Files that the programs try to make."""

PROGRAMS = {
    **{name: f"def double(x):\n        {body.strip()}\n" for name, body in IN_THE_FUNCTION.items()},
    **WHOLE_PROGRAMS,
}


OUTPUT_BYTES = (1 << 22) + os.getpid()
MARK = f'"output_bytes": {OUTPUT_BYTES}'
"""Stands in the command line of this module's sandboxed processes."""


@pytest.fixture(scope="module")
def marked_runner(code_runner: CodeRunner) -> Iterator[CodeRunner]:
    limits = replace(code_runner.limits, output_bytes=OUTPUT_BYTES, wall_s=2.0)
    with CodeRunner(sandbox=code_runner.sandbox, limits=limits, num_parallel=4) as runner:
        yield runner


def num_processes() -> int:
    """Processes of this machine that a sandbox started."""
    return sum(is_sandboxed(Path("/proc", name)) for name in os.listdir("/proc") if name.isdigit())


def is_sandboxed(process: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return b"worker.py" in command and MARK.encode() in command


def wait_for_none(limit_s: float = 20.0) -> int:
    """The kernel takes a moment to end all processes of a namespace."""
    deadline = time.monotonic() + limit_s
    while (num_left := num_processes()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return num_left


SLEEP = "import time; time.sleep(1000 + {})"


@pytest.mark.parametrize("delay_ms", range(0, 60, 8))
def test_a_run_is_cancelled_whenever_that_is(marked_runner: CodeRunner, delay_ms: int) -> None:
    """Also while its sandbox is being made."""
    program = SLEEP.format(delay_ms)
    ((call, cancellation),) = marked_runner.submit(
        [lambda given: marked_runner.run(program, DOUBLED, cancellation=given)]
    )
    time.sleep(delay_ms / 1000)
    cancellation.cancel()
    assert isinstance(call.exception(20), CancelledError)
    assert wait_for_none() == 0


CALLER = """
import sys
from fasttts.code import CodeRunner, Limits, call_tests
with CodeRunner(limits=Limits(output_bytes={})) as runner:
    runner.run("import time; time.sleep(100)", call_tests("double", [((1,), 2)]))
"""


def test_nothing_outlives_a_caller_that_is_killed(marked_runner: CodeRunner) -> None:
    caller = subprocess.Popen([sys.executable, "-c", CALLER.format(OUTPUT_BYTES)])
    deadline = time.monotonic() + 30
    while num_processes() < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert num_processes() == 6  # of each sandbox bubblewrap, the first process, Python
    caller.kill()
    caller.wait()
    assert wait_for_none() == 0


@pytest.mark.parametrize("tests", [DOUBLED, ASSERTED], ids=["calls", "asserts"])
def test_a_right_program_passes(code_runner: CodeRunner, tests: CodeTests) -> None:
    verdict = code_runner.run("def double(x):\n    return x * 2", tests)
    assert (verdict.num_passed, verdict.problem) == (3, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """All hostile programs, several at a time."""

    folder: Path
    num_descriptors: int
    calls: dict[str, Call[Verdict]]


@pytest.fixture(scope="module")
def runs(marked_runner: CodeRunner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("temporary")
    num_descriptors = len(os.listdir("/proc/self/fd"))
    jobs = [
        functools.partial(run, marked_runner, program, ASSERTED if number % 2 else DOUBLED)
        for number, program in enumerate(PROGRAMS.values())
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        calls = [call for call, _ in marked_runner.submit(jobs)]
        names = dict(zip(PROGRAMS, calls, strict=True))
        yield Runs(folder=folder, num_descriptors=num_descriptors, calls=names)


def run(runner: CodeRunner, program: str, tests: CodeTests, cancellation: Cancellation) -> Verdict:
    return runner.run(program, tests, cancellation=cancellation)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_fails(runs: Runs, name: str) -> None:
    verdict = runs.calls[name].result(60)
    assert not verdict.is_right
    assert verdict.problem


def test_hostile_programs_leave_nothing_behind(runs: Runs) -> None:
    for call in runs.calls.values():
        call.result(60)
    assert wait_for_none() == 0
    assert os.listdir(runs.folder) == []
    assert [path for path in WRITTEN if Path(path).exists()] == []
    assert len(os.listdir("/proc/self/fd")) <= runs.num_descriptors
