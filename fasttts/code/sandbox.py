"""What keeps a program from everything but its own process: a tool of the system.

`find_sandbox` tries the tool once, on a program that does nothing, and refuses where it does not
work: models' programs never run unprotected unless the caller says so.
"""

import functools
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

from fasttts.code.limits import Limits
from fasttts.code.seccomp import filter_program, try_machine
from fasttts.errors import ConfigurationError

SandboxName = Literal["auto", "bubblewrap", "none"]
WORKER: Final = Path(__file__).with_name("worker.py")
_WORKER_INSIDE: Final = "/worker.py"
"""The worker's place in the sandbox's own file system."""

PROBE_LIMIT_S = 30.0
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/nix/store")
_DANGER = (
    "sandbox='none' runs programs that a model wrote with your own rights: they can read, change "
    "and send whatever you can"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How a process is started.

    Attributes:
        arguments: Program and arguments.
        environment: All of its environment.
        inherited: File descriptors that it needs beside those of its caller.
    """

    arguments: Sequence[str]
    environment: dict[str, str]
    inherited: tuple[int, ...] = ()


class Sandbox(Protocol):
    """Starts Python where it can reach nothing: a container or a WebAssembly runtime may do so too.

    What it starts ends with the process that `command` describes, however that one ends.
    """

    @property
    def name(self) -> str:
        """For messages, results and fingerprints."""
        ...

    @property
    def has_own_user(self) -> bool:
        """Whether the processes of its user are its own, so that the kernel can count them."""
        ...

    def command(self, arguments: Sequence[str], limits: Limits) -> AbstractContextManager[Command]:
        """The command that runs the worker, valid until its context ends.

        Args:
            arguments: The worker's.
            limits: What it may use; the worker sets those that `Limits.rlimits` names itself.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubblewrap:
    """Linux namespaces by way of bubblewrap, and a filter of system calls.

    There is no network, no process but the worker, no file but Python and the system's libraries,
    which are read-only, and nothing to write to but what `Limits.scratch_bytes` gives.

    Attributes:
        program: Path of `bwrap`.
        machine: The architecture, which decides the filter.
    """

    program: str
    machine: str

    @property
    def name(self) -> str:
        """The tool's name."""
        return "bubblewrap"

    @property
    def has_own_user(self) -> bool:
        """A namespace of users counts for itself."""
        return True

    @contextmanager
    def command(self, arguments: Sequence[str], limits: Limits) -> Iterator[Command]:
        """Describes the start of a worker; see `Sandbox.command`."""
        reader, writer = os.pipe()
        try:
            with open(writer, "wb") as file:
                file.write(filter_program(self.machine))  # smaller than any pipe
            wrapped = [self.program, *_NAMESPACES, "--seccomp", str(reader), *_files(limits)]
            python = [os.path.realpath(sys.executable), "-I", "-S", "-B", _WORKER_INSIDE]
            yield Command(
                arguments=[*wrapped, "--", *python, *arguments],
                environment={"PYTHONHASHSEED": "0"},
                inherited=(reader,),
            )
        finally:
            os.close(reader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprotected:
    """No sandbox: limits of time and memory alone, which a program that means harm gets around."""

    @property
    def name(self) -> str:
        """The word for it."""
        return "none"

    @property
    def has_own_user(self) -> bool:
        """The user is the caller."""
        return False

    @contextmanager
    def command(self, arguments: Sequence[str], limits: Limits) -> Iterator[Command]:
        """Describes the start of a worker; see `Sandbox.command`."""
        python = [os.path.realpath(sys.executable), "-I", "-S", "-B", str(WORKER)]
        yield Command(arguments=[*python, *arguments], environment={"PYTHONHASHSEED": "0"})


# No `--new-session`: bubblewrap binds its child's life to its own only after some work, and until
# then the process group, which the worker's starter kills as a whole, is what ends the child. There
# is no terminal to keep from it: the starter begins a session.
_NAMESPACES = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
    *("--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
    *("--cap-drop", "ALL", "--die-with-parent", "--clearenv"),
    *("--setenv", "PYTHONHASHSEED", "0", "--setenv", "HOME", "/tmp"),
    *("--setenv", "LANG", "C.UTF-8"),
)


def _files(limits: Limits) -> list[str]:
    """The file system of a program: Python, and no more."""
    found = []
    for folder in _python_folders():
        found += ["--ro-bind", folder, folder]
    for folder in _package_folders():
        found += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
    found += ["--ro-bind", str(WORKER), _WORKER_INSIDE, "--dir", "/dev"]
    for device in ("/dev/null", "/dev/urandom"):
        found += ["--dev-bind", device, device]
    if limits.scratch_bytes:
        found += ["--size", str(limits.scratch_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp"]
    else:
        found += ["--chdir", "/"]
    return [*found, "--remount-ro", "/"]


@functools.cache
def _python_folders() -> tuple[str, ...]:
    """The interpreter, its standard library and the system's shared libraries."""
    executable = os.path.realpath(sys.executable)
    own = [executable, *_standard_library()]
    library = Path(sysconfig.get_config_var("LIBDIR") or "", f"lib{_python_library()}")
    own += [str(library)] if library.is_file() else []
    existing = [path for path in (*_LIBRARIES, *own) if os.path.exists(path)]
    return tuple(dict.fromkeys(existing))


def _standard_library() -> list[str]:
    """Its folders, of the interpreter itself where it runs in a virtual environment."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    return [sysconfig.get_path(name, vars=base) for name in ("stdlib", "platstdlib")]


@functools.cache
def _package_folders() -> tuple[str, ...]:
    """Folders of installed packages within them, which are hidden."""
    names = ("site-packages", "dist-packages")
    folders = [os.path.join(each, name) for each in _standard_library() for name in names]
    return tuple(dict.fromkeys(folder for folder in folders if os.path.isdir(folder)))


def _python_library() -> str:
    return str(sysconfig.get_config_var("INSTSONAME") or "").removeprefix("lib")


def check_sandbox_name(name: str) -> None:
    """Checks the name of a sandbox.

    Args:
        name: The name.

    Raises:
        ConfigurationError: There is none of that name.
    """
    if name not in get_args(SandboxName):
        raise ConfigurationError(f"sandbox={name!r}: choose of {get_args(SandboxName)}")


def find_sandbox(choice: SandboxName | Sandbox = "auto") -> Sandbox:
    """The sandbox that an option names, tried on a program that does nothing.

    Args:
        choice: "auto" takes bubblewrap; "none" runs programs unprotected; or a sandbox.

    Raises:
        ConfigurationError: There is no such sandbox here, or it does not work.
    """
    if not isinstance(choice, str):
        return choice
    check_sandbox_name(choice)
    if choice == "none":
        return Unprotected()
    program, machine = shutil.which("bwrap"), try_machine()
    if program is None:
        raise _refusal("bubblewrap is not installed: install it (Debian, Fedora: bubblewrap)")
    if machine is None:
        raise _refusal(f"there is no filter of system calls for {platform.machine()} processors")
    return _bubblewrap(program, machine)


@functools.cache
def _bubblewrap(program: str, machine: str) -> Sandbox:
    sandbox = Bubblewrap(program=program, machine=machine)
    if problem := _try_problem(sandbox):
        raise _refusal(f"bubblewrap does not work here ({problem}): allow user namespaces")
    return sandbox


def _refusal(reason: str) -> ConfigurationError:
    return ConfigurationError(f"programs cannot be run safely here: {reason}. {_DANGER}")


def _try_problem(sandbox: Sandbox) -> str | None:
    """Why a sandbox does not start Python; None where it does."""
    with sandbox.command(["probe", "{}"], Limits()) as command:
        try:
            done = subprocess.run(
                command.arguments,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=command.environment,
                pass_fds=command.inherited,
                timeout=PROBE_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    if done.stdout == b"ready\n":
        return None
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return last[0] if last else f"exit status {done.returncode}"
