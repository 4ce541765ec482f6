"""Broken models are named before any memory is taken."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from fasttts.backends.vllm import loader
from fasttts.backends.vllm.arguments import VllmDevice
from fasttts.backends.vllm.checkpoint import (
    Checkpoint,
    check_chat_template,
    check_checkpoint,
    is_path,
)
from fasttts.backends.vllm.gguf import check_gguf, opens_gguf, try_gguf
from fasttts.errors import ConfigurationError, Role

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "max_position_embeddings": 2048,
}
INDEX = "model.safetensors.index.json"


def safetensors(num_bytes: int = 16) -> bytes:
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "w": {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]},
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + bytes(num_bytes)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors())
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))


def shard(folder: Path, *present: str) -> None:
    names = ["a.safetensors", "b.safetensors"]
    (folder / "model.safetensors").unlink()
    for name in present:
        (folder / name).write_bytes(safetensors())
    index = {"weight_map": {f"w{i}": name for i, name in enumerate(names)}}
    (folder / INDEX).write_text(json.dumps(index))


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def remove(*names: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return do


def write(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def write_weights(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "model.safetensors").write_bytes(content) and None


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (remove("config.json"), r"no config\.json: give the directory"),
    "config is not JSON": (write("config.json", "{"), r"config\.json.*cannot be read"),
    "config is a list": (write("config.json", "[]"), "does not hold a JSON object"),
    "no architecture": (lambda f: edit_config(f, architectures=[]), "names no architectures"),
    "remote code": (
        lambda f: edit_config(f, auto_map={"AutoModel": "modeling.My"}),
        "trust_remote_code=True",
    ),
    "no tokenizer": (remove("tokenizer.json"), "has no tokenizer"),
    "tokenizer is not JSON": (write("tokenizer.json", "{"), r"tokenizer\.json.*cannot be read"),
    "tokenizer's options": (write("tokenizer_config.json", "["), "cannot be read"),
    "sampling that cannot work": (
        write("generation_config.json", '{"top_p": 7}'),
        r"generation_config\.json' has top_p=7: make it above 0",
    ),
    "generation's options": (write("generation_config.json", "[]"), "does not hold a JSON object"),
    "no weights": (remove("model.safetensors"), r"has no \*\.safetensors"),
    "pickle": (only_pickle, "pickle format only: convert them to safetensors"),
    "absent shard": (lambda f: shard(f, "a.safetensors"), r"lacks 1 of 2 .*b\.safetensors"),
    "empty index": (write(INDEX, "{}"), "has no weight_map"),
    "broken index": (write(INDEX, "nonsense"), "cannot be read"),
    "truncated weights": (write_weights(safetensors()[:-3]), "bytes where its header says"),
    "truncated header": (write_weights(safetensors()[:20]), "does not fit"),
    "empty weights": (write_weights(b""), "is not a safetensors file"),
    "not safetensors": (write_weights(b"\x02" + bytes(7) + b"[]"), "is not a safetensors file"),
    "pointer file": (write_weights(b"version https://git-lfs"), "is not a safetensors file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(model: Path, name: str) -> None:
    damage, message = BROKEN[name]
    damage(model)
    with pytest.raises(ConfigurationError, match=message) as caught:
        check_checkpoint(str(model), "generator")
    assert str(caught.value).startswith(f"generator='{model}")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.*does not exist"):
        check_checkpoint(str(tmp_path / "nowhere"), "generator")


def test_a_file_is_no_model(model: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a file, not a model directory"):
        check_checkpoint(str(model / "config.json"), "generator")


def test_a_whole_model_is_described(model: Path) -> None:
    found = check_checkpoint(str(model), "generator")
    assert found.is_local
    assert found.name == str(model)
    assert found.max_model_len == 2048
    assert found.architectures == ("Qwen2ForCausalLM",)
    assert found.weight_bytes == len(safetensors())


def test_shards_count_together(model: Path) -> None:
    shard(model, "a.safetensors", "b.safetensors")
    assert check_checkpoint(str(model), "generator").weight_bytes == 2 * len(safetensors())


def test_remote_code_may_be_trusted(model: Path) -> None:
    edit_config(model, auto_map={"AutoModel": "modeling.My"})
    assert check_checkpoint(str(model), "generator", trust_remote_code=True).is_local


def test_a_known_verifier_needs_no_remote_code(model: Path) -> None:
    changes = {"architectures": ["Qwen2ForProcessRewardModel"], "auto_map": {"AutoModel": "m.M"}}
    edit_config(model, **changes)
    assert check_checkpoint(str(model), "verifier").is_local


def test_a_generator_is_no_verifier(model: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a language model, which can be read in sev"):
        check_checkpoint(str(model), "verifier")
    assert check_checkpoint(str(model), "verifier", verifier_format="judge").is_local


@pytest.mark.parametrize(
    "architecture", ["Qwen2ForProcessRewardModel", "LlamaForSequenceClassification"]
)
def test_a_verifier_is_no_generator(model: Path, architecture: str) -> None:
    edit_config(model, architectures=[architecture])
    with pytest.raises(ConfigurationError, match=f"a {architecture} scores text and generates no"):
        check_checkpoint(str(model), "generator")


def test_a_hub_name_is_left_to_vllm() -> None:
    found = check_checkpoint("org/name", "generator")
    assert (found.name, found.is_local, found.max_model_len) == ("org/name", False, None)


def test_context_length_of_a_nested_configuration(model: Path) -> None:
    edit_config(model, text_config={"max_position_embeddings": 77})
    assert check_checkpoint(str(model), "generator").max_model_len == 77


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org/name", False),
        ("name", False),
        ("./name", True),
        ("../name", True),
        ("~/name", True),
        ("/name", True),
        ("a/b/c", True),
    ],
)
def test_names_and_paths(
    name: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_path(name) is expected


def test_an_existing_relative_directory_is_a_path(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    assert check_checkpoint("model", "generator").name == str(model)


def test_a_directory_without_a_chat_template_takes_no_conversations(model: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no chat template: .*--generator, FASTTTS_G"):
        check_chat_template(str(model))
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ x }}"}')
    check_chat_template(str(model))
    (model / "tokenizer_config.json").unlink()
    (model / "chat_template.jinja").write_text("{{ x }}")
    check_chat_template(str(model))
    check_chat_template("org/model")


def gguf_file(tmp_path: Path) -> Path:
    file = tmp_path / "downloads" / "tiny.Q4_K_M.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF")
    return file


def test_gguf_models_are_recognised(tmp_path: Path, model: Path) -> None:
    file = gguf_file(tmp_path)
    assert try_gguf(str(file)) == try_gguf(str(file.parent)) == str(file)
    assert try_gguf("org/tiny-GGUF:Q4_K_M") == "org/tiny-GGUF:Q4_K_M"
    assert try_gguf("org/tiny-GGUF:IQ4_XS") is not None
    (model / "extra.gguf").write_bytes(b"GGUF")
    for other in (str(model), "org/tiny", "module:function", str(tmp_path / "none")):
        assert try_gguf(other) is None


def test_gguf_models_are_refused_with_the_way_to_convert_them(tmp_path: Path) -> None:
    file = gguf_file(tmp_path)
    with pytest.raises(ConfigurationError) as error:
        check_gguf(str(file), "generator", opens=lambda: False)
    message = str(error.value)
    assert f"pretrained_model_name_or_path={str(file.parent)!r}" in message
    assert "gguf_file='tiny.Q4_K_M.gguf'" in message
    assert "(--generator, FASTTTS_GENERATOR)" in message
    code = message.split('python -c "')[1].split('", then', maxsplit=1)[0]
    compile(code, "message", "exec")
    check_gguf(str(file), "generator", opens=lambda: True)
    with pytest.raises(ConfigurationError, match="does not exist"):
        check_gguf(str(file.with_name("other.gguf")), "generator", opens=lambda: True)


@pytest.mark.skipif(opens_gguf(), reason="this vLLM opens GGUF models")
def test_a_gguf_model_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a GGUF model, which this vLLM does not open"):
        check_checkpoint(str(gguf_file(tmp_path)), "generator")


def test_an_installed_plugin_opens_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm_gguf_plugin.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert opens_gguf()
    checked = check_checkpoint(str(gguf_file(tmp_path)), "generator")
    assert checked.is_gguf
    assert not checked.is_local


@pytest.mark.parametrize("role", ["generator", "verifier"])
@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_weights_that_a_cpu_has_no_kernels_for_are_refused(
    monkeypatch: pytest.MonkeyPatch, role: Role, method: str
) -> None:
    def four_bits(method: str) -> Checkpoint:
        return Checkpoint(
            name="m", role=role, config={"quantization_config": {"quant_method": method}}
        )

    cpu = VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)
    gpu = VllmDevice(is_cpu=False, name="gpu", memory_bytes=24 << 30)
    monkeypatch.setattr(loader, "has_four_bit_kernels", lambda: False)
    with pytest.raises(ConfigurationError, match=rf"{role}='m'.*{method}.*AVX-512.*whole weights"):
        loader.check_kernels(four_bits(method), cpu)
    for model, device in (
        (four_bits(method), gpu),
        (four_bits("fp8"), cpu),
        (Checkpoint(name="m", role=role), cpu),
        (None, cpu),
    ):
        loader.check_kernels(model, device)
    monkeypatch.setattr(loader, "has_four_bit_kernels", lambda: True)
    loader.check_kernels(four_bits(method), cpu)
