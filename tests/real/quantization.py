"""A checkpoint in GPTQ's format, whose weights are rounded to the nearest of 16 values."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GROUP_SIZE = 64
_BITS, _PER_WORD, _MIDDLE = 4, 8, 8


def quantize(source: Path, folder: Path) -> None:
    """Writes a model with 4-bit projections.

    Args:
        source: A model directory.
        folder: Receives the quantised model.
    """
    shutil.copytree(source, folder, dirs_exist_ok=True)
    weights: dict[str, torch.Tensor] = {}
    for name, values in load_file(source / "model.safetensors").items():
        if "_proj." in name:
            layer = name.removesuffix("weight")
            weights |= {layer + part: found for part, found in _rounded(values).items()}
        else:
            weights[name] = values.to(torch.float16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float16"
    config["quantization_config"] = {
        "quant_method": "gptq",
        "bits": _BITS,
        "group_size": GROUP_SIZE,
        "desc_act": False,
        "sym": True,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _rounded(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """The four tensors of a layer; inputs are rows, and eight of them share a word."""
    inputs = weight.float().t()
    num_inputs, num_outputs = inputs.shape
    groups = inputs.reshape(num_inputs // GROUP_SIZE, GROUP_SIZE, num_outputs)
    scales = groups.abs().amax(dim=1) / (_MIDDLE - 1)
    levels = (groups / scales[:, None]).round() + _MIDDLE
    zeros = torch.full((len(scales), num_outputs), _MIDDLE - 1, dtype=torch.int64)
    return {
        "qweight": _packed(levels.reshape(num_inputs, num_outputs).to(torch.int64)),
        "qzeros": _packed(zeros.t()).t().contiguous(),
        "scales": scales.to(torch.float16),
        "g_idx": torch.arange(num_inputs, dtype=torch.int32) // GROUP_SIZE,
    }


def _packed(rows: torch.Tensor) -> torch.Tensor:
    """Eight rows of 4-bit numbers in one of 32-bit words, the first in the lowest bits."""
    shifts = torch.arange(_PER_WORD)[:, None] * _BITS
    words = (rows.reshape(-1, _PER_WORD, rows.shape[1]) << shifts).sum(dim=1)
    return words.to(torch.uint32).view(torch.int32).contiguous()
