"""The sampling of a model's `generation_config.json`, as vLLM's options say where that is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.fingerprint import model_folder
from fasttts.decoding.published_sampling import read_published_sampling
from fasttts.decoding.sampling import PublishedSampling

if TYPE_CHECKING:
    from vllm.config import ModelConfig

GENERATION_CONFIG = "generation_config.json"


def model_sampling(model: "ModelConfig") -> PublishedSampling:
    """Reads the sampling that the authors of an opened model publish.

    vLLM's own reading leaves out values that equal the defaults of transformers, `do_sample: false`
    among them, so the file is read here. vLLM's `generation_config` names another directory, or
    "vllm" for none, and `override_generation_config` takes precedence.

    Args:
        model: vLLM's configuration of the model.

    Raises:
        ConfigurationError: A value is none that can be sampled with.
    """
    source = model.generation_config
    found: Mapping[str, Any] = {}
    file = (model_folder(model) if source == "auto" else Path(source)) / GENERATION_CONFIG
    if source != "vllm" and file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
    return read_published_sampling(
        {**found, **model.override_generation_config}, f"generator={str(file)!r}"
    )
