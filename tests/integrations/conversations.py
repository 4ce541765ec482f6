"""What the tests of both frameworks' chat classes share: searches, a tool, an endless answer."""

from typing import Any

SEARCHES = [
    {"search": "none"},
    {"search": "best_of_n", "n": 3},
    {"search": "beam_search", "n": 4, "beam_width": 2},
]
ENDLESS = {"max_tokens": 10_000}
"""The options under which `never_end` keeps a model busy."""


def get_weather(city: str) -> str:
    """Tells the weather in a city."""
    return f"sunny in {city}"


def never_end(generator: Any) -> None:
    """Lets the answer to "Why?" take longer than any test waits."""
    generator.step_s = 0.002
    generator.answers["Why?"] = "and so on " * 1000
