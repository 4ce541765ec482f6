"""Limits of the run of one program."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from fasttts.errors import ConfigurationError

_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What running one program against its tests may take.

    A run has two processes, the program's and the tests'; each is bounded by itself. Neither can
    start a process of its own.

    Attributes:
        cpu_s: Seconds of processor time of each, whole ones.
        wall_s: Seconds on the wall of a run, for programs that wait. Far above `cpu_s`, since it
            depends on how busy the machine is.
        memory_bytes: Address space of each.
        output_bytes: What a program may return, all its values together.
        source_bytes: Longest program; a longer one fails unread.
        scratch_bytes: Space for files in `/tmp`; with 0 nothing can be written. Kept in memory.
        open_files: Files, pipes and sockets that are open at a time.
        num_threads: Threads of a process, where the sandbox gives it a user of its own and that is
            not the system's root; memory bounds them too.

    Raises:
        ConfigurationError: A limit is not positive, or too small for a Python interpreter.
    """

    cpu_s: int = 5
    wall_s: float = 30.0
    memory_bytes: int = 512 * _MIB
    output_bytes: int = 4 * _MIB
    source_bytes: int = _MIB // 4
    scratch_bytes: int = 0
    open_files: int = 64
    num_threads: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name != "scratch_bytes"):
                raise ConfigurationError(f"{field.name}={value}: give a positive number")
        if self.memory_bytes < 64 * _MIB or self.open_files < 16:
            raise ConfigurationError(
                f"memory_bytes={self.memory_bytes}, open_files={self.open_files}: Python itself "
                f"needs {64 * _MIB} and 16"
            )

    def rlimits(self, *, has_own_user: bool) -> Mapping[str, int]:
        """The limits that the kernel keeps, by their names in the module `resource`.

        Args:
            has_own_user: Whether the processes of the user are those of the sandbox alone.
        """
        return {
            **({"RLIMIT_NPROC": self.num_threads} if has_own_user else {}),
            "RLIMIT_CPU": int(self.cpu_s),
            "RLIMIT_AS": self.memory_bytes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_FSIZE": self.scratch_bytes,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
        }
