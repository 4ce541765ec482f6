"""The page in a real browser: what it shows, how it is worked, and what hostile text does to it."""

import contextlib
import http.server
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from fasttts.page import search_page
from fasttts.streaming.live_result import LiveResult
from fasttts.types import SearchResult, StepFinished, StopReason, Timings
from tests.page.conftest import Open
from tests.pages import HOSTILE, hostile, large, small

pytestmark = pytest.mark.browser


def rows(page: Chrome) -> list[str]:
    """The texts of the rows that are there, in order."""
    return page.execute_script(
        "return [...document.querySelectorAll('#rows .row bdi')].map((one) => one.textContent)"
    )


def one(page: Chrome, selector: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, selector)


def press(page: Chrome, *keys: str) -> None:
    for key in keys:
        one(page, "#grid").send_keys(key)


def active(page: Chrome) -> str:
    """The text of the row that a screen reader is at."""
    return page.execute_script(
        "return document.getElementById(byId('grid').getAttribute('aria-activedescendant'))"
        ".querySelector('bdi').textContent"
    )


def new_data(page: Chrome, *results: Any) -> None:
    document = {"results": [each.to_dict() for each in results]}
    page.execute_script("fasttts.render(JSON.parse(arguments[0]))", json.dumps(document))


ALL = [
    "First, count the boxes.",
    "Three boxes of twelve.",
    "That makes 36.",
    "Add them up.",
    "Nobody asked for this.",
    "Subtract the boxes.",
    "The answer is 42.",
]


def test_a_page_opens_without_the_network(open_page: Open) -> None:
    page = open_page(small().to_html())
    assert page.title == "Tom has 3 boxes of 12 pencils. – FastTTS"
    assert one(page, "h1").text == "Tom has 3 boxes of 12 pencils."
    assert one(page, "#answer b").text == "42"
    assert rows(page) == ALL
    assert one(page, "#count").text == "7 nodes, 1 of them wasted"
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    for picture in ("#map", "#slots"):
        drawn = "const c = document.querySelector(arguments[0]);"
        drawn += "return new Set(c.getContext('2d').getImageData(0,0,c.width,c.height).data).size"
        assert page.execute_script(drawn, picture) > 10


def test_fates_say_what_ran_ahead_and_what_became_of_it(open_page: Open) -> None:
    page = open_page(small().to_html())
    read = "return [...document.querySelectorAll('#rows .row')].map((row) => "
    read += (
        "[row.querySelector('.fate .word').textContent, row.querySelector('.when').textContent])"
    )
    assert page.execute_script(read) == [
        ["continued", "0 to 2 ran ahead, kept, 2 to 4 required"],
        ["continued", "4 to 6 ran ahead, kept, 6 to 8 required"],
        ["answer", "8 to 10 ran ahead, kept, 10 to 12 required"],
        ["pruned", "4 to 8 required"],
        ["wasted", "8 to 12 ran ahead, wasted"],
        ["pruned", "0 to 4 required"],
        ["answer", "0 to 4 required"],
    ]


def test_folding_by_mouse(open_page: Open) -> None:
    page = open_page(small().to_html())
    one(page, "#row-0 .fold").click()
    assert rows(page) == [ALL[0], *ALL[5:]]
    assert one(page, "#row-0").get_attribute("aria-expanded") == "false"
    one(page, "#row-0 .fold").click()
    assert rows(page) == ALL
    one(page, "#fold").click()
    assert rows(page) == [ALL[0], *ALL[5:]]
    one(page, "#unfold").click()
    assert rows(page) == ALL


def test_the_keyboard_moves_folds_and_unfolds(open_page: Open) -> None:
    page = open_page(small().to_html())
    press(page, Keys.DOWN)
    assert active(page) == ALL[0]
    press(page, Keys.RIGHT)  # unfolded already: to the first child
    assert active(page) == ALL[1]
    press(page, Keys.LEFT)
    assert rows(page) == [*ALL[:2], *ALL[3:]]
    press(page, Keys.RIGHT)
    assert rows(page) == ALL
    press(page, Keys.END)
    assert active(page) == ALL[-1]
    press(page, Keys.UP, Keys.UP, Keys.LEFT)  # of a leaf: to its parent
    assert active(page) == ALL[3]
    press(page, Keys.HOME, Keys.ENTER)
    assert rows(page) == [ALL[0], *ALL[5:]]
    assert one(page, "#details-title").text == "Step 1, path 0"
    press(page, "w")
    assert active(page) == "That makes 36."
    press(page, "/")
    assert page.switch_to.active_element.get_attribute("id") == "find"


