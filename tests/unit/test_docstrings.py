"""Docstrings name every parameter and field, and begin with words that a practitioner would use.

Public is what has no leading underscore, nor has a class around it. A method is documented once, at
its interface: another class may have it, with the same parameters, without `Args:` and `Raises:`.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("fasttts", "integrations", "agents", "website")

# Words that were renamed, and first lines that do not name their subject.
RIDDLES = re.compile(
    r"\b(?:what (?:is|was|it|they|there|an?|one|users?)|(?:is|are|was|were) (?:told|heard)|"
    r"hear[sd]?(?: of)?|tells? (?:it|them|what)|runs? ahead|running ahead|"
    r"seams?|seats?|trunks?|hopeless|watchers?)\b",
    re.IGNORECASE,
)
# Called by pydantic, or a command, whose parameters are documented as options.
HOOKS = {"callback", "field_validator", "model_validator", "field_serializer"}
PLAIN_BASES = {"object", "Protocol", "Generic", "ABC", "Exception", "BaseModel", "BaseSettings"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def faults(sources: dict[str, str]) -> list[str]:
    """Lists what is wrong in modules, given by path, with line and name."""
    trees = {path: ast.parse(source) for path, source in sources.items()}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    names = PLAIN_BASES | {owner.name for owner in classes}
    methods = [node for owner in classes for node in owner.body if isinstance(node, Function)]
    interface = {
        (section, method.name, *parameters(method))
        for method in methods
        for section in ("Args", "Raises")
        if f"{section}:\n" in docstring(method)
    }

    def found(node: ast.AST, owner: ast.ClassDef | None) -> Iterator[tuple[ast.AST, str]]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.ClassDef | Function) or child.name.startswith("_"):
                continue
            if isinstance(child, ast.ClassDef):
                yield from ((child, fault) for fault in class_faults(child, names))
                yield from found(child, child)
            elif not has_framework(child, owner, names):
                key = (child.name, *parameters(child)) if owner else ()
                elsewhere = {s for s in ("Args", "Raises") if (s, *key) in interface}
                yield from ((child, fault) for fault in function_faults(child, elsewhere))

    return [
        f"{path}:{getattr(node, 'lineno', 1)}: {getattr(node, 'name', 'module')}: {fault}"
        for path, tree in trees.items()
        for node, fault in (*riddles(tree), *found(tree, None))
    ]


def riddles(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        has_docstring = isinstance(node, ast.Module | ast.ClassDef | Function)
        summary = docstring(node).partition("\n")[0] if has_docstring else ""
        if riddle := RIDDLES.search(summary):
            yield node, f"{riddle.group()!r} in its first line: name the subject"


def class_faults(owner: ast.ClassDef, names: set[str]) -> Iterator[str]:
    if "dataclass" in map(last_name, owner.decorator_list):
        assigned = [node for node in owner.body if isinstance(node, ast.AnnAssign)]
        own = [a for a in assigned if last_name(a.annotation) != "ClassVar"]
        fields = [name for a in own if (name := ast.unparse(a.target))[0] != "_"]
        yield from compare(owner, "Attributes", fields, least=1)
    for node in owner.body:
        is_constructor = isinstance(node, Function) and node.name == "__init__"
        if is_constructor and not has_framework(node, owner, names):
            yield from compare(owner, "Args", parameters(node), least=2)


def function_faults(function: Function, elsewhere: set[str]) -> Iterator[str]:
    least = 1000 if "Args" in elsewhere else 2
    yield from compare(function, "Args", parameters(function), least=least)
    is_documented = re.search(r"(?im)^Raises:$|\braises? as\b", docstring(function))
    if raises(function) and not is_documented and "Raises" not in elsewhere:
        yield "`Raises:` is missing"


def has_framework(function: Function, owner: ast.ClassDef | None, names: set[str]) -> bool:
    """Whether a framework calls it: pydantic, a base outside the project, the command line."""
    if set(map(last_name, function.decorator_list)) & HOOKS:
        return True
    if owner is None:
        return "options." in ast.unparse(function.args)
    return not set(map(last_name, owner.bases)) <= names


def compare(
    node: ast.ClassDef | Function, section: str, names: Sequence[str], *, least: int
) -> Iterator[str]:
    text = f"{docstring(node)}\n"
    found = re.search(rf"^{section}:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    described = re.findall(r"^    \*{0,2}(\w+):", found[1], re.MULTILINE) if found else []
    missing = [name for name in names if name not in described]
    if missing and (found or len(names) >= least):
        yield f"`{section}:` lacks {', '.join(missing)}"
    may_inherit = section == "Attributes" and isinstance(node, ast.ClassDef) and node.bases
    if not may_inherit and (unknown := [name for name in described if name not in names]):
        yield f"`{section}:` has {', '.join(unknown)}, which does not exist"


def raises(node: ast.AST) -> bool:
    """Whether it raises an error itself; functions inside and handled errors do not count."""
    if isinstance(node, ast.Raise):
        return node.exc is not None
    handled = node.body if isinstance(node, ast.Try) and node.handlers else ()
    below = (child for child in ast.iter_child_nodes(node) if child not in handled)
    return any(raises(child) for child in below if not isinstance(child, Function | ast.ClassDef))


def docstring(node: ast.Module | ast.ClassDef | Function) -> str:
    return ast.get_docstring(node) or ""


def last_name(node: ast.expr) -> str:
    """Returns `c` for `a.b.c`, `c[...]` and `c(...)`."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def parameters(function: Function) -> list[str]:
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [arg.arg for arg in every if arg and arg.arg not in {"self", "cls"}]


def test_docstrings_are_complete_and_plain() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    named = {path.relative_to(ROOT).as_posix(): path for path in paths}
    assert faults({name: path.read_text("utf-8") for name, path in named.items()}) == []


BAD = '''"""What is told of a search."""
def f(a, *, b): "Adds."
def g(a, *b, **c):
    """Adds.\n\n    Args:\n        a: One.\n        d: Another.\n    """
    raise ValueError(a)
@dataclass
class C:
    """Holds.\n\n    Attributes:\n        x: One.\n    """
    x: int
    y: int
    _z: int
class D:
    """Asks the hopeless."""
    def __init__(self, a, b): ...
    def m(self, a, b): "Does."
'''

GOOD = '''"""Adds."""
class P(Protocol):
    def m(self, a, b):
        """Does.\n\n        Args:\n            a: One.\n            b: Two.\n        """
class Q:
    def m(self, a, b): "Does it differently."
class S(framework.Base):
    def n(self, a, b): "Does as the framework says."
def f(a):
    """Adds; raises as `g` does."""
    raise ValueError
def g():
    try: raise ValueError
    except ValueError: raise
def _h(a, b): "Is private."
'''


def test_bad_docstrings_are_found() -> None:
    assert [fault.partition(": ")[2] for fault in faults({"m.py": BAD})] == [
        "module: 'What is' in its first line: name the subject",
        "D: 'hopeless' in its first line: name the subject",
        "f: `Args:` lacks a, b",
        "g: `Args:` lacks b, c",
        "g: `Args:` has d, which does not exist",
        "g: `Raises:` is missing",
        "C: `Attributes:` lacks y",
        "D: `Args:` lacks a, b",
        "m: `Args:` lacks a, b",
    ]
    assert faults({"n.py": "\n\ndef f(a, b): ..."}) == ["n.py:3: f: `Args:` lacks a, b"]


def test_interfaces_and_frameworks_document_their_methods() -> None:
    assert faults({"m.py": GOOD}) == []
