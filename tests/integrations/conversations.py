"""What the tests of both frameworks' chat classes share: searches and a tool."""

SEARCHES = [
    {"search": "none"},
    {"search": "best_of_n", "n": 3},
    {"search": "beam_search", "n": 4, "beam_width": 2},
]


def get_weather(city: str) -> str:
    """Tells the weather in a city."""
    return f"sunny in {city}"
