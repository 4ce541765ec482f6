"""One engine for equal configurations in a process: models are loaded once and shared."""

import threading

from fasttts.config import EngineConfig
from fasttts.engine import FastTTS
from fasttts.scheduling.memory import PLANNED_OPTIONS

_lock = threading.Lock()
_engines: dict[str, FastTTS] = {}


def shared_engine(config: EngineConfig) -> FastTTS:
    """The process's engine for `config`, loaded by the first caller; closed at exit.

    Safe from any thread; later callers wait while the first one loads. An engine that was closed
    is replaced by a new one. Raises as `FastTTS.from_config` does.
    """
    set_by_user = sorted(config.scheduling.model_fields_set & PLANNED_OPTIONS)
    key = f"{config.model_dump_json()} {set_by_user}"
    with _lock:
        engine = _engines.get(key)
        if engine is None or engine.is_closed:
            engine = _engines[key] = FastTTS.from_config(config)
        return engine
