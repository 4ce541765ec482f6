"""The bundled demonstration models: a small generator and a small verifier.

Both know one family of arithmetic word problems and nothing else.

Importing this package loads neither torch nor vllm. `docs/demo-models.md` says how the models
were trained, what they can do and what they cannot.
"""

from pathlib import Path

__all__ = ["generator_path", "verifier_path"]

_HERE = Path(__file__).resolve().parent


def generator_path() -> Path:
    """Returns the folder of the generator, a `Qwen2ForCausalLM` checkpoint."""
    return _HERE / "generator"


def verifier_path() -> Path:
    """Returns the folder of the verifier, a `Qwen2ForProcessRewardModel` checkpoint."""
    return _HERE / "verifier"
