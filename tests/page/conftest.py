"""A browser without a window, which opens files of the test and nothing else."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import browsers

Open = Callable[..., webdriver.Chrome]

chrome = pytest.fixture(scope="module")(browsers)


@pytest.fixture
def open_page(chrome: webdriver.Chrome, tmp_path: Path) -> Iterator[Open]:
    """Opens a page in a window of a size and a colour scheme; it may report no error."""
    numbers = itertools.count()

    def opened(page: str, *, width: int = 1280, scheme: str = "light") -> webdriver.Chrome:
        file = tmp_path / f"page-{next(numbers)}.html"
        file.write_text(page, encoding="utf-8")
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chrome.get(file.as_uri())
        # On a busy machine `get` may come back while the window still shows the page before.
        loaded = "return location.href === arguments[0] && document.readyState === 'complete'"
        WebDriverWait(chrome, 60).until(lambda _: chrome.execute_script(loaded, file.as_uri()))
        return chrome

    yield opened
    assert chrome.get_log("browser") == []
