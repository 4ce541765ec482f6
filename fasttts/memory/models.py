"""The shapes of common generators and verifiers, so that planning needs no download.

The numbers are those of the models' public `config.json`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from fasttts.config.paths import user_path
from fasttts.errors import ConfigurationError
from fasttts.memory.shapes import ModelShape, read_shape

_SIZES = ("hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads")

_QWEN25 = {"head_dim": 128, "vocab_size": 151_936, "max_model_len": 32_768, "has_qkv_bias": True}
_QWEN25_LARGE = _QWEN25 | {"vocab_size": 152_064}
_QWEN3 = {"head_dim": 128, "vocab_size": 151_936, "max_model_len": 40_960, "has_qk_norm": True}
_LLAMA3 = {"head_dim": 128, "vocab_size": 128_256, "max_model_len": 131_072}
_TIED = {"is_tied": True}


def _shape(
    name: str, sizes: tuple[int, int, int, int, int], family: Mapping[str, Any]
) -> ModelShape:
    """A model of a family; its sizes are in the order of `_SIZES`."""
    values: dict[str, Any] = dict(zip(_SIZES, sizes, strict=True))
    return ModelShape(name=name, **values, **family)


_QWEN25_1_5B = _shape("Qwen2.5-1.5B", (1536, 8960, 28, 12, 2), _QWEN25 | _TIED)
_QWEN25_7B = _shape("Qwen2.5-7B", (3584, 18_944, 28, 28, 4), _QWEN25_LARGE)
_MATH_1_5B = replace(_QWEN25_1_5B, name="Qwen2.5-Math-1.5B", max_model_len=4096)
_MATH_7B = replace(_QWEN25_7B, name="Qwen2.5-Math-7B", max_model_len=4096)
_LLAMA_8B = _shape("Llama-3.1-8B", (4096, 14_336, 32, 32, 8), _LLAMA3)

_WITH_INSTRUCT = (
    _MATH_1_5B,
    _MATH_7B,
    _QWEN25_1_5B,
    _shape("Qwen2.5-3B", (2048, 11_008, 36, 16, 2), _QWEN25 | _TIED),
    _QWEN25_7B,
    _shape("Qwen2.5-14B", (5120, 13_824, 48, 40, 8), _QWEN25_LARGE),
    _shape("Llama-3.2-1B", (2048, 8192, 16, 32, 8), _LLAMA3 | _TIED | {"head_dim": 64}),
    _shape("Llama-3.2-3B", (3072, 8192, 28, 24, 8), _LLAMA3 | _TIED),
    _LLAMA_8B,
)
"""Base models whose instruction-tuned form has the same shape and "-Instruct" in its name."""

_OTHERS = (
    _shape("Qwen3-0.6B", (1024, 3072, 28, 16, 8), _QWEN3 | _TIED),
    _shape("Qwen3-1.7B", (2048, 6144, 28, 16, 8), _QWEN3 | _TIED),
    _shape("Qwen3-4B", (2560, 9728, 36, 32, 8), _QWEN3 | _TIED),
    _shape("Qwen3-8B", (4096, 12_288, 36, 32, 8), _QWEN3),
    replace(
        _QWEN25_1_5B, name="DeepSeek-R1-Distill-Qwen-1.5B", max_model_len=131_072, is_tied=False
    ),
    replace(_QWEN25_7B, name="DeepSeek-R1-Distill-Qwen-7B", max_model_len=131_072),
    replace(_MATH_1_5B, name="Skywork-o1-Open-PRM-Qwen-2.5-1.5B", head="value"),
    replace(_MATH_7B, name="Skywork-o1-Open-PRM-Qwen-2.5-7B", head="value"),
    replace(_MATH_7B, name="Qwen2.5-Math-PRM-7B", head="reward"),
    replace(
        _LLAMA_8B, name="math-shepherd-mistral-7b-prm", vocab_size=32_000, max_model_len=32_768
    ),
    replace(_LLAMA_8B, name="Llama3.1-8B-PRM-Deepseek-Data"),
    replace(_LLAMA_8B, name="Llama3.1-8B-PRM-Mistral-Data"),
)


def _with_instruct() -> Iterator[ModelShape]:
    for shape in _WITH_INSTRUCT:
        yield shape
        yield replace(shape, name=f"{shape.name}-Instruct")


MODELS: Mapping[str, ModelShape] = {shape.name: shape for shape in (*_with_instruct(), *_OTHERS)}

_KNOWN = {name.lower(): shape for name, shape in MODELS.items()} | {
    "llama3.1-8b-prm": replace(_LLAMA_8B, name="Llama3.1-8B-PRM")
}


def find_shape(name: str) -> ModelShape:
    """Reads the shape of a model directory, or finds that of the table's model of this name.

    The organisation before the name may be left out; case is ignored.

    Raises:
        ConfigurationError: The table does not have it, or the directory is no model.
    """
    if user_path(name).is_dir():
        return read_shape(user_path(name))
    short = name.rpartition("/")[2].lower()
    if short in _KNOWN:
        return _KNOWN[short]
    close = get_close_matches(short, _KNOWN, n=1)
    hint = f"did you mean {_KNOWN[close[0]].name!r}?" if close else "`--list-models` shows all"
    raise ConfigurationError(
        f"the shape of model {name!r} is not known: {hint} (others are read from a model directory)"
    )
