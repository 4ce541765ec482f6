"""One engine for equal configurations in a process: models are loaded once and shared."""

import threading

from fasttts.config import EngineConfig
from fasttts.engine import FastTTS

_lock = threading.Lock()
_engines: dict[str, FastTTS] = {}


def shared_engine(config: EngineConfig) -> FastTTS:
    """The process's engine for `config`, loaded by the first caller; closed at exit.

    Safe from any thread; later callers wait while the first one loads. An engine that was closed
    is replaced by a new one. Raises as `FastTTS.from_config` does.
    """
    key = config.model_dump_json()
    with _lock:
        engine = _engines.get(key)
        if engine is None or engine.is_closed:
            engine = _engines[key] = FastTTS.from_config(config)
        return engine