def test_filters_show_matches_and_what_is_above_them(open_page: Open) -> None:
    page = open_page(small().to_html())
    one(page, "#find").send_keys("ADD")
    assert rows(page) == [ALL[0], ALL[3]]
    assert "context" in one(page, "#row-0").get_attribute("class")
    assert one(page, "#count").text == "1 of 7 nodes"
    one(page, "#find").send_keys(Keys.CONTROL + "a", Keys.DELETE)
    expected = {
        "winner": ALL[:3],
        "kept": [*ALL[:3], ALL[6]],
        "pruned": [ALL[0], ALL[3], ALL[5]],
        "ahead": ALL[:3],
        "wasted": [ALL[0], ALL[3], ALL[4]],
    }
    for kind, shown in expected.items():
        one(page, f"[data-kind={kind}]").click()
        assert rows(page) == shown, kind
        assert one(page, f"[data-kind={kind}]").get_attribute("aria-pressed") == "true"
        one(page, f"[data-kind={kind}]").click()
    assert rows(page) == ALL
    one(page, "#least").send_keys(*[Keys.RIGHT] * 85)
    assert one(page, "#least-value").text == "0.85"
    assert rows(page) == ALL[:3]


def test_the_winning_path_is_found_behind_folds_and_filters(open_page: Open) -> None:
    page = open_page(small().to_html())
    one(page, "#fold").click()
    one(page, "#find").send_keys("subtract")
    one(page, "#follow").click()
    assert active(page) == "That makes 36."
    assert one(page, "#find").get_attribute("value") == ""
    assert "winning path" in one(page, "#detail").text
    assert page.execute_script("return document.querySelectorAll('.row.winner').length") == 3
    one(page, "#candidates li:nth-child(2) button").click()
    assert active(page) == "The answer is 42."
    assert one(page, ".votes").text.split() == ["Votes:", "majority", "42", "2"]


def test_a_click_on_the_picture_of_the_tree_selects_a_step(open_page: Open) -> None:
    page = open_page(small().to_html())
    picture = one(page, "#map")
    right = picture.size["width"] // 2 - 8
    ActionChains(page).move_to_element_with_offset(picture, right, 0).click().perform()
    assert one(page, "#details-title").text.startswith("Step 3")


def test_a_screen_reader_finds_names_roles_and_levels(open_page: Open) -> None:
    page = open_page(small().to_html(small()))
    press(page, Keys.DOWN, Keys.DOWN)
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (each["role"]["value"], each.get("name", {}).get("value", ""), properties(each))
        for each in tree
        if not each["ignored"]
    ]
    named = {(role, name) for role, name, _ in found}
    assert {
        ("treegrid", "Steps"),
        ("searchbox", "Find in steps"),
        ("slider", "score at least"),
        ("button", "Unfold all"),
        ("heading", "Tom has 3 boxes of 12 pencils."),
        ("tablist", "Searches"),
        ("columnheader", "Score"),
        ("image", "Tree of 7 nodes; the table below has them all."),
        ("image", "12 iterations in 8 slots; the plain loop needs 12."),
        ("group", "Show only"),
    } <= named
    controls = ("button", "searchbox", "slider", "tab", "image", "treegrid", "textbox")
    assert [role for role, name, _ in found if role in controls and not name] == []
    levels = [each["level"] for role, _, each in found if role == "row" and "level" in each]
    assert levels == [1, 2, 3, 2, 3, 1, 1]
    selected = [name for role, name, each in found if role == "row" and each.get("selected")]
    assert len(selected) == 1
    assert ALL[1] in selected[0]


def properties(node: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each["value"].get("value") for each in node.get("properties", [])}


