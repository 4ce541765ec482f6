"""The HTML of a page, without a browser: one file, a function of the JSON, closed to its texts."""

import base64
import hashlib
import html
import json
import math
import re
from typing import Any

import pytest

from fasttts import SearchResult
from fasttts.page import embedded_page, search_page
from tests.pages import HOSTILE, hostile, small

DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def data(page: str) -> Any:
    (found,) = DATA.findall(page)
    return json.loads(found)


def test_the_page_is_a_function_of_the_json() -> None:
    made = small()
    assert made.to_html() == search_page([made.to_dict()])
    assert made.to_html() == SearchResult.from_json(made.to_json()).to_html()
    assert data(made.to_html()) == {"results": [made.to_dict()]}
    both = data(made.to_html(small(num_further=1)))["results"]
    assert [len(each["record"]["nodes"]) for each in both] == [7, 8]


def test_it_loads_nothing() -> None:
    page = small().to_html()
    assert re.findall(r"(?:src|href)=|https?:|url\(|@import|import\(|fetch\(|XMLHttp", page) == []
    assert "innerHTML" not in page
    assert "default-src 'none'" in page


def test_the_policy_names_this_style_and_this_script() -> None:
    page = small().to_html()
    (script,), (style,) = SCRIPT.findall(page), STYLE.findall(page)
    for kind, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in page
    assert "unsafe" not in page
    assert "connect-src 'none'" in page


@pytest.mark.parametrize("what", HOSTILE)
def test_no_text_leaves_the_data(what: str) -> None:
    made = hostile()
    page = made.to_html()
    (block,) = DATA.findall(page)
    assert re.findall("[<>&\u2028\u2029]", block) == []
    assert block.isascii()
    assert page.count("<script") == 2
    read = data(page)["results"][0]
    steps = [node["steps"][0]["text"] for node in read["record"]["nodes"]]
    assert HOSTILE[what] in steps


def test_numbers_that_json_lacks_become_null() -> None:
    document = {**small().to_dict(), "score": math.nan, "seed": math.inf}
    (read,) = data(search_page([document]))["results"]
    assert (read["score"], read["seed"]) == (None, None)


def test_a_feed_is_an_address_of_the_pages_server() -> None:
    page = search_page([], feed='/feed?a="><script>')
    assert 'data-feed="/feed?a=&quot;&gt;&lt;script&gt;"' in page
    assert "connect-src 'self'" in page


def test_a_notebook_gets_the_page_in_a_closed_frame() -> None:
    made = hostile()
    frame = made._repr_html_()
    assert 'sandbox="allow-scripts"' in frame
    assert re.findall("<[a-z]+", frame) == ["<p", "<iframe"]
    (source,) = re.findall('srcdoc="([^"]*)"', frame)
    assert html.unescape(source) == made.to_html()
    label = frame.partition("</p>")[0]
    assert "\\u202e" in label
    assert "&lt;script&gt;" in label
    assert embedded_page([], label="a\x00\ud800b").startswith("<p>a\\x00\\ud800b</p>")
