"""Descriptions of classes and their fields as Markdown, from docstrings in Google style."""

import inspect

from griffe import (
    Docstring,
    DocstringSection,
    DocstringSectionAttributes,
    DocstringSectionParameters,
    DocstringSectionText,
)

from website.tables import prose


def text(of: object) -> str:
    """The docstring without its sections: summary and paragraphs.

    Args:
        of: A class or a function.

    Raises:
        ValueError: It has none.
    """
    parts = [one.value for one in _sections(of) if isinstance(one, DocstringSectionText)]
    if not parts:
        raise ValueError(f"{of} has no docstring")
    return prose("\n\n".join(parts))


def fields(of: type) -> dict[str, str]:
    """What the docstring of a class says of each attribute or parameter, by name.

    Args:
        of: The class.
    """
    named = DocstringSectionAttributes | DocstringSectionParameters
    sections = [one for one in _sections(of) if isinstance(one, named)]
    return {one.name: prose(one.description) for section in sections for one in section.value}


def _sections(of: object) -> list[DocstringSection]:
    # Types stand in signatures, which the parser is not shown: it need not warn of their absence.
    return Docstring(inspect.getdoc(of) or "").parse("google", warnings=False)
