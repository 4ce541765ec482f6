"""Whether the links, pictures and anchors of a built site lead somewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINKS = {"a": "href", "img": "src", "link": "href", "script": "src"}


@dataclass(slots=True)
class Page:
    """Links and anchors of a page.

    Attributes:
        links: Addresses as they are written.
        anchors: Values of `id` and of the older `name` of links.
    """

    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.page.anchors.add(value)
            elif _LINKS.get(tag) == name:
                self.page.links.append(value)


def read_page(path: Path) -> Page:
    """Reads links and anchors of an HTML file.

    Args:
        path: The file.
    """
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def broken_links(site: Path) -> list[str]:
    """Links of a site that lead nowhere, each with its page; those to other hosts are not followed.

    Args:
        site: The folder of the built site.
    """
    pages = {path.resolve(): read_page(path) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site.resolve())} links to {link}"
        for path, page in pages.items()
        for link in dict.fromkeys(page.links)
        if not _leads_somewhere(link, path, site.resolve(), pages)
    ]


def outside_hosts(site: Path) -> set[str]:
    """Hosts that a reader's browser would load scripts, styles or pictures from.

    Args:
        site: The folder of the built site.
    """
    return {host for path in site.rglob("*.html") for host in _loaded(path)}


def _loaded(path: Path) -> Iterator[str]:
    reader = _Loads()
    reader.feed(path.read_text(encoding="utf-8"))
    yield from reader.hosts


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hosts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        is_loaded = tag in {"img", "script"} or values.get("rel") in {"stylesheet", "icon"}
        host = urlsplit(values.get(_LINKS.get(tag, "")) or "").netloc
        if is_loaded and host:
            self.hosts.append(host)


def _leads_somewhere(link: str, path: Path, site: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = unquote(parts.path)
    start = site if target.startswith("/") else path.parent
    found = (start / target.lstrip("/")).resolve() if target else path
    if found.is_dir():
        found /= "index.html"
    if not found.is_file() or not found.is_relative_to(site):
        return False
    anchor = unquote(parts.fragment)
    return not anchor or found not in pages or anchor in pages[found].anchors
