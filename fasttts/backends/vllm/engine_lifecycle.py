"""Building and closing vLLM engines when several live in one process.

vLLM keeps its process groups in module globals that all engines of a process share, and an
engine's own shutdown destroys them, which breaks every engine that is still open. So engines are
counted here, and only the last one to close takes the shared state down. An engine whose core is in
another process shares nothing and is not counted. Where a model is spread over several ranks, each
is a process of its own, and the engine's core and scheduler are here.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.environment import quiet, set_environment
from fasttts.backends.vllm.error_translation import builder
from fasttts.backends.vllm.garbage import collected_behind
from fasttts.backends.vllm.numerics import VARIABLE
from fasttts.errors import Role

if TYPE_CHECKING:
    from vllm import LLM

_LONGEST_WAIT_S = 5.0

_BINDING = "VLLM_CPU_OMP_THREADS_BIND"
"""vLLM's variable of the cores on which each rank of a CPU runs."""

_lock = threading.Lock()
_open_engines: set[int] = set()


def open_engine(
    role: Role,
    *,
    has_own_process: bool = False,
    environment: Mapping[str, str] = MappingProxyType({}),
    **arguments: Any,
) -> "LLM":
    """Opens an engine.

    Args:
        role: The role in which it is used.
        has_own_process: Whether its model runs in a process of its own, not in this one.
        environment: Variables of vLLM's that this engine alone is opened with.
        arguments: Arguments of `LLM`.

    Raises:
        FastTTSError: See `error_translation.builder`.
    """
    is_spread = int(arguments.get("tensor_parallel_size") or 1) > 1
    alone = _ranks() if is_spread else nullcontext()
    where = _own_process() if has_own_process else alone
    given = _environment(environment) if environment else nullcontext()
    model = arguments["model"]
    with _lock, quiet() as hidden, builder(role, model, hidden), _usable_kernels(), given, where:
        from vllm import LLM

        _hide_invented_attributes()
        _allow_graphs()
        gc.freeze()  # vLLM collects several times on its way, and at the end freezes its own
        llm = LLM(**arguments)
        if hasattr(llm.llm_engine.engine_core, "engine_core"):
            _open_engines.add(id(llm))
        return llm


@contextmanager
def _usable_kernels() -> Iterator[None]:
    """Keeps an engine on a CPU from vLLM's batch-invariant kernels, with which requests fail there.

    It caches the environment while the engine opens, and so has no such kernels afterwards either.
    """
    with set_environment({VARIABLE: None}) if _is_cpu() else nullcontext():
        yield


@contextmanager
def _own_process() -> Iterator[None]:
    """Makes vLLM start a process for an engine that is opened in the body.

    On a CPU vLLM reads the variable itself, whatever it has cached, and then starts a worker for
    the model: that suffices, and opens sooner than a second process for the engine.
    """
    anew = nullcontext() if _is_cpu() else _read_anew()
    environment = set_environment({"VLLM_ENABLE_V1_MULTIPROCESSING": "1"})
    with anew, environment, _guarded():
        yield


@contextmanager
def _ranks() -> Iterator[None]:
    """Prepares for an engine with several ranks that is opened in the body.

    Ranks are started anew and not forked, since this process has threads. On a CPU they share the
    cores: vLLM would give each a memory node of its own, of which most machines have only one.
    """
    variables = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    if _is_cpu():
        variables[_BINDING] = os.environ.get(_BINDING, "nobind")
    with _environment(variables), _guarded():
        yield


