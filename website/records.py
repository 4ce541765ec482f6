"""Sections of classes that carry values: events and errors with their fields."""

import inspect
import re
from collections.abc import Iterable

from website import docstrings
from website.tables import table

_MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])")


def section(of: type, *, level: int = 2) -> str:
    """A heading, the docstring of a class, and a table of its fields where it has some.

    Args:
        of: The class.
        level: Of the heading.
    """
    parts = [f"{'#' * level} {of.__name__}", docstrings.text(of)]
    meanings = docstrings.fields(of)
    if meanings:
        hints = _annotations(of)
        rows = ((f"`{name}`", hints[name], meaning) for name, meaning in meanings.items())
        parts.append(table(("field", "type", "meaning"), rows).rstrip())
    return "\n\n".join(parts) + "\n"


def subclasses(of: type) -> list[type]:
    """A class and those of its module that derive from it, parents before children, by name.

    Args:
        of: The class.
    """
    found = [of]
    children: list[type] = sorted(of.__subclasses__(), key=lambda child: child.__name__)
    for child in children:
        if child.__module__ == of.__module__:
            found += subclasses(child)
    return list(dict.fromkeys(found))


def tree(classes: Iterable[type]) -> str:
    """The classes below one another, each with the built-in errors that it also is.

    Args:
        classes: Parents before children, as of `subclasses`.
    """
    known = list(classes)
    lines = []
    for one in known:
        depth = sum(base in known for base in inspect.getmro(one)[1:])
        others = [base.__name__ for base in one.__bases__ if base not in known]
        also = f" ({', '.join(others)})" if others else ""
        lines.append(f"{'    ' * depth}{one.__name__}{also}\n")
    return f"```text\n{''.join(lines)}```\n"


def _annotations(of: type) -> dict[str, str]:
    """Types of the constructor's parameters, as code."""
    parameters = inspect.signature(of).parameters.values()
    hints = {one.name: inspect.formatannotation(one.annotation) for one in parameters}
    return {name: f"`{_MODULE.sub('', hint)}`" for name, hint in hints.items()}
