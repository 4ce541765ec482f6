"""Pictures of searches for the documents: `python -m benchmarks.page_pictures docs/pictures`.

It searches for the answer of one test problem on the bundled models, in 24 slots, and photographs
the pages in Chromium.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from fasttts import FastTTS, SchedulingConfig, SearchResult
from fasttts.demo.problems import generate_problems

PROBLEM = generate_problems("test", 0, 21, min_operations=4, max_operations=8)[-1]
SLOTS = 24
SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "beam search": {"search": "beam_search", "n": 32},
    "dvts": {"search": "dvts", "n": 16, "beam_width": 2},
    "best of n": {"search": "best_of_n", "n": 16, "selection": "weighted"},
    "self-consistency": {"search": "self_consistency", "n": 16, "selection": "majority"},
}


class Picture(NamedTuple):
    """A page, and how it is looked at.

    Attributes:
        name: Name of the file.
        searches: Keys of `SEARCHES`.
        scheme: Light or dark.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        clicked: Selectors of what is clicked before, in order.
    """

    name: str
    searches: tuple[str, ...]
    scheme: str
    width: int = 1280
    height: int = 940
    clicked: tuple[str, ...] = ("#follow",)


PICTURES = (
    Picture("beam-search", ("beam search",), "light"),
    Picture("dvts", ("dvts",), "dark"),
    Picture("best-of-n", ("best of n",), "light", clicked=()),
    Picture("side-by-side", tuple(SEARCHES), "light", height=800),
    Picture("phone", ("beam search",), "dark", width=400, height=1250),
)


def searched() -> dict[str, SearchResult]:
    """The results of all searches."""
    with FastTTS.load("demo", scheduling=SchedulingConfig(slots=SLOTS)) as engine:
        return {
            name: engine.search(PROBLEM.text, seed=1, **options)
            for name, options in SEARCHES.items()
        }


def photograph(picture: Picture, page: Path, file: Path) -> None:
    """Opens a page in a browser without a window and writes what is seen of it."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        size = {"width": picture.width, "height": picture.height, "mobile": picture.width < 600}
        features = [{"name": "prefers-color-scheme", "value": picture.scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**size, "deviceScaleFactor": 1}
        )
        browser.get(page.as_uri())
        for selector in picture.clicked:
            # Not the browser's own click, which scrolls.
            browser.execute_script("document.querySelector(arguments[0]).click()", selector)
        browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 300))")
        browser.save_screenshot(str(file))
    finally:
        browser.quit()


def main() -> None:
    """Writes all pictures into a directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    results = searched()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        for picture in PICTURES:
            first, *others = (results[name] for name in picture.searches)
            page.write_text(first.to_html(*others), encoding="utf-8")
            photograph(picture, page, output / f"{picture.name}.png")


if __name__ == "__main__":
    main()