@contextmanager
def _guarded() -> Iterator[None]:
    """Guards this process and those that are started in the body from each other."""
    with _nameless(), _undisturbed(), _ended_on_failure():
        yield


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables for an engine that is opened in the body."""
    with _read_anew(), set_environment(variables):
        yield


@contextmanager
def _read_anew() -> Iterator[None]:
    """Makes vLLM read the environment again, which it caches from its first engine on."""
    from vllm import envs

    envs.disable_envs_cache()
    try:
        yield
    finally:
        envs.enable_envs_cache()


def _is_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


@contextmanager
def _ended_on_failure() -> Iterator[None]:
    """Ends the processes that vLLM leaves behind where an engine cannot be opened."""
    before = multiprocessing.active_children()
    try:
        yield
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in before and child.name.startswith(("VllmWorker", "EngineCore")):
                child.kill()
                child.join()
        raise


@contextmanager
def _nameless() -> Iterator[None]:
    """Keeps Python from importing the program's main module in processes started in the body.

    That would run a script again that does not guard itself; the engine needs nothing of it. The
    file's name is taken away, since `inspect` fails on one that is None, and the specification is
    None, since `multiprocessing` looks for one.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keeps Ctrl-C, which a terminal sends to all its processes, from those started in the body.

    vLLM's processes would end on it, and an interrupted search with them. They inherit the signals
    that are blocked here.
    """
    resource_tracker.ensure_running()  # started later, it would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _allow_graphs() -> None:
    """Lets an engine capture CUDA graphs after another one has.

    vLLM's first model runner forbids it for the whole process once it has captured its own, and the
    second does not allow it again (0.24).
    """
    from vllm.compilation.monitor import set_cudagraph_capturing_enabled

    set_cudagraph_capturing_enabled(True)


def _hide_invented_attributes() -> None:
    """Keeps llvmlite, where numba has loaded it, from breaking vLLM's start on a CPU.

    vLLM 0.32 reads the `__dict__` of every object of every module. llvmlite's library object
    creates any attribute on access, that one included.
    """
    module = sys.modules.get("llvmlite.binding.ffi")
    kind: Any = type(getattr(module, "lib", None))
    invent = kind.__dict__.get("__getattr__")
    if invent is None or getattr(invent, "is_guarded", False):
        return

    def getattribute(library: object, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return invent(library, name)

    getattribute.is_guarded = True  # type: ignore[attr-defined]  # functions take any attribute
    kind.__getattr__ = getattribute


def close_engine(llm: "LLM") -> None:
    """Frees an engine's memory; the caller drops its own references afterwards."""
    # On a GPU, vLLM gives memory back to the device behind its own collections.
    with _lock, quiet(), collected_behind(is_only=_is_cpu()):
        ranks = _ranks_of(llm)
        shares_process = id(llm) in _open_engines
        _open_engines.discard(id(llm))
        if shares_process and _open_engines:
            _shut_down_alone(llm)
        else:
            llm.llm_engine.engine_core.shutdown()
            _close_sockets(llm.llm_engine.engine_core)
        for rank in ranks:
            _end(rank)
        del llm.llm_engine


def _ranks_of(llm: "LLM") -> list[BaseProcess]:
    """The processes of an engine whose core is in this process and whose model is in others."""
    core = getattr(llm.llm_engine.engine_core, "engine_core", None)
    workers = getattr(getattr(core, "model_executor", None), "workers", None) or ()
    return [worker.proc for worker in workers]


def _end(rank: BaseProcess) -> None:
    """Waits for a process's end; vLLM does not where another rank has died before."""
    rank.join(_LONGEST_WAIT_S)
    if rank.is_alive():
        rank.kill()
        rank.join()


def _leave_to_parent() -> None:
    """Makes a forked process forget vLLM's finalizers and processes, which are the parent's.

    At its exit it would run the former and end the latter.
    """
    registered: Any = weakref.finalize
    for finalizer in list(registered._registry):
        found = finalizer.peek()
        if found is not None and str(getattr(found[1], "__module__", "")).startswith("vllm"):
            finalizer.detach()
    children: Any = multiprocessing.process
    children._children.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


def _close_sockets(client: Any) -> None:
    """Closes the sockets to an engine's process, which vLLM leaves to the garbage collector."""
    context = getattr(client, "ctx", None)
    if context is None:
        return
    client.output_queue_thread.join(_LONGEST_WAIT_S)  # it closes its own
    if not client.output_queue_thread.is_alive():
        context.destroy(linger=0)


def _shut_down_alone(llm: "LLM") -> None:
    """Runs `EngineCore.shutdown` of vLLM 0.32 without ending the shared process groups."""
    client: Any = llm.llm_engine.engine_core
    finalizer = getattr(client, "_finalizer", None)
    if finalizer is not None:
        finalizer.detach()
    core = client.engine_core
    core.structured_output_manager.clear_backend()
    core.model_executor.shutdown()
    core.scheduler.shutdown()
    gc.unfreeze()
