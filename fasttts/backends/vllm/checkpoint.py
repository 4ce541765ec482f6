"""Checks of a model's files before it is loaded.

Reads file names, JSON and safetensors headers only, so that a wrong path or a half-copied model is
reported in milliseconds and before any memory is taken.
"""

import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fasttts.backends.vllm.gguf import check_gguf, try_gguf
from fasttts.config import option_hint
from fasttts.config.paths import user_path
from fasttts.decoding.published_sampling import read_published_sampling
from fasttts.errors import ConfigurationError, Role
from fasttts.verifiers.registry import find_family

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_GENERATION_CONFIG = "generation_config.json"
_JSON_FILES = ("tokenizer.json", "tokenizer_config.json", _GENERATION_CONFIG)
_TEMPLATE_FILES = (
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
    "tekken.json",
    "tokenizer.model.v3",
)
"""Files that hold a chat template, or a tokenizer that has one."""

_NO_GENERATOR = re.compile(r"RewardModel|PrmModel|(Sequence|Token)Classification")
"""Architectures that output scores or classes instead of text."""

_KNOWN_WITHOUT_CODE = {
    "Qwen2ForProcessRewardModel",
    "Qwen2ForRewardModel",
    "Qwen2ForPrmModel",
}
"""Verifiers whose repositories ship code that vLLM and its plugin make unnecessary."""

