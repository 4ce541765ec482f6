"""Shapes of models: parameter counts against published ones, names, and reading config.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from fasttts import demo
from fasttts.errors import ConfigurationError
from fasttts.memory import MODELS, ModelShape, find_shape, read_shape, shape_from_config

PUBLISHED_BILLIONS = {
    "Qwen2.5-Math-1.5B": 1.54,
    "Qwen2.5-Math-1.5B-Instruct": 1.54,
    "Qwen2.5-Math-7B": 7.62,
    "Qwen2.5-Math-7B-Instruct": 7.62,
    "Qwen2.5-1.5B": 1.54,
    "Qwen2.5-1.5B-Instruct": 1.54,
    "Qwen2.5-3B": 3.09,
    "Qwen2.5-3B-Instruct": 3.09,
    "Qwen2.5-7B": 7.62,
    "Qwen2.5-7B-Instruct": 7.62,
    "Qwen2.5-14B": 14.8,
    "Qwen2.5-14B-Instruct": 14.8,
    "Qwen3-0.6B": 0.596,
    "Qwen3-1.7B": 1.72,
    "Qwen3-4B": 4.02,
    "Qwen3-8B": 8.19,
    "Llama-3.2-1B": 1.24,
    "Llama-3.2-1B-Instruct": 1.24,
    "Llama-3.2-3B": 3.21,
    "Llama-3.2-3B-Instruct": 3.21,
    "Llama-3.1-8B": 8.03,
    "Llama-3.1-8B-Instruct": 8.03,
    "DeepSeek-R1-Distill-Qwen-1.5B": 1.78,
    "DeepSeek-R1-Distill-Qwen-7B": 7.62,
    "Skywork-o1-Open-PRM-Qwen-2.5-1.5B": 1.54,
    "Skywork-o1-Open-PRM-Qwen-2.5-7B": 7.62,
    "Qwen2.5-Math-PRM-7B": 7.08,
    "math-shepherd-mistral-7b-prm": 7.24,
    "Llama3.1-8B-PRM-Deepseek-Data": 8.03,
    "Llama3.1-8B-PRM-Mistral-Data": 8.03,
}
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


def test_every_model_of_the_table_has_its_published_size() -> None:
    assert MODELS.keys() == PUBLISHED_BILLIONS.keys()
    for name, billions in PUBLISHED_BILLIONS.items():
        assert MODELS[name].num_parameters == pytest.approx(billions * 1e9, rel=0.03), name


@pytest.mark.parametrize(
    ("name", "num_parameters", "kv_bytes_per_token"),
    [
        # Counted by transformers on models without memory.
        ("Qwen2.5-Math-1.5B-Instruct", 1_543_714_304, 28_672),
        ("Qwen3-4B", 4_022_468_096, 147_456),
        ("Llama-3.2-1B-Instruct", 1_235_814_400, 32_768),
        ("math-shepherd-mistral-7b-prm", 7_241_732_096, 131_072),
    ],
)
def test_parameters_are_counted_exactly(
    name: str, num_parameters: int, kv_bytes_per_token: int
) -> None:
    shape = MODELS[name]
    assert shape.num_parameters == num_parameters
    assert shape.weight_bytes == 2 * num_parameters
    assert shape.kv_bytes_per_token == kv_bytes_per_token


@pytest.mark.parametrize(
    "name",
    ["Qwen2.5-Math-PRM-7B", "Qwen/Qwen2.5-Math-PRM-7B", "qwen2.5-math-prm-7b"],
)
def test_a_model_is_found_with_and_without_its_organisation(name: str) -> None:
    assert find_shape(name) is MODELS["Qwen2.5-Math-PRM-7B"]


def test_a_family_name_is_enough_where_its_members_have_one_shape() -> None:
    assert find_shape("RLHFlow/Llama3.1-8B-PRM").num_parameters == 8_030_261_248


def test_an_unknown_model_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean 'Qwen2.5-Math-7B-Instruct'\?"):
        find_shape("Qwen2.5-Math-7B-Instrukt")
    with pytest.raises(ConfigurationError, match="--list-models"):
        find_shape("gpt-oss")


@pytest.mark.parametrize("folder", [demo.generator_path(), demo.verifier_path()])
def test_the_demonstration_models_weigh_what_their_files_do(folder: Path) -> None:
    shape = find_shape(str(folder))
    assert shape.weight_bytes == pytest.approx(
        (folder / "model.safetensors").stat().st_size, rel=0.01
    )
    assert shape.head == ("lm" if folder.name == "generator" else "reward")


def test_missing_values_have_transformers_defaults() -> None:
    shape = shape_from_config(CONFIG, "x")
    assert (shape.num_kv_heads, shape.head_dim, shape.dtype) == (4, 16, "bfloat16")
    assert not shape.is_tied
    assert shape.head_parameters == shape.embedding_parameters == 6400


def test_the_text_part_of_a_larger_model_counts() -> None:
    outer = {"architectures": ["X"], "text_config": CONFIG | {"torch_dtype": "float32"}}
    shape = shape_from_config(outer, "x")
    assert (shape.num_layers, shape.dtype, shape.item_bytes) == (2, "float32", 4)


@pytest.mark.parametrize(
    ("architecture", "head", "head_parameters"),
    [
        ("LlamaForCausalLM", "lm", 6400),
        ("Qwen2ForPrmModel", "value", 6400 + 65),
        ("Qwen2ForProcessRewardModel", "reward", 64 * 64 + 64 + 2 * 64 + 2),
    ],
)
def test_heads(architecture: str, head: str, head_parameters: int) -> None:
    shape = shape_from_config(CONFIG | {"architectures": [architecture]}, "x")
    assert (shape.head, shape.head_parameters) == (head, head_parameters)


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        ({"quant_method": "gptq", "bits": 4}, 4),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 4),
        ({"quant_method": "awq", "bits": 4, "group_size": 32}, 4.625),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "group_size": None}}},
            },
            8,
        ),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {}}}, None),
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
        ({"quant_method": "unheard-of"}, None),
        (None, None),
    ],
)
def test_quantised_layers_weigh_less(quantization: object, bits: float | None) -> None:
    plain = shape_from_config(CONFIG, "x")
    shape = shape_from_config(CONFIG | {"quantization_config": quantization}, "x")
    assert shape.weight_bits == bits
    layers = plain.num_parameters - 2 * 6400
    saved = layers * (16 - (bits or 16)) / 8
    assert plain.weight_bytes - shape.weight_bytes == pytest.approx(saved, abs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size=None"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers='two'"),
        ({"vocab_size": 0}, "vocab_size=0"),
        ({"num_attention_heads": True}, "num_attention_heads=True"),
        ({"num_experts": 8}, "mixture of experts"),
    ],
)
def test_a_config_that_cannot_be_planned_with(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        shape_from_config(CONFIG | change, "x")


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cannot be read"), ("[]", "JSON object"), (None, "No such file")]
)
def test_a_directory_without_a_config(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        read_shape(tmp_path)


def test_a_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert find_shape(str(tmp_path)) == shape_from_config(CONFIG, str(tmp_path))


def test_types() -> None:
    shape = shape_from_config(CONFIG, "x")
    assert shape.with_dtype("auto") is shape
    assert shape.with_dtype("float32").weight_bytes == 2 * shape.weight_bytes
    assert shape.with_dtype("float32").kv_bytes_per_token == 2 * shape.kv_bytes_per_token


def test_work_of_a_token() -> None:
    shape: ModelShape = MODELS["Qwen2.5-Math-1.5B"]
    weights = shape.num_parameters - shape.embedding_parameters
    assert shape.layer_flops_per_token(0) == 2 * weights
    # 28 layers of 12 heads of 128, four operations each and token of context.
    assert shape.layer_flops_per_token(1000) - 2 * weights == 4 * 28 * 12 * 128 * 1000
    assert shape.head_flops_per_token == 2 * 151_936 * 1536
    # A tied embedding is read as the head; a reward model only looks its embedding up.
    assert shape.read_bytes == shape.weight_bytes
    reward = MODELS["Qwen2.5-Math-PRM-7B"]
    assert reward.read_bytes == reward.weight_bytes - 2 * reward.embedding_parameters
    assert MODELS["Skywork-o1-Open-PRM-Qwen-2.5-1.5B"].head_flops_per_token == 2 * 1536
