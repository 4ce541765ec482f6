"""The site: generated pages are what the code says, and built ones show and link what is there."""

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

import fasttts
from website.fragments import FRAGMENTS, filled
from website.links import broken_links, outside_hosts, read_page
from website.pages import FOLDER, PAGES, page_text

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "docs").rglob("*.md"))
FILLED_IN = [path for path in SOURCES if "api" in path.parts] + [ROOT / "docs" / "index.md"]
"""Pages that hold what the site alone understands."""

WRITE = "`python -m website pages` writes it anew"


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == page_text(name), WRITE


@pytest.mark.parametrize("page", FRAGMENTS)
def test_generated_parts_are_what_the_code_says(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert filled(page, text) == text, WRITE


def test_every_generated_page_is_known() -> None:
    """What is no longer generated is no page that somebody forgot to delete."""
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.md")}
    assert found == {*PAGES, "index.md"}


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.md"))
    missing = [name for name in fasttts.__all__ if name not in text and name != "__version__"]
    assert missing == []


def test_every_page_is_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    def pages(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        parts = part.values() if isinstance(part, dict) else part
        assert isinstance(parts, type({}.values()) | list)
        return [page for one in parts for page in pages(one)]

    found = Counter(pages(nav))
    assert found == Counter(path.relative_to(ROOT / "docs").as_posix() for path in SOURCES)


@pytest.mark.slow
def test_links_and_anchors_lead_somewhere(site: Path) -> None:
    assert broken_links(site) == []


@pytest.mark.slow
def test_a_page_loads_nothing_from_other_hosts(site: Path) -> None:
    assert outside_hosts(site) == set()


@pytest.mark.slow
def test_classes_and_functions_have_anchors(site: Path) -> None:
    anchors = {
        a for page in (site / "reference" / "api").rglob("*.html") for a in read_page(page).anchors
    }
    assert {"fasttts.FastTTS", "fasttts.FastTTS.search", "fasttts.SearchResult"} <= anchors


@pytest.mark.slow
def test_the_search_knows_every_page(site: Path) -> None:
    index = (site / "search.json").read_text(encoding="utf-8")
    for path in SOURCES:
        name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert f'"{name.removesuffix("index")}'.rstrip("/") in index, name


class Shape(HTMLParser):
    """Counts what Markdown makes: items of lists, rows of tables, blocks of code."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"li", "tr", "pre", "h2", "h3"}:
            self.counts[tag] += 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path not in FILLED_IN],
    ids=lambda path: path.relative_to(ROOT / "docs").as_posix(),
)
def test_the_site_shows_what_other_renderers_show(path: Path, site: Path) -> None:
    """The site's Markdown needs blank lines and indents that CommonMark does not."""
    name = path.relative_to(ROOT / "docs").with_suffix("")
    folder = name.parent if name.name == "index" else name
    built = (site / folder / "index.html").read_text(encoding="utf-8")
    article = built[built.index("<article") : built.index("</article>")]
    shown, expected = Shape(), Shape()
    shown.feed(article)
    expected.feed(
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(path.read_text(encoding="utf-8"))
    )
    assert shown.counts == expected.counts