_TORCH_PATTERNS = ("*.bin", "*.pt", "*.pth")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model that passed the checks.

    Attributes:
        name: vLLM's name of it: an absolute directory or a hub name.
        role: The role in which it is used.
        config: The parsed `config.json`; empty for a hub name, which vLLM resolves.
        weight_bytes: Size of the weights on disk; None for a hub name.
        is_gguf: Whether vLLM reads everything about it from a GGUF file.
    """

    name: str
    role: Role
    config: Mapping[str, Any] = field(default_factory=dict)
    weight_bytes: int | None = None
    is_gguf: bool = False

    @property
    def is_local(self) -> bool:
        """Whether the files are local and were checked."""
        return self.weight_bytes is not None

    @property
    def max_model_len(self) -> int | None:
        """Context length in tokens, where the configuration states one."""
        text = self.config.get("text_config", self.config)
        length = text.get("max_position_embeddings")
        return length if isinstance(length, int) else None

    @property
    def is_quantized(self) -> bool:
        """Whether the configuration names a quantisation; unknown for a hub name."""
        return bool(self.config.get("quantization_config"))

    @property
    def architectures(self) -> tuple[str, ...]:
        """Model classes the configuration names; empty for a hub name."""
        return tuple(self.config.get("architectures") or ())


def check_checkpoint(
    name: str, role: Role, trust_remote_code: bool = False, verifier_format: str = "auto"
) -> Checkpoint:
    """Checks a model before any memory is taken.

    A name that starts with `.`, `/` or `~`, that has more than one separator, or that exists is a
    directory; anything else is a hub name and left to vLLM.

    Args:
        name: A directory or a hub name.
        role: The role in which it is used.
        trust_remote_code: Whether code in a model's repository may run.
        verifier_format: Prompt format of a verifier.

    Raises:
        ConfigurationError: The directory cannot be loaded; the message says what is missing or
            broken, or how to convert a GGUF model.
    """
    if (gguf := try_gguf(name)) is not None:
        check_gguf(gguf, role)
        return Checkpoint(name=gguf, role=role, is_gguf=True)
    if not is_path(name):
        return Checkpoint(name=name, role=role)
    folder = user_path(name).absolute()
    if not folder.is_dir():
        what = "is a file, not a model directory" if folder.exists() else "does not exist"
        raise _error(role, folder, f"{what}: give a directory with config.json and safetensors")
    config = _read_config(role, folder)
    _check_named_architectures(role, folder, config, verifier_format)
    _check_remote_code(role, folder, config, trust_remote_code)
    _check_tokenizer(role, folder)
    weights = _weight_files(role, folder)
    for file in weights:
        _check_safetensors(role, file)
    size = sum(file.stat().st_size for file in weights)
    return Checkpoint(name=str(folder), role=role, config=config, weight_bytes=size)


def check_architectures(
    role: Role, name: str, config: Mapping[str, Any], verifier_format: str = "auto"
) -> None:
    """Checks that a model with this configuration can be used in a role.

    Args:
        role: The role.
        name: The model, for messages.
        config: Its parsed `config.json`.
        verifier_format: Prompt format of a verifier.

    Raises:
        ConfigurationError: It cannot.
    """
    architectures = map(str, config.get("architectures") or ())
    if role == "verifier":
        find_family(name, config, verifier_format)
    elif wrong := next(filter(_NO_GENERATOR.search, architectures), None):
        raise ConfigurationError(
            f"generator={name!r}: a {wrong} scores text and generates none: name a language model "
            f"here {option_hint('generator')}, and this one as the verifier "
            f"{option_hint('verifier')}"
        )


def check_chat_template(name: str) -> None:
    """Checks that a generator in a directory can be asked in conversations.

    Rendered prompts need no template, so that a model without one can be loaded.

    Args:
        name: The generator; a name on a hub is checked when it is asked.

    Raises:
        ConfigurationError: It has no chat template.
    """
    folder = user_path(name).absolute()
    if not (is_path(name) and folder.is_dir()) or try_gguf(name) is not None:
        return
    config = folder / "tokenizer_config.json"
    is_in_config = config.is_file() and "chat_template" in _read_json("generator", config)
    if not is_in_config and not any((folder / file).exists() for file in _TEMPLATE_FILES):
        raise _error(
            "generator",
            folder,
            "has no chat template: use an instruction-tuned model, or add chat_template.jinja",
        )


def is_path(name: str) -> bool:
    """Whether a model name is a directory rather than a name on a hub."""
    return name.startswith((".", "~", os.sep)) or name.count(os.sep) > 1 or Path(name).exists()


def _error(role: Role, path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(f"{role}={str(path)!r} {what} {option_hint(role)}")


def _read_json(role: Role, file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _error(role, file, f"cannot be read ({error}): copy the file again") from error
    if not isinstance(content, dict):
        raise _error(role, file, "does not hold a JSON object: copy the file again")
    return content


def _read_config(role: Role, folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise _error(role, folder, "has no config.json: give the directory of a Hugging Face model")
    return _read_json(role, file)


def _check_named_architectures(
    role: Role, folder: Path, config: Mapping[str, Any], verifier_format: str
) -> None:
    architectures = config.get("architectures")
    if not (isinstance(architectures, list) and architectures):
        raise _error(role, folder / "config.json", "names no architectures: add the model's class")
    check_architectures(role, str(folder), config, verifier_format)


def _check_tokenizer(role: Role, folder: Path) -> None:
    if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise _error(role, folder, "has no tokenizer: save the model's tokenizer.json beside it")
    for file in filter(Path.is_file, map(folder.joinpath, _JSON_FILES)):
        content = _read_json(role, file)
        if file.name == _GENERATION_CONFIG and role == "generator":
            read_published_sampling(content, f"{role}={str(file)!r}")


def _check_remote_code(
    role: Role, folder: Path, config: Mapping[str, Any], trust_remote_code: bool
) -> None:
    needed = config.get("auto_map") and not _is_known_without_code(config)
    if needed and not trust_remote_code:
        raise _error(
            role,
            folder,
            "needs Python code shipped in its repository (auto_map in config.json): "
            f"read that code, then set trust_remote_code=True {option_hint('trust_remote_code')}",
        )


def _is_known_without_code(config: Mapping[str, Any]) -> bool:
    """Whether vLLM and transformers have this architecture and its configuration built in."""
    named = set(map(str, config.get("architectures", ())))
    return bool(named & _KNOWN_WITHOUT_CODE) and config.get("model_type") == "qwen2"


def _weight_files(role: Role, folder: Path) -> list[Path]:
    index = folder / _INDEX
    if index.is_file():
        return _indexed_files(role, index)
    found = sorted(folder.glob("*.safetensors"))
    if found:
        return found
    if any(any(folder.glob(pattern)) for pattern in _TORCH_PATTERNS):
        raise _error(
            role,
            folder,
            "has weights in PyTorch's pickle format only: convert them to safetensors "
            "(model.save_pretrained writes that format)",
        )
    raise _error(role, folder, "has no *.safetensors: copy the weights into it")


def _indexed_files(role: Role, index: Path) -> list[Path]:
    weight_map = _read_json(role, index).get("weight_map")
    if not (isinstance(weight_map, dict) and weight_map):
        raise _error(role, index, "has no weight_map: copy the file again")
    files = [index.parent / str(name) for name in sorted(set(weight_map.values()))]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise _error(
            role,
            index.parent,
            f"lacks {len(absent)} of {len(files)} weight files that {index.name} names: "
            f"copy {', '.join(absent[:3])}{' ...' if len(absent) > 3 else ''}",
        )
    return files


def _check_safetensors(role: Role, file: Path) -> None:
    """Compares the length that a header implies with the file's.

    A safetensors file is 8 bytes of header length, a JSON header, and the tensors; the largest end
    offset in the header is the length of the last part.
    """
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > size - 8:
                raise ValueError(f"its header of {length} bytes does not fit into {size} bytes")
            header = json.loads(stream.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name[:2] != "__"]
        expected = 8 + length + max(ends, default=0)
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise _error(role, file, f"is not a safetensors file ({error}): copy it again") from error
    if expected != size:
        raise _error(role, file, f"is {size} bytes where its header says {expected}: copy it again")
