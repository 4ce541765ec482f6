"""`--tree` and `--trees`: the pages of searches as files."""

import logging
from collections.abc import Sequence
from pathlib import Path

from fasttts.errors import ConfigurationError
from fasttts.types import SearchResult

logger = logging.getLogger(__name__)

_RESULTS = "results"
"""Folder of the results behind an evaluation's pages."""


def check_tree(file: Path | None) -> None:
    """Checks that the page of a search can be written to a file; None asks for none.

    Raises:
        ConfigurationError: It cannot.
    """
    if file is None:
        return
    if file.suffix.lower() not in {".html", ".htm"}:
        raise ConfigurationError(f"--tree {file}: the page is HTML, so name it *.html")
    if not file.parent.is_dir():
        raise ConfigurationError(f"--tree {file}: there is no directory {file.parent}")
    if file.is_dir():
        raise ConfigurationError(f"--tree {file}: it is a directory")


def save_tree(result: SearchResult, file: Path) -> None:
    """Writes the page of a search.

    Args:
        result: The result of the search.
        file: The HTML file to write.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    try:
        file.write_text(result.to_html(), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--tree {file}: {error}") from error


def make_folder(folder: Path | None) -> None:
    """Makes the directory of an evaluation's pages if it is missing; None asks for none.

    Raises:
        ConfigurationError: It cannot be made.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--trees {folder}: {error}") from error


class TreePages:
    """The pages of an evaluation: one for each problem, with the searches of all methods.

    Results are kept as files beside the pages, so that a page can be written again when the next
    method has answered its problem, in this run or in a later one.

    Args:
        folder: Where `problem-0000.html` and so on are written.
        methods: The methods, in the order in which a page shows them.
    """

    def __init__(self, folder: Path, methods: Sequence[str]) -> None:
        self._folder = folder
        self._methods = methods

    def add(self, index: int, method: str, result: SearchResult) -> None:
        """Keeps a result, and writes the page of its problem anew.

        Args:
            index: Number of the problem.
            method: The method that found it.
            result: The result.

        Raises:
            ConfigurationError: A file cannot be written.
        """
        make_folder(self._folder / _RESULTS)
        _write(self._file(index, method), result.to_json())
        kept = [
            result if name == method else _read(self._file(index, name)) for name in self._methods
        ]
        found = [one for one in kept if one is not None and _is_of_the_same(one, result)]
        page = found[0].to_html(*found[1:])
        _write(self._folder / f"problem-{index:04}.html", page)

    def _file(self, index: int, method: str) -> Path:
        return self._folder / _RESULTS / f"problem-{index:04}.{method}.json"


def _is_of_the_same(one: SearchResult, other: SearchResult) -> bool:
    """Whether two results are of one problem; an older evaluation may have left others."""
    return (one.record.problem, one.seed) == (other.record.problem, other.seed)


def _read(file: Path) -> SearchResult | None:
    """A result that an evaluation has kept; None where there is none, or none that is whole."""
    try:
        return SearchResult.from_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s is left out of its page: %s", file, error)
        return None


def _write(file: Path, text: str) -> None:
    """Writes a file of an evaluation, which is there whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise ConfigurationError(f"--trees {file}: {error}") from error
