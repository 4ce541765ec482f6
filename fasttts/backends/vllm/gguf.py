"""GGUF models: recognised, and refused with the way to convert them where vLLM cannot open them.

vLLM opens them by a plugin of its own, vllm-gguf-plugin, on GPUs; earlier versions had the code
themselves.
"""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from fasttts.config import option_hint
from fasttts.config.paths import user_path
from fasttts.errors import ConfigurationError, Role

_SUFFIX = ".gguf"
_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+:[A-Za-z]*Q\d\w*|[\w.-]+/[\w.-]+:(BF16|F16|F32)")
"""vLLM's name of one quantization in a repository, such as `org/model-GGUF:Q4_K_M`."""

_PLUGIN = "vllm_gguf_plugin"
_IN_VLLM = Path("model_executor", "layers", "quantization", "gguf.py")


def try_gguf(name: str) -> str | None:
    """Returns vLLM's name of a GGUF model; None for models of other formats.

    Args:
        name: A file, a directory that holds one and no other weights, or a name on a hub.
    """
    path = user_path(name)
    if name.lower().endswith(_SUFFIX):
        return str(path.absolute()) if path.exists() else name
    if path.is_dir():
        files = sorted(path.glob(f"*{_SUFFIX}"))
        is_other = (path / "config.json").exists() or any(path.glob("*.safetensors"))
        return str(files[0].absolute()) if files and not is_other else None
    return name if _ON_HUB.fullmatch(name) else None


def opens_gguf() -> bool:
    """Whether the installed vLLM opens GGUF models, by its plugin or by itself."""
    if importlib.util.find_spec(_PLUGIN) is not None:
        return True
    vllm = importlib.util.find_spec("vllm")
    folders = vllm.submodule_search_locations or [] if vllm is not None else []
    return any((Path(folder) / _IN_VLLM).exists() for folder in folders)


def check_gguf(name: str, role: Role, opens: Callable[[], bool] = opens_gguf) -> None:
    """Checks that a GGUF model can be opened.

    Args:
        name: vLLM's name of it.
        role: The role in which it is used.
        opens: Whether vLLM can; replaced in tests.

    Raises:
        ConfigurationError: It cannot, or there is no such file.
    """
    path = Path(name)
    is_file = name.lower().endswith(_SUFFIX)
    if is_file and path.is_absolute() and not path.exists():
        raise ConfigurationError(f"{role}={name!r} does not exist {option_hint(role)}")
    if opens():
        return
    folder, file = (str(path.parent), path.name) if is_file else (name.partition(":")[0], "FILE")
    raise ConfigurationError(
        f"{role}={name!r} is a GGUF model, which this vLLM does not open: give the model's own "
        f"directory or hub name with safetensors {option_hint(role)}; or convert it once (pip "
        f'install gguf accelerate): python -c "{_conversion(folder, file)}", then give DIRECTORY; '
        "or, on a GPU, pip install vllm-gguf-plugin"
    )


def _conversion(folder: str, file: str) -> str:
    """Python that writes the model as safetensors; transformers saves no model marked as GGUF."""
    return (
        f"from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; "
        f"source = dict(pretrained_model_name_or_path={folder!r}, gguf_file={file!r}); "
        "m = M.from_pretrained(**source, dtype='bfloat16'); "
        "del m.config.quantization_config; m.hf_quantizer = None; "
        "m.save_pretrained('DIRECTORY'); "
        "T.from_pretrained(**source).save_pretrained('DIRECTORY')"
    )