@pytest.mark.parametrize("is_framed", [False, True], ids=["page", "notebook"])
def test_hostile_text_is_shown_as_text(open_page: Open, is_framed: bool) -> None:
    made = hostile()
    alarm = "<script>function pwn() { document.title = 'pwned'; }</script>"
    page = open_page(alarm + made._repr_html_() if is_framed else made.to_html())
    if is_framed:
        assert page.find_elements(By.CSS_SELECTOR, "b, img, body > script") == []
        page.switch_to.frame(one(page, "iframe"))
        with pytest.raises(Exception, match="cross-origin"):
            page.execute_script("return parent.document.title")
    page.execute_script("window.pwn = () => { document.body.dataset.pwned = 'yes'; }")
    one(page, "#unfold").click()
    for _ in range(len(made.record.nodes)):
        press(page, Keys.DOWN)
    shown = rows(page)
    assert shown[0] == shown[1] == HOSTILE["markup"]
    assert shown[2:5] == [HOSTILE[name] for name in ("script", "attribute", "template")]
    assert shown[5] == "total U+202E09U+202C and U+2066isolatedU+2069 U+200F"
    assert shown[6] == "half U+D83D of a pair"
    assert shown[7] == "nul U+0000 escape U+001B[31m bell U+0007"
    assert shown[8] == "zeroU+200Bwidth U+FEFFU+E0041 U+2028 line"
    assert shown[9] == "x" * 300 + "…"
    assert shown[10] == HOSTILE["right to left"]
    count = "return document.querySelectorAll(arguments[0]).length"
    assert page.execute_script(count, "script") == 2
    assert page.execute_script(count, "img, [onmouseover], [onerror], body b b") == 0
    assert page.execute_script("return document.body.dataset.pwned") is None
    assert HOSTILE["script"] in one(page, "h1").text
    assert "\u202e" not in page.execute_script("return document.body.innerText + document.title")
    page.switch_to.default_content()
    assert page.title != "pwned"


def test_a_long_step_is_shortened_until_it_is_asked_for(open_page: Open) -> None:
    page = open_page(hostile().to_html())
    press(page, Keys.END, Keys.UP)
    length = "return document.querySelector('#detail pre').textContent.length"
    assert page.execute_script(length) < 21_000
    one(page, "#detail pre button").click()
    assert page.execute_script(length) == 60_000


def test_the_policy_lets_no_other_script_run(open_page: Open, chrome: Chrome) -> None:
    page = open_page(small().to_html())
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 1';"
        "document.body.append(s); byId('answer').setAttribute('onclick', 'window.pwned = 1');"
        "byId('answer').click(); fetch('https://example.org').catch(() => { window.refused = 1; })"
    )
    WebDriverWait(page, 60).until(lambda _: page.execute_script("return window.refused") == 1)
    assert page.execute_script("return window.pwned") is None
    refusals = [each["message"] for each in chrome.get_log("browser")]
    assert len(refusals) >= 3
    assert all("Content Security Policy" in each for each in refusals)


def test_ten_thousand_nodes_open_in_two_seconds_and_scroll(open_page: Open) -> None:
    made = large(10_000)
    assert len(made.record.nodes) == 10_000
    page = open_page("<title>empty</title>")
    # Of the page's thread, so that it does not matter what else the machine does meanwhile.
    page.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    page = open_page(made.to_html())
    assert rows(page)
    assert busy_s(page) < 2.0
    assert one(page, "#count").text.startswith("10,000 nodes, ")

    def taken_s(script: str) -> float:
        before = busy_s(page)
        page.execute_script(f"{script}; document.body.offsetHeight")
        return busy_s(page) - before

    assert taken_s("byId('unfold').click()") < 0.5
    assert len(rows(page)) < 100
    for share in (0.3, 0.7, 1.0):
        assert taken_s(f"grid.grid.scrollTop = {share} * grid.grid.scrollHeight; grid.draw()") < 0.2
    assert one(page, "#rows .row:last-child").get_attribute("aria-rowindex") == "10001"
    assert taken_s("filterBy({text: '999'})") < 0.5
    assert taken_s("filterBy({text: ''}); followWinner()") < 0.5
    assert one(page, ".row[aria-selected=true]").is_displayed()
    assert taken_s("drawFigures()") < 0.5


def busy_s(page: Chrome) -> float:
    """Seconds that the thread of the page has worked since it was opened."""
    metrics = page.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "TaskDuration")


def test_newer_data_keep_folds_selection_and_filters(open_page: Open) -> None:
    page = open_page(small().to_html())
    one(page, "#row-1 .fold").click()
    press(page, Keys.END)
    assert one(page, "#detail").text.startswith("An answer ends here.")
    new_data(page, small(num_further=3))
    further = ["Further step 0.", "Further step 1.", "Further step 2."]
    assert rows(page) == [*ALL[:2], *ALL[3:], *further]
    assert active(page) == ALL[-1]
    assert one(page, "#details-title").text == "Step 1, path 2"
    assert page.switch_to.active_element.get_attribute("id") == "grid"
    one(page, "#find").send_keys("further")
    new_data(page, small(num_further=2))
    assert rows(page) == further[:2]
    assert one(page, "#count").text == "2 of 9 nodes"


