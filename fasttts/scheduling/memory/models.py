"""The shapes of common generators and verifiers, so that planning needs no download.

The numbers are those of the models' public `config.json`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from fasttts.errors import ConfigurationError
from fasttts.scheduling.memory.shapes import ModelShape, read_shape

_QWEN25_1_5B = ModelShape(
    name="Qwen2.5-1.5B",
    hidden_size=1536,
    intermediate_size=8960,
    num_layers=28,
    num_heads=12,
    num_kv_heads=2,
    head_dim=128,
    vocab_size=151_936,
    max_model_len=32_768,
    is_tied=True,
    has_qkv_bias=True,
)
_QWEN25_3B = replace(
    _QWEN25_1_5B,
    name="Qwen2.5-3B",
    hidden_size=2048,
    intermediate_size=11_008,
    num_layers=36,
    num_heads=16,
)
_QWEN25_7B = replace(
    _QWEN25_1_5B,
    name="Qwen2.5-7B",
    hidden_size=3584,
    intermediate_size=18_944,
    num_heads=28,
    num_kv_heads=4,
    vocab_size=152_064,
    is_tied=False,
)
_QWEN25_14B = replace(
    _QWEN25_7B,
    name="Qwen2.5-14B",
    hidden_size=5120,
    intermediate_size=13_824,
    num_layers=48,
    num_heads=40,
    num_kv_heads=8,
)
_MATH_1_5B = replace(_QWEN25_1_5B, name="Qwen2.5-Math-1.5B", max_model_len=4096)
_MATH_7B = replace(_QWEN25_7B, name="Qwen2.5-Math-7B", max_model_len=4096)
_QWEN3_0_6B = ModelShape(
    name="Qwen3-0.6B",
    hidden_size=1024,
    intermediate_size=3072,
    num_layers=28,
    num_heads=16,
    num_kv_heads=8,
    head_dim=128,
    vocab_size=151_936,
    max_model_len=40_960,
    is_tied=True,
    has_qk_norm=True,
)
_QWEN3_4B = replace(
    _QWEN3_0_6B,
    name="Qwen3-4B",
    hidden_size=2560,
    intermediate_size=9728,
    num_layers=36,
    num_heads=32,
)
_LLAMA_8B = ModelShape(
    name="Llama-3.1-8B",
    hidden_size=4096,
    intermediate_size=14_336,
    num_layers=32,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    vocab_size=128_256,
    max_model_len=131_072,
)
_LLAMA_3B = replace(
    _LLAMA_8B,
    name="Llama-3.2-3B",
    hidden_size=3072,
    intermediate_size=8192,
    num_layers=28,
    num_heads=24,
    is_tied=True,
)
_LLAMA_1B = replace(
    _LLAMA_3B,
    name="Llama-3.2-1B",
    hidden_size=2048,
    num_layers=16,
    num_heads=32,
    head_dim=64,
)


def _shapes() -> Iterator[ModelShape]:
    """Every shape of the table under every name that has it."""
    for shape in (_MATH_1_5B, _MATH_7B, _QWEN25_1_5B, _QWEN25_3B, _QWEN25_7B, _QWEN25_14B):
        yield shape
        yield replace(shape, name=f"{shape.name}-Instruct")
    yield _QWEN3_0_6B
    yield replace(_QWEN3_0_6B, name="Qwen3-1.7B", hidden_size=2048, intermediate_size=6144)
    yield _QWEN3_4B
    yield replace(
        _QWEN3_4B, name="Qwen3-8B", hidden_size=4096, intermediate_size=12_288, is_tied=False
    )
    for shape in (_LLAMA_1B, _LLAMA_3B, _LLAMA_8B):
        yield shape
        yield replace(shape, name=f"{shape.name}-Instruct")
    yield replace(
        _MATH_1_5B, name="DeepSeek-R1-Distill-Qwen-1.5B", max_model_len=131_072, is_tied=False
    )
    yield replace(_MATH_7B, name="DeepSeek-R1-Distill-Qwen-7B", max_model_len=131_072)
    yield replace(_MATH_1_5B, name="Skywork-o1-Open-PRM-Qwen-2.5-1.5B", head="value")
    yield replace(_MATH_7B, name="Skywork-o1-Open-PRM-Qwen-2.5-7B", head="value")
    yield replace(_MATH_7B, name="Qwen2.5-Math-PRM-7B", head="reward")
    yield replace(
        _LLAMA_8B, name="math-shepherd-mistral-7b-prm", vocab_size=32_000, max_model_len=32_768
    )
    for data in ("Deepseek", "Mistral"):
        yield replace(_LLAMA_8B, name=f"Llama3.1-8B-PRM-{data}-Data")


MODELS: Mapping[str, ModelShape] = {shape.name: shape for shape in _shapes()}

_KNOWN = {name.lower(): shape for name, shape in MODELS.items()} | {
    "llama3.1-8b-prm": replace(_LLAMA_8B, name="Llama3.1-8B-PRM")
}


def find_shape(name: str) -> ModelShape:
    """The shape of a model directory, or of the table's model of this name.

    The organisation before the name may be left out; upper and lower case are alike.

    Raises:
        ConfigurationError: The table does not have it, or the directory is no model.
    """
    if Path(name).expanduser().is_dir():
        return read_shape(Path(name).expanduser())
    short = name.rpartition("/")[2].lower()
    if short in _KNOWN:
        return _KNOWN[short]
    close = get_close_matches(short, _KNOWN, n=1)
    hint = f"did you mean {_KNOWN[close[0]].name!r}?" if close else "`--list-models` shows all"
    raise ConfigurationError(
        f"the shape of model {name!r} is not known: {hint} (others are read from a model directory)"
    )
