"""Shared engines: one for equal configurations in a process, so that models are loaded once."""

import os
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Self

from fasttts.config import EngineConfig
from fasttts.engine.engine import FastTTS
from fasttts.errors import wrong_type
from fasttts.memory import PLANNED_OPTIONS


@dataclass(slots=True)
class _Shared:
    engine: FastTTS
    num_users: int = 0


_lock = threading.RLock()
"""Reentrant: finalizers may release an engine from any thread, also from the lock's holder."""

_engines: dict[str, _Shared] = {}


def shared_engine(config: EngineConfig) -> FastTTS:
    """Returns the process's engine for a configuration, loaded by the first caller.

    Every call counts one user; `release_engine` removes one, the last of them closes the engine,
    and an engine that is never released is closed at exit. Safe from any thread; later callers wait
    while the first one loads. An engine that was closed is replaced by a new one, and a forked
    process loads its own. Raises as `FastTTS.from_config` does.
    """
    if not isinstance(config, EngineConfig):
        raise wrong_type("config", config, "an EngineConfig; engine_config(...) makes one")
    set_by_user = sorted(config.scheduling.model_fields_set & PLANNED_OPTIONS)
    key = f"{config.model_dump_json()} {set_by_user}"
    with _lock:
        shared = _engines.get(key)
        if shared is None or shared.engine.is_closed:
            shared = _engines[key] = _Shared(FastTTS.from_config(config))
        shared.num_users += 1
        return shared.engine


def loaded_engine(generator: str) -> FastTTS | None:
    """Returns an open shared engine whose generator has this name; None where none is loaded."""
    with _lock:
        engines = [shared.engine for shared in _engines.values()]
    names = (one for one in engines if not one.is_closed and one.generator_name == generator)
    return next(names, None)


def release_engine(engine: FastTTS) -> None:
    """Removes one user of a shared engine; the last one closes it.

    No effect on an engine that is not shared, or closed already.

    Raises:
        ConfigurationError: It is no engine.
    """
    if not isinstance(engine, FastTTS):
        raise wrong_type("engine", engine, "a FastTTS that shared_engine returned")
    with _lock:
        key = _key_of(engine)
        if key is None:
            return
        _engines[key].num_users -= 1
        if _engines[key].num_users > 0:
            return
        del _engines[key]
    engine.close()


class EngineLease:
    """One user's lease of a shared engine: taken on first use, released once.

    A lease that is collected without `release` is no longer a user, but leaves the engine open for
    the next one. Copies of a lease begin without an engine.
    """

    def __init__(self) -> None:
        self._engine: FastTTS | None = None
        self._finalizer: weakref.finalize[[FastTTS], EngineLease] | None = None

    def take(self, config: EngineConfig) -> FastTTS:
        """Returns the shared engine; takes it again after `release`, a fork or the engine's end."""
        with _lock:
            if self._engine is None or self._engine.is_closed or _key_of(self._engine) is None:
                if self._finalizer is not None:
                    self._finalizer()
                self._engine = shared_engine(config)
                self._finalizer = weakref.finalize(self, _forget_user, self._engine)
                self._finalizer.atexit = False
            return self._engine

    def release(self) -> None:
        """Releases the engine, as `release_engine` does; has no effect a second time."""
        with _lock:
            engine, self._engine = self._engine, None
            if self._finalizer is not None:
                self._finalizer.detach()
        if engine is not None:
            release_engine(engine)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        return type(self), ()


def _key_of(engine: FastTTS) -> str | None:
    return next((key for key, one in _engines.items() if one.engine is engine), None)


def _forget_user(engine: FastTTS) -> None:
    with _lock:
        if key := _key_of(engine):
            _engines[key].num_users -= 1


def _forget_all() -> None:
    """Resets a forked process: the parent's engines are not there, and the lock may be held."""
    global _lock  # noqa: PLW0603, a thread that no longer exists may hold the old lock
    _lock = threading.RLock()
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
