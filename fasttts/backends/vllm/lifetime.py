"""Building and closing vLLM engines when several live in one process.

vLLM keeps its process groups in module globals that all engines of a process share, and an
engine's own shutdown destroys them, which breaks every engine that is still open. So engines are
counted here, and only the last one to close takes the shared state down. An engine with a process
of its own shares nothing and is not counted.
"""

import gc
import sys
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.environment import quiet, set_environment
from fasttts.backends.vllm.translation import opening
from fasttts.errors import Role

if TYPE_CHECKING:
    from vllm import LLM

NOTHING: Mapping[str, str] = MappingProxyType({})

_lock = threading.Lock()
_open_engines: set[int] = set()


def open_engine(role: Role, *, environment: Mapping[str, str] = NOTHING, **arguments: Any) -> "LLM":
    """An engine in this process.

    Args:
        role: What it is used as.
        environment: Variables to be set while the engine opens; one of them may give it a process
            of its own (`memory.process_environment`).
        arguments: Those of `LLM`.

    Raises:
        FastTTSError: See `translation.opening`.
    """
    with _lock, quiet(), opening(role, arguments["model"]), set_environment(environment):
        from vllm import LLM

        _hide_invented_attributes()
        llm = LLM(**arguments)
        if hasattr(llm.llm_engine.engine_core, "engine_core"):
            _open_engines.add(id(llm))
        return llm


def _hide_invented_attributes() -> None:
    """Keeps llvmlite, where numba has loaded it, from breaking vLLM's start on a CPU.

    vLLM 0.32 looks at the `__dict__` of every object of every module. llvmlite's library object
    invents any attribute it is asked for, that one included.
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
    with _lock, quiet():
        shares_process = id(llm) in _open_engines
        _open_engines.discard(id(llm))
        if shares_process and _open_engines:
            _shut_down_alone(llm)
        else:
            llm.llm_engine.engine_core.shutdown()
        del llm.llm_engine
    gc.collect()


def _shut_down_alone(llm: "LLM") -> None:
    """`EngineCore.shutdown` of vLLM 0.32 without the end of the shared process groups."""
    client: Any = llm.llm_engine.engine_core
    finalizer = getattr(client, "_finalizer", None)
    if finalizer is not None:
        finalizer.detach()
    core = client.engine_core
    core.structured_output_manager.clear_backend()
    core.model_executor.shutdown()
    core.scheduler.shutdown()
    gc.unfreeze()