def test_searches_side_by_side(open_page: Open) -> None:
    page = open_page(small().to_html(small(num_further=2), large(40)))
    cards = page.find_elements(By.CSS_SELECTOR, "[role=tab]")
    assert [card.get_attribute("aria-selected") for card in cards] == ["true", "false", "false"]
    cards[1].click()
    assert one(page, "#count").text == "9 nodes, 1 of them wasted"
    cards[1].send_keys(Keys.RIGHT)
    assert one(page, "h1").text == "A search of 40 nodes"
    assert page.switch_to.active_element.get_attribute("aria-selected") == "true"
    tops = {card.rect["y"] for card in page.find_elements(By.CSS_SELECTOR, "[role=tab]")}
    assert len(tops) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_legible_in_both_schemes_and_on_a_phone(
    open_page: Open, scheme: str, width: int
) -> None:
    page = open_page(small().to_html(small()), width=width, scheme=scheme)
    room = "const root = document.documentElement; return root.scrollWidth - root.clientWidth"
    assert page.execute_script(room) <= 0
    colors = "const s = getComputedStyle(document.documentElement);"
    colors += "return ['ink', 'muted', 'panel', 'page', 'chosen', 'good'].map((name) => "
    colors += "s.getPropertyValue('--' + name).trim())"
    ink, muted, *grounds = page.execute_script(colors)
    assert (luminance(ink) > 0.5) == (scheme == "dark")
    assert min(contrast(ink, ground) for ground in grounds) > 7
    assert min(contrast(muted, ground) for ground in grounds) > 4.5


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@contextlib.contextmanager
def served(page: str, *documents: str) -> Iterator[str]:
    """A server with a page, and a stream of events with newer data for it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_feed = self.path == "/feed"
            events = "".join(f"data: {document}\n\n" for document in documents)
            self.send_response(200)
            kind = "text/event-stream" if is_feed else "text/html; charset=utf-8"
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write((f"retry: 600000\n{events}" if is_feed else page).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_feeds_it(open_page: Open, chrome: Chrome) -> None:
    open_page("<title>empty</title>")
    running = LiveResult("Running", {"search": "dvts", "n": 2}, generator="g")
    running.take(StepFinished(path=(0,), text="The first step."))
    results = [running.result.to_dict(), small(num_further=3).to_dict()]
    newer = [json.dumps({"results": [each]}) for each in results]
    with served(search_page([small().to_dict()], feed="/feed"), newer[0]) as address:
        chrome.get(address)
        WebDriverWait(chrome, 60).until(lambda _: one(chrome, "h1").text == "Running")
        assert rows(chrome) == ["The first step."]
        chrome.execute_script("fasttts.render(JSON.parse(arguments[0]))", newer[1])
        assert one(chrome, "#count").text == "10 nodes, 1 of them wasted"
    chrome.get("about:blank")
    faults = [each["message"] for each in chrome.get_log("browser")]
    assert [each for each in faults if "favicon" not in each] == []


def test_a_search_that_did_not_complete_says_why(open_page: Open) -> None:
    page = open_page(search_page([]))
    told = set()
    for reason in get_args(StopReason):
        new_data(page, replace(small(), stop_reason=reason))
        told.add(one(page, "#answer").text.removeprefix("Answer: 42").strip())
    assert told == {
        "",
        *(f"The search ended at its budget of {one}." for one in ("seconds", "tokens")),
        "The search ended at its budget of verifier calls.",
        "The search was refused: it could not have met its deadline.",
        "The search was cancelled.",
    }


def test_numbers_that_json_lacks_are_dashes(open_page: Open) -> None:
    """As of a result that a function of the user's has changed."""
    odd, made = math.nan, small()
    nodes = tuple(replace(each, score=odd) for each in made.record.nodes)
    page = open_page(
        replace(
            made,
            score=odd,
            votes=(replace(made.votes[0], weight=math.inf),),
            timings=Timings(total_s=odd),
            record=replace(made.record, nodes=nodes),
        ).to_html()
    )
    assert rows(page) == ALL
    assert one(page, "#votes td:last-child").text == "–"
    shown = one(page, "#numbers").text.split("\n")
    assert (shown[shown.index("score") + 1], shown[shown.index("time") + 1]) == ("–", "–")


def test_a_page_of_nothing_says_so(open_page: Open) -> None:
    page = open_page(search_page([]))
    assert one(page, "h1").text == "No search yet"


def test_a_result_without_a_record_has_candidates(open_page: Open) -> None:
    document = small().to_dict()
    del document["record"], document["version"]
    document["candidates"][0]["path"] = []  # as a draft's, which is in no tree
    page = open_page(SearchResult.from_dict(document).to_html())
    assert rows(page) == []
    assert one(page, "#answer b").text == "42"
    assert len(page.find_elements(By.CSS_SELECTOR, "#candidates li")) == 2
