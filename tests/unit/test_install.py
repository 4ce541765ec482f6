"""`.ci/install` with a stand-in for Python, pip and uv; `.ci/check_files.py` as it is."""

import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = [
    "cat",
    "chmod",
    "cksum",
    "cp",
    "dirname",
    "grep",
    "mkdir",
    "rm",
    "sed",
    "sh",
    "tail",
    "touch",
]

LOCK = "rich==15.0.0\ntorch==2.13.0\nuv==0.13.8\n"

# Stands for the Python on PATH, and in .venv for Python, pip and uv. It notes each call, fails at
# those that contain a word of $FAILING, and has the whole installation killed at one with $KILLED.
STAND_IN = """#!/bin/sh
echo "$*" >>calls
[ -z "$PYTHONPATH" ] && [ "$PIP_USER" = 0 ] || exit 1
[ -z "$KILLED" ] || case $* in *"$KILLED"*)
    mkdir -p .venv && touch .venv/is_partial
    kill -9 0 ;;
esac
for part in $FAILING; do
    case $* in *"$part"*) echo "$MESSAGE"; exit 1 ;; esac
done
case $* in
    *"-m venv"*)
        mkdir -p .venv/bin
        cp "$0" .venv/bin/python
        cp "$0" .venv/bin/uv
        echo "#!$(pwd -P)/.venv/bin/python" >.venv/bin/pip ;;
    *check_files*) [ ! -e .venv/is_partial ] ;;
    *"import torch;"*) [ -e .venv/torch ] ;;
    *torch==*) touch .venv/torch ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A project to install, and a PATH without anything else."""

    root: Path
    programs: Path

    def install(
        self, *, failing: str = "", message: str = "", killed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs `.ci/install` in a process group of its own."""
        (self.root / "calls").unlink(missing_ok=True)
        return subprocess.run(
            [self.root / ".ci" / "install"],
            env={
                "PATH": str(self.programs),
                "PYTHONPATH": "/elsewhere",
                "PIP_USER": "1",
                "FAILING": failing,
                "MESSAGE": message,
                "KILLED": killed,
            },
            start_new_session=True,
            check=False,
            capture_output=True,
            text=True,
        )

    def calls(self, part: str = "") -> list[str]:
        """The calls of the last installation that contain `part`."""
        lines = (self.root / "calls").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if part in line]

    @property
    def is_installed(self) -> bool:
        return (self.root / ".venv" / ".installed").exists()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root, programs = tmp_path / "a project", tmp_path / "programs"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "install", root / ".ci")
    (root / "pyproject.toml").touch()
    (root / "requirements.lock").write_text(LOCK, encoding="utf-8")
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(str(shutil.which(tool)))
    python = programs / "python3.11"
    python.write_text(STAND_IN, encoding="utf-8")
    python.chmod(0o755)
    return Project(root=root, programs=programs)


@pytest.mark.parametrize(
    ("failing", "taken", "is_cuda"),
    [
        ("", "-m pip install --quiet --no-deps torch==2.13.0+cpu", False),
        ("+cpu", "--no-deps --torch-backend cpu torch==2.13.0", False),
        ("+cpu --torch-backend", "--constraint requirements.lock torch==2.13.0", True),
    ],
)
def test_torch_is_the_cpu_build_where_there_is_one(
    project: Project, failing: str, taken: str, is_cuda: bool
) -> None:
    done = project.install(failing=failing)
    assert done.returncode == 0, done.stderr
    assert project.is_installed
    assert taken in project.calls(" torch==")[-1]
    assert ("CUDA" in done.stdout) == is_cuda


def test_the_requirements_leave_torch_to_its_own_step(project: Project) -> None:
    project.install()
    requirements = (project.root / ".venv" / "requirements.txt").read_text(encoding="utf-8")
    assert requirements == "rich==15.0.0\nuv==0.13.8\n"


def test_pip_does_what_uv_cannot(project: Project) -> None:
    done = project.install(failing="--python")
    assert done.returncode == 0, done.stderr
    assert "-m pip" in project.calls("--requirement")[-1]


def test_a_second_run_does_nothing(project: Project) -> None:
    project.install()
    done = project.install()
    assert (done.returncode, done.stdout) == (0, "")
    assert project.calls() == ["-I -c "]


@pytest.mark.parametrize("file", ["requirements.lock", "pyproject.toml"])
def test_a_change_is_installed_into_the_same_environment(project: Project, file: str) -> None:
    project.install()
    changed = project.root / file
    changed.write_text(changed.read_text(encoding="utf-8") + "# a change\n", encoding="utf-8")
    assert project.install().returncode == 0
    assert project.calls("--requirement") != []
    assert project.calls("-m venv") == []
    assert project.calls("+cpu") == []
    assert project.install().stdout == ""


@pytest.mark.parametrize(
    "what",
    ["uv==0.13.8", "torch==2.13.0", ".venv/requirements.txt", "--editable", "check_files", "LLM"],
)
def test_what_fails_is_named_and_made_good_by_the_next_run(project: Project, what: str) -> None:
    done = project.install(failing=what, message="the cause\n\nERROR: nothing found\n")
    assert done.returncode == 1
    assert not project.is_installed
    told = done.stderr.splitlines()
    assert told[0].startswith("Could not ")
    assert told[0].endswith(": nothing found")
    assert "ERROR" not in told[0]
    assert ("PIP_INDEX_URL" in done.stderr) == ("=" in what or "requirements" in what)
    assert project.install().returncode == 0
    assert project.is_installed


def test_a_full_disk_is_told_at_once(project: Project) -> None:
    message = "error: No space left on device (os error 28)"
    done = project.install(failing="+cpu", message=message)
    assert done.returncode == 1
    assert not project.is_installed
    assert message in done.stderr
    assert "TMPDIR" in done.stderr
    assert project.calls("--torch-backend") == []


@pytest.mark.parametrize(
    "step", ["-m venv", "uv==0.13.8", "--requirement", "torch==2.13.0", "--editable", "LLM"]
)
def test_a_killed_installation_is_begun_anew(project: Project, step: str) -> None:
    assert project.install(killed=step).returncode == -9
    assert not project.is_installed
    done = project.install()
    assert done.returncode == 0, done.stderr
    assert "Replacing .venv" in done.stdout
    assert project.is_installed


def test_a_killed_update_is_no_state_to_return_to(project: Project) -> None:
    project.install()
    lock = project.root / "requirements.lock"
    lock.write_text(LOCK.replace("15.0.0", "15.1.0"), encoding="utf-8")
    assert project.install(killed="--requirement").returncode == -9
    lock.write_text(LOCK, encoding="utf-8")
    assert "Replacing .venv" in project.install().stdout
    assert project.is_installed


def test_an_environment_whose_python_is_too_old_is_replaced(project: Project) -> None:
    project.install()
    python = project.root / ".venv" / "bin" / "python"
    too_old = "case $* in *ensurepip*) exit 1 ;; esac\n"
    python.write_text(STAND_IN.replace("\n", f"\n{too_old}", 1), encoding="utf-8")
    (project.root / "pyproject.toml").write_text("# a change", encoding="utf-8")
    assert "Replacing .venv" in project.install().stdout
    assert project.install().stdout == ""


def test_an_environment_whose_python_is_gone_is_replaced(project: Project) -> None:
    project.install()
    (project.root / ".venv" / "bin" / "python").unlink()
    assert "Replacing .venv" in project.install().stdout
    assert project.install().stdout == ""


def test_a_copy_of_an_environment_is_replaced(project: Project, tmp_path: Path) -> None:
    project.install()
    copy = Project(root=tmp_path / "copy", programs=project.programs)
    shutil.copytree(project.root, copy.root)
    assert "Replacing .venv" in copy.install().stdout
    assert copy.install().stdout == ""


def test_an_environment_that_the_lock_cannot_mend_is_replaced_once(project: Project) -> None:
    project.install()
    (project.root / "pyproject.toml").write_text("# a change", encoding="utf-8")
    done = project.install(failing="LLM", message="RuntimeError: operator does not exist")
    assert done.returncode == 1
    assert len(project.calls("-m venv")) == 1
    assert (
        done.stderr == "Could not use what was installed: RuntimeError: operator does not exist\n"
    )


def test_without_a_python_it_says_which_is_needed(project: Project) -> None:
    done = project.install(failing="ensurepip")
    assert done.returncode == 1
    assert "Python 3.11" in done.stderr


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that holds one package: something named pip."""

    folder: Path
    packages: Path

    def check(self) -> str:
        """What `.ci/check_files.py` says of it: nothing if it is whole."""
        done = subprocess.run(
            [self.folder / "bin" / "python", "-I", ROOT / ".ci" / "check_files.py"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) == (done.stderr == "")
        return done.stderr


RECORD = """pip/__init__.py,sha256=any,11
pip/__pycache__/__init__.cpython-311.pyc,sha256=any,11
../../../bin/pip,sha256=any,4
pip-1.0.dist-info/METADATA,,0
pip-1.0.dist-info/RECORD,,
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (packages / "pip").mkdir()
    (packages / "pip-1.0.dist-info").mkdir()
    (packages / "pip" / "__init__.py").write_text("number = 1\n", encoding="utf-8")
    (packages / "pip-1.0.dist-info" / "METADATA").touch()
    (packages / "pip-1.0.dist-info" / "RECORD").write_text(RECORD, encoding="utf-8")
    (tmp_path / "venv" / "bin" / "pip").write_text("run\n", encoding="utf-8")
    return Environment(folder=tmp_path / "venv", packages=packages)


def test_a_whole_environment_may_lack_bytecode(environment: Environment) -> None:
    assert environment.check() == ""


@pytest.mark.parametrize(
    "file", ["pip/__init__.py", "pip-1.0.dist-info/METADATA", "../../../bin/pip"]
)
def test_a_missing_file_is_found(environment: Environment, file: str) -> None:
    (environment.packages / file).unlink()
    assert environment.check() == "files are missing of pip-1.0\n"


def test_a_file_that_is_cut_short_is_found(environment: Environment) -> None:
    (environment.packages / "pip" / "__init__.py").write_text("numb", encoding="utf-8")
    assert environment.check() == "files are missing of pip-1.0\n"


@pytest.mark.parametrize("length", [0, 20, RECORD.index("../"), RECORD.rindex(",,")])
def test_a_record_that_is_cut_short_is_found(environment: Environment, length: int) -> None:
    record = environment.packages / "pip-1.0.dist-info" / "RECORD"
    record.write_text(RECORD[:length], encoding="utf-8")
    assert environment.check() == "files are missing of pip-1.0\n"


def test_a_missing_record_is_found(environment: Environment) -> None:
    (environment.packages / "pip-1.0.dist-info" / "RECORD").unlink()
    assert environment.check() == "files are missing of pip-1.0\n"


def test_an_environment_without_pip_is_found(environment: Environment) -> None:
    shutil.rmtree(environment.packages / "pip-1.0.dist-info")
    assert environment.check() == "it has no pip\n"


def test_the_locked_packages_overwrite_no_file_of_one_another() -> None:
    environment = Environment(folder=Path(sys.prefix), packages=Path())
    assert environment.check() == ""
