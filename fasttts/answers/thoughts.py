r"""Thoughts are not answers: what of a text is said, and what its model only thought.

A model thinks between markers of its own. What stands between them, closed or cut off, is
thought. A chat template may have opened them in the prompt, so that only the closing marker is in
the text: then everything before it is thought.

* `<think>`, also with a namespace (`<seed:think>`), `<thinking>`, `<thought>`, `<reasoning>`,
  `<reflection>`, `<scratchpad>`, the same as `<|...|>`: DeepSeek-R1, Qwen and most others, EXAONE;
* `<|begin_of_thought|>`, `<|START_THINKING|>`: LLaMA-o1, Sky-T1, Cohere; `[THINK]`: Magistral;
  `◁think▷`: Kimi-VL; `<|inner_prefix|>`: Apertus; `<|channel>thought`: Gemma;
  `Here is my thought process:`: Granite; each with its own end;
* `<|channel|>analysis` or `commentary` up to `<|channel|>final`: gpt-oss, also where its special
  tokens are left out.

A marker in quotation marks or backticks is mentioned, not used; so is one in a closed block of
code, unless it has a line of its own, or it closes thoughts on the line of a fence.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

_SPACE = r"[ \t]{0,4}"
_THINK = r"(?:(?!end_)[a-z]{1,20}[:_])?(?:think(?:ing)?|thoughts?)"
_SLASH = rf"/{_SPACE}"
_MESSAGE = r"[^<\n]{0,80}(?:<\|message\|>)?"


def _tag(name: str) -> tuple[str, str]:
    """`<name>`, `<|name|>` and their ends, attributes allowed."""
    opening = rf"<\|?{_SPACE}{name}(?:[ \t][^<>\n]{{0,80}})?{_SPACE}\|?>"
    return opening, opening.replace(name, _SLASH + name)


def _any(*patterns: str) -> str:
    return "|".join(patterns)


_FAMILIES: tuple[tuple[str, str], ...] = (
    (
        _any(
            _tag(_THINK)[0],
            r"\[think\]",
            "◁think▷",
            r"<\|begin_of_thought\|>",
            r"<\|start_thinking\|>",
            r"<\|inner_prefix\|>",
            r"<\|channel>thought\b",
            r"^here(?:'s| is) my thought process:",
        ),
        _any(
            _tag(_THINK)[1],
            r"\[/think\]",
            "◁/think▷",
            r"<\|end_of_thought\|>",
            r"<\|end_thinking\|>",
            r"<\|inner_suffix\|>",
            r"<channel\|>",
            r"^here(?:'s| is) my response:",
        ),
    ),
    _tag("reasoning"),
    _tag("reflection"),
    _tag("scratchpad"),
    (
        rf"<\|channel\|>{_SPACE}(?:analysis|commentary)\b{_MESSAGE}|\Aanalysis(?-i:(?=[A-Z]))",
        rf"<\|channel\|>{_SPACE}final\b{_MESSAGE}|assistantfinal",
    ),
)
"""How each kind of thought begins and ends; only an end of its own kind ends it."""

_MARKER = _any(*(pattern for family in _FAMILIES for pattern in family))

_TOKENS = re.compile(
    rf"(?P<fence>^[ \t]*+```(?:(?!{_MARKER})[^`\n])*+(?=$|{_MARKER}))|"
    + "|".join(
        f"(?P<open{kind}>{opening})|(?P<close{kind}>{closing})"
        for kind, (opening, closing) in enumerate(_FAMILIES)
    ),
    re.IGNORECASE | re.MULTILINE,
)
"""Markers, and the fences of blocks of code, of which the text behind them ends where a marker
begins."""

_REST_OF_FENCE = re.compile(r"[^`\n]*$", re.MULTILINE)

_END_TOKENS = ("<|end|>", "<|return|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>")
"""What may follow the last word where special tokens are decoded."""

_MAX_SPACE = 80
"""Characters on either side of a marker in which its line must end to be its own."""

_QUOTES = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’"}


class _Marker(NamedTuple):
    start: int
    end: int
    role: Literal["open", "close"]
    kind: str


def without_thoughts(text: str, *, is_open: bool = False) -> str:
    """Removes thoughts and their markers, in time linear in the length of the text.

    What is said before and after thoughts is on different lines.

    Args:
        text: What a model wrote, without its prompt.
        is_open: Whether the prompt is known to end inside thoughts; a text that never leaves them
            then says nothing. Without it, only a closing marker tells.
    """
    said: list[str] = []
    start, kind = 0, "" if is_open else None
    for marker in _markers(text, kind):
        if kind is None and marker.role == "open":
            said.append(text[start : marker.start])
            kind = marker.kind
        elif marker.role == "close" and kind in (None, "", marker.kind):
            if not kind:
                said.clear()  # the thoughts began in the prompt
            start, kind = marker.end, None
    if kind is None:
        said.append(text[start:])
    whole = text if said == [text] else "\n".join(said).lstrip()
    return whole[: _end(whole)]


def opens_thoughts(prompt: str) -> bool:
    """Whether a prompt, of which the end will do, ends with a marker that opens thoughts."""
    markers = list(_markers(prompt))
    return bool(markers) and markers[-1].role == "open" and not prompt[markers[-1].end :].strip()


def _end(text: str) -> int:
    """Where the special tokens after the last word begin."""
    end = len(text)
    while token := next((t for t in _END_TOKENS if text.endswith(t, 0, end)), None):
        end -= len(token)
    return end


def _markers(text: str, thought: str | None = None) -> Iterator[_Marker]:
    """The markers that are used, in order.

    Args:
        text: The text.
        thought: The kind of thoughts in which it begins, "" for an unknown one; None for none.
    """
    tokens = list(_used(_TOKENS.finditer(text)))
    fences = [token for token in tokens if token.lastgroup == "fence"]
    last_end = next((f.start() for f in reversed(fences) if f[0].strip() == "```"), -1)
    is_code, fence_end = False, -1
    for token in tokens:
        name = token.lastgroup or ""
        if name == "fence":
            is_end = token[0].strip() == "```"
            is_code = not is_end if is_code else thought is None and token.start() < last_end
            fence_end = token.end()
            continue
        role: Literal["open", "close"] = "open" if name.startswith("open") else "close"
        ends_fence = role == "close" and token.start() == fence_end
        if not is_code or ends_fence or _is_alone(token):
            kind = name.removeprefix(role)
            if role == "open":
                thought = kind if thought is None else thought
            elif thought in ("", kind):
                thought = None
            is_code = False
            yield _Marker(token.start(), token.end(), role, kind)


def _used(tokens: Iterable[re.Match[str]]) -> Iterator[re.Match[str]]:
    """Markers that are not quoted, and lines that are fences."""
    fence: re.Match[str] | None = None
    for token in tokens:
        is_quoted = _is_quoted(token)
        if fence is not None and not (is_quoted and _is_inline(fence, token)):
            yield fence
        fence = token if token.lastgroup == "fence" else None
        if fence is None and not is_quoted:
            yield token
    if fence is not None:
        yield fence


def _is_inline(fence: re.Match[str], marker: re.Match[str]) -> bool:
    """Whether what looks like a fence begins code within a line, which mentions a marker."""
    is_next = fence.end() == marker.start()
    return is_next and _REST_OF_FENCE.match(fence.string, fence.end()) is None


def _is_quoted(token: re.Match[str]) -> bool:
    text, start = token.string, token.start()
    closing = _QUOTES.get(text[start - 1 : start])
    return closing is not None and text.startswith(closing, token.end())


def _is_alone(token: re.Match[str]) -> bool:
    """Whether a marker has its line to itself."""
    text, start, end = token.string, token.start(), token.end()
    before = text[max(0, start - _MAX_SPACE) : start]
    after = text[end : end + _MAX_SPACE]
    is_first = "\n" in before or start < _MAX_SPACE
    is_last = "\n" in after or end + _MAX_SPACE > len(text)
    line = before.rpartition("\n")[2] + after.partition("\n")[0]
    return is_first and is_last and not line.strip()
