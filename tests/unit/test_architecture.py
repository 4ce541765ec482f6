"""Which part may import which, what an import may load, and what no file may contain."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "fasttts": ROOT / "fasttts",
    "langchain_fasttts": ROOT / "integrations" / "langchain_fasttts",
    "llama_index.llms.fasttts": ROOT / "integrations" / "llama_index" / "llms" / "fasttts",
    "lm_eval_fasttts": ROOT / "integrations" / "lm_eval_fasttts",
    "inspect_fasttts": ROOT / "integrations" / "inspect_fasttts",
    "fasttts_agents": ROOT / "agents" / "fasttts_agents",
}

# The rooms from the bottom up. A module may import from its own room and from those that its row
# names; the longest name that fits a module is its room, so `fasttts.backends` is the fake one.
BASE = {"fasttts.errors", "fasttts.types"}
RULES = BASE | {"fasttts.decoding", "fasttts.config", "fasttts.interfaces", "fasttts.tree"}
PURE = RULES | {"fasttts.answers", "fasttts.search", "fasttts.verifiers", "fasttts.memory"}
RUNNING = PURE | {"fasttts.scheduling", "fasttts.streaming", "fasttts.observability"}
PUBLIC = RUNNING | {"fasttts", "fasttts.code", "fasttts.engine"}
PUBLIC |= {"fasttts.routing", "fasttts.evaluation", "fasttts.prm", "fasttts.network"}
PUBLIC |= {"fasttts.bounded_http"}

MAY_IMPORT = {
    "fasttts.page": set(),
    "fasttts.types": {"fasttts.page"},
    "fasttts.errors": {"fasttts.types"},
    "fasttts.decoding": BASE,
    "fasttts.network": BASE,
    "fasttts.bounded_http": set(),
    "fasttts.config": BASE | {"fasttts.decoding", "fasttts.network"},
    "fasttts.tree": BASE | {"fasttts.decoding"},
    "fasttts.interfaces": BASE | {"fasttts.decoding"},
    "fasttts.answers": BASE | {"fasttts.config"},
    "fasttts.search": RULES | {"fasttts.answers"},
    "fasttts.verifiers": RULES,
    "fasttts.memory": RULES,
    "fasttts.code": RULES | {"fasttts.answers", "fasttts.verifiers"},
    "fasttts.demo": {"fasttts.types"},
    "fasttts.backends": RULES,
    "fasttts.backends.vllm": RULES | {"fasttts.demo", "fasttts.memory", "fasttts.verifiers"},
    "fasttts.scheduling": PURE,
    "fasttts.streaming": PURE | {"fasttts.scheduling"},
    "fasttts.observability": PURE | {"fasttts.scheduling"},
    "fasttts.engine": RUNNING | {"fasttts.backends.vllm"},
    "fasttts.evaluation": PURE | {"fasttts.code", "fasttts.demo", "fasttts.engine"},
    "fasttts.routing": PURE | {"fasttts.engine", "fasttts.evaluation"},
    "fasttts.prm": PURE
    | {"fasttts.demo", "fasttts.engine", "fasttts.evaluation", "fasttts.backends.vllm"},
    "fasttts.check": PUBLIC,
    "fasttts.testing": RUNNING | {"fasttts.backends"},
    "fasttts.chat": PUBLIC,
    "fasttts.serving": PUBLIC | {"fasttts.chat", "fasttts.page"},
    "fasttts.ray": PUBLIC | {"fasttts.serving"},
    "fasttts.cli": PUBLIC
    | {"fasttts.serving", "fasttts.chat", "fasttts.check", "fasttts.demo"}
    | {"fasttts_agents", "lm_eval_fasttts"},
    "fasttts": PUBLIC,
    "langchain_fasttts": PUBLIC | {"fasttts.chat"},
    "llama_index.llms.fasttts": PUBLIC | {"fasttts.chat"},
    "lm_eval_fasttts": PUBLIC | {"fasttts.chat"},
    "inspect_fasttts": PUBLIC | {"fasttts.chat"},
    "fasttts_agents": PUBLIC | {"fasttts.chat", "langchain_fasttts", "llama_index.llms.fasttts"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported name, and whether it is loaded together with its importer."""

    importer: str
    imported: str
    line: int
    is_immediate: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: {self.imported}"


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        assert (folder / "__init__.py").exists(), f"{package} has no __init__.py"
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join([package, *parts])] = path
    return found


MODULES = modules()


