"""Identity of a loaded model for the result cache: its files, precision, device and software."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.config import ModelConfig

_SAMPLED_BYTES = 1 << 26
"""Size above which a file is identified by evenly spread samples of so many bytes and its time."""

_NUM_SAMPLES = 64
_SUFFIXES = (".bin", ".gguf", ".jinja", ".json", ".model", ".py", ".safetensors", ".txt")


def model_fingerprint(llm: "LLM", settings: Mapping[str, Any]) -> str:
    """Hashes everything about a model that can change its outputs.

    Args:
        llm: The loaded model.
        settings: Further options of the model; every value is hashed by its `repr`.
    """
    import vllm
    from vllm.platforms import current_platform

    model = llm.llm_engine.vllm_config.model_config
    content = {
        "files": _digest_of_folder(model_folder(model)),
        "dtype": str(model.dtype),
        "quantization": str(model.quantization),
        "max_model_len": model.max_model_len,
        "device": current_platform.get_device_name(),
        "vllm": vllm.__version__,
        "torch": importlib.metadata.version("torch"),
        "settings": {name: repr(value) for name, value in settings.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def model_folder(model: "ModelConfig") -> Path:
    """Directory of the files: the model's own, or a snapshot in the hub's local cache."""
    if Path(model.model).exists():
        return Path(model.model) if Path(model.model).is_dir() else Path(model.model).parent
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model.model, "config.json", revision=model.revision)
    return Path(str(found)).parent


def _digest_of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix in _SUFFIXES:
            digest.update(f"{file.name} {file.stat().st_size} ".encode())
            for part in _parts(file):
                digest.update(part)
    return digest.hexdigest()


def _parts(file: Path) -> Iterator[bytes]:
    """Content to hash for a file: all of it, its content hash on a hub, or samples of it."""
    blob, size = file.resolve(), file.stat().st_size
    if blob.parent.name == "blobs":
        yield blob.name.encode()
        return
    with file.open("rb") as stream:
        if size <= _SAMPLED_BYTES:
            yield stream.read()
            return
        yield str(file.stat().st_mtime_ns).encode()
        for number in range(_NUM_SAMPLES):
            stream.seek(number * (size // _NUM_SAMPLES))
            yield stream.read(_SAMPLED_BYTES // _NUM_SAMPLES)
