"""The page that shows searches: one HTML file, drawn from nothing but their JSON.

It needs no network. Texts of models are untrusted: the JSON that holds them cannot end its element,
the page's script makes text nodes of them, and its policy allows no other script.
"""

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["embedded_page", "search_page"]

_SCRIPTS = ("text.js", "model.js", "drawing.js", "treegrid.js", "details.js", "page.js")
_STYLE = "page.css"
_TEMPLATE = "page.html"
_IN_MARKUP = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def search_page(results: Sequence[Mapping[str, Any]], *, feed: str | None = None) -> str:
    """Writes the page of one search, or of several side by side.

    Args:
        results: The results as `SearchResult.to_dict` gives them.
        feed: Address on the page's own server of events (`text/event-stream`), each of which is
            `{"results": [...]}` anew; None for a page that stays as it is.
    """
    style, script = _file(_STYLE), "\n".join(_file(name) for name in _SCRIPTS)
    parts = {
        "policy": _policy(style, script, is_fed=feed is not None),
        "style": style,
        "script": script,
        "feed": html.escape(feed or ""),
        "data": _json({"results": results}),
    }
    # In one pass: what looks like a mark in a part is not replaced.
    return re.sub("<!--([a-z]+)-->", lambda mark: parts[mark[1]], _file(_TEMPLATE))


def embedded_page(results: Sequence[Mapping[str, Any]], *, label: str) -> str:
    """Writes the page as a frame for a notebook: it reaches neither the notebook nor the network.

    Args:
        results: As for `search_page`.
        label: Text above the frame, for readers that show no frames.
    """
    page = html.escape(search_page(results))
    return (
        f"<p>{html.escape(_legible(label))}</p>"
        f'<iframe title="FastTTS search" sandbox="allow-scripts" srcdoc="{page}" '
        'style="width: 100%; height: 720px; border: 0"></iframe>'
    )


def _policy(style: str, script: str, *, is_fed: bool) -> str:
    """The content security policy: this style, this script, and no request but for the feed."""
    feed = "'self'" if is_fed else "'none'"
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        f"connect-src {feed}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256-{digest.decode()}"


def _json(value: Any) -> str:
    """JSON that can end neither its element nor a line of a script."""
    return json.dumps(_finite(value), allow_nan=False, separators=(",", ":")).translate(_IN_MARKUP)


def _finite(value: Any) -> Any:
    """JSON data without numbers that JSON lacks."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def _legible(text: str) -> str:
    """Text with everything invisible or reordering written as escapes."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


@cache
def _file(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8").strip()
