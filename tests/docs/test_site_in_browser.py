"""The site in a real browser: each page fits a phone and a desk, has both colours, is found."""

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

COLOURS = "return document.body.dataset.mdColorScheme"
DIALOG = "return document.activeElement.shadowRoot !== null"
RESULTS = """
const found = document.activeElement.shadowRoot.querySelectorAll("[href*='h=granularity']");
return [...found].map(link => link.href);
"""
LONGEST_WAIT_S = 60

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing is written for a request."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def unmarked(chrome: webdriver.Chrome, address: str) -> None:
    """Nothing is kept from another test, the chosen colours for one."""
    chrome.get("about:blank")  # a page that is open would write its colours again
    kinds = {"origin": address, "storageTypes": "all"}
    chrome.execute_cdp_cmd("Storage.clearDataForOrigin", kinds)
    chrome.get_log("browser")


def set_view(chrome: webdriver.Chrome, width: int, scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait_for(chrome: webdriver.Chrome, found: Callable[[webdriver.Chrome], Any]) -> Any:
    """Waits for what a page's script does in its own time, long on a busy machine."""
    return WebDriverWait(chrome, LONGEST_WAIT_S).until(found)


def wait_for_colours(chrome: webdriver.Chrome, colours: str) -> None:
    wait_for(chrome, lambda one: one.execute_script(COLOURS) == colours)


def test_every_page_fits_and_reports_nothing(
    chrome: webdriver.Chrome, site: Path, address: str
) -> None:
    for page in sorted(site.rglob("index.html")):
        set_view(chrome, 390)
        chrome.get(f"{address}/{page.parent.relative_to(site).as_posix()}/")
        for width in (390, 1366):
            set_view(chrome, width)
            found = chrome.execute_script("return document.documentElement.scrollWidth")
            assert found <= width, f"{page} is {found} wide"
    assert chrome.get_log("browser") == []


@pytest.mark.parametrize(("scheme", "colours"), [("light", "default"), ("dark", "slate")])
def test_it_has_the_colours_of_the_reader(
    scheme: str, colours: str, chrome: webdriver.Chrome, address: str
) -> None:
    set_view(chrome, 390, scheme)
    chrome.get(f"{address}/compatibility/")
    wait_for_colours(chrome, colours)


def test_the_search_finds_an_option(chrome: webdriver.Chrome, address: str) -> None:
    set_view(chrome, 1366)
    chrome.get(f"{address}/")

    def is_open(one: webdriver.Chrome) -> bool:
        """Until the page's script listens, a key that is pressed is lost."""
        if not one.execute_script(DIALOG):
            keys = webdriver.ActionChains(one)
            keys.key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
            return False
        return True

    wait_for(chrome, is_open)
    webdriver.ActionChains(chrome).send_keys("granularity").perform()

    def is_found(one: webdriver.Chrome) -> bool:
        """Whether it is among the results, which come one after the other."""
        return any("/reference/search-options/" in link for link in one.execute_script(RESULTS))

    wait_for(chrome, is_found)


def test_the_colours_change_by_a_click(chrome: webdriver.Chrome, address: str) -> None:
    set_view(chrome, 1366)
    chrome.get(f"{address}/")
    wait_for_colours(chrome, "default")
    chrome.find_element(By.CSS_SELECTOR, "label[title='Dark colours']").click()
    wait_for_colours(chrome, "slate")