def imports_of(module: str) -> Iterator[Import]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    immediate = set(immediate_nodes(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from a import b` means the module `a.b` if there is one, else a name of `a`.
            full_names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in full_names]
        else:
            continue
        for name in dict.fromkeys(names):
            yield Import(
                importer=module, imported=name, line=node.lineno, is_immediate=node in immediate
            )


def immediate_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs at import: neither functions' bodies nor what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from immediate_nodes(child)


IMPORTS = [found for module in MODULES for found in imports_of(module)]


def room_of(module: str) -> str | None:
    if module == "fasttts.__main__":
        return "fasttts.cli"
    parts = module.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    # A bare `fasttts.x` that has no row must not pass as the root package.
    found = next((name for name in names if name in MAY_IMPORT), None)
    return None if found == "fasttts" and module != "fasttts" else found


def is_within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_every_module_belongs_to_a_room() -> None:
    assert [module for module in MODULES if room_of(module) is None] == []


def test_imports_point_one_way() -> None:
    wrong = []
    for found in IMPORTS:
        room = room_of(found.importer)
        if room is None or not is_within(found.imported, *PACKAGES):
            continue
        if room_of(found.imported) not in {room} | MAY_IMPORT[room]:
            wrong.append(str(found))
    assert wrong == []


def test_rooms_have_an_order() -> None:
    graph = {room: rooms - {room} for room, rooms in MAY_IMPORT.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(MAY_IMPORT)


def test_the_map_is_true() -> None:
    """In the picture of docs/structure.md every import goes down."""
    text = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    levels = [line.split() for line in text.split("```")[1].splitlines() if line.strip()]
    depth = {room: number for number, rooms in enumerate(levels) for room in rooms}
    short = {room: room.removeprefix("fasttts.") for room in MAY_IMPORT}
    assert set(depth) == set(short.values()) - {"fasttts"}
    edges = {(room_of(found.importer), room_of(found.imported)) for found in IMPORTS}
    inner = [(a, b) for a, b in edges if a and b and a != b and "fasttts" not in (a, b)]
    assert [(a, b) for a, b in inner if depth[short[a]] >= depth[short[b]]] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in IMPORTS:
        if found.is_immediate and found.imported in MODULES:
            graph[found.importer].add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("vllm", ["fasttts.backends.vllm"]),
        ("torch", ["fasttts.backends.vllm", "fasttts.prm.model", "fasttts.prm.training"]),
        ("ray", ["fasttts.ray"]),
    ],
)
def test_devices_are_touched_in_one_place(package: str, homes: list[str]) -> None:
    users = [found for found in IMPORTS if is_within(found.imported, package)]
    assert [str(found) for found in users if not is_within(found.importer, *homes)] == []


def test_the_engine_knows_no_framework() -> None:
    frameworks = ("langchain", "langchain_core", "langgraph", "llama_index")
    frameworks += ("inspect_ai", "lm_eval", "mcp")
    users = [found for found in IMPORTS if is_within(found.importer, "fasttts")]
    assert [str(found) for found in users if is_within(found.imported, *frameworks)] == []


def test_folders_are_not_import_names() -> None:
    folders = ("integrations", "agents", "examples", "benchmarks", "tests", "training")
    assert [str(found) for found in IMPORTS if is_within(found.imported, *folders)] == []


def test_llama_index_stays_a_namespace() -> None:
    namespace = ROOT / "integrations" / "llama_index"
    assert not (namespace / "__init__.py").exists()
    assert not (namespace / "llms" / "__init__.py").exists()


DEVICE = ["torch", "vllm", "transformers"]
FRAMEWORKS = ["langchain_core", "llama_index.core", "lm_eval", "inspect_ai", "mcp", "ray"]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("fasttts", [*DEVICE, *FRAMEWORKS]),
        ("fasttts.engine", [*DEVICE, *FRAMEWORKS]),
        ("fasttts.cli", [*DEVICE, *FRAMEWORKS]),
        ("langchain_fasttts", [*DEVICE, "llama_index.core", "langchain_core", "numpy"]),
        ("llama_index.llms.fasttts", [*DEVICE, "langchain_core"]),
        ("lm_eval_fasttts", [*DEVICE, *FRAMEWORKS, "numpy"]),
        ("inspect_fasttts", [*DEVICE, *FRAMEWORKS, "numpy"]),
        ("fasttts_agents", [*DEVICE, "mcp"]),
        ("fasttts_agents.mcp", DEVICE),
    ],
)
def test_imports_are_light(module: str, heavy: list[str]) -> None:
    loaded = f"[name for name in {heavy} if name in sys.modules]"
    program = f"import json, sys, {module}; print(json.dumps({loaded}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


# Each pattern spells one letter as a class, so that this file does not match itself.
UNWANTED = {
    "a path of one machine": r"(?<![\w.:/-])/(?:wor[k]|roo[t]|User[s]|op[t]|hom[e](?!/user/))/\w",
    "a folder outside the project": r"\bshare[d]/\w+[.]md",
    "the address of a package registry": r"pyp[i]\.org|pythonhoste[d]\.|pytorc[h]\.org/whl",
    "unfinished work": r"\b(?:TOD[O]|FIXM[E]|XX[X])\b",
}
TEXT_SUFFIXES = {"", ".cfg", ".jinja", ".lock", ".md", ".py", ".sh", ".toml", ".txt", ".yaml"}
TEXT_SUFFIXES |= {".css", ".html", ".js"}
GENERATED = {"build", "dist", "htmlcov", "__pycache__"}


@cache
def project_lines() -> list[tuple[str, str]]:
    """Every line of every text file, and where it stands."""
    return [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for path in project_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    ]


def project_files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not is_generated(name))
        for path in (Path(folder, name) for name in sorted(names)):
            is_ours = path.name != ".git" and not path.name.startswith(".coverage")
            if is_ours and path.suffix in TEXT_SUFFIXES:
                yield path


def is_generated(folder: str) -> bool:
    return folder in GENERATED or (folder.startswith(".") and folder not in {".ci", ".github"})


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_contains(what: str) -> None:
    pattern = re.compile(UNWANTED[what])
    found = [f"{at}: {line.strip()[:100]}" for at, line in project_lines() if pattern.search(line)]
    assert found == []
