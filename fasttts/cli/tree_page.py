"""`--tree` and `--trees`: the pages of searches as files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fasttts.errors import ConfigurationError
from fasttts.evaluation import Method, ProblemOutcome
from fasttts.types import SearchResult


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


def save_tree(result: SearchResult, file: Path) -> None:
    """Writes the page of a search.

    Args:
        result: The result of the search.
        file: The HTML file to write.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    _write("--tree", file, result.to_html())


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


def save_trees(outcomes: Mapping[Method, Sequence[ProblemOutcome]], folder: Path) -> None:
    """Writes a page for each problem, with the searches of all methods side by side.

    Args:
        outcomes: The outcomes of each method, in the order of the problems; errors are left out.
        folder: Where `problem-0000.html` and so on are written.

    Raises:
        ConfigurationError: A file cannot be written.
    """
    for number, of_problem in enumerate(zip(*outcomes.values(), strict=True)):
        results = _results(of_problem)
        if results:
            page = results[0].to_html(*results[1:])
            _write("--trees", folder / f"problem-{number:04}.html", page)


def _results(outcomes: Iterable[ProblemOutcome]) -> list[SearchResult]:
    return [outcome for outcome in outcomes if isinstance(outcome, SearchResult)]


def _write(option: str, file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{option} {file}: {error}") from error
