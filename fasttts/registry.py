"""One engine for equal configurations in a process: models are loaded once and shared."""

import os
import threading
from dataclasses import dataclass

from fasttts.config import EngineConfig
from fasttts.engine import FastTTS
from fasttts.scheduling.memory import PLANNED_OPTIONS


@dataclass(slots=True)
class _Shared:
    engine: FastTTS
    num_users: int = 0


_lock = threading.Lock()
_engines: dict[str, _Shared] = {}


def shared_engine(config: EngineConfig) -> FastTTS:
    """The process's engine for `config`, loaded by the first caller.

    Every call counts one user; `release_engine` takes one back, the last of them closes the
    engine, and what nobody releases is closed at exit. Safe from any thread; later callers wait
    while the first one loads. An engine that was closed is replaced by a new one, and a forked
    process loads its own. Raises as `FastTTS.from_config` does.
    """
    set_by_user = sorted(config.scheduling.model_fields_set & PLANNED_OPTIONS)
    key = f"{config.model_dump_json()} {set_by_user}"
    with _lock:
        shared = _engines.get(key)
        if shared is None or shared.engine.is_closed:
            shared = _engines[key] = _Shared(FastTTS.from_config(config))
        shared.num_users += 1
        return shared.engine


def release_engine(engine: FastTTS) -> None:
    """Says that one user of a shared engine needs it no more; the last one closes it.

    Nothing happens to an engine that is not shared, or closed already.
    """
    with _lock:
        key = next((key for key, one in _engines.items() if one.engine is engine), None)
        if key is None:
            return
        _engines[key].num_users -= 1
        if _engines[key].num_users > 0:
            return
        del _engines[key]
    engine.close()


def _forget_all() -> None:
    """In a forked process: the parent's engines are not there, and the lock may be held."""
    global _lock  # noqa: PLW0603, the lock of a thread that the fork left behind
    _lock = threading.Lock()
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
