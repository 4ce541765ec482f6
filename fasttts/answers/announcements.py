r"""Where a text announces its answer in words, and what the announced value is.

* `the answer is 5`, `Answer: 5`, `answer = 5`, and the same in some other languages; not where it
  is denied (`the answer is not 5`) or supposed (`if the answer is 5`);
* headings with the value below: `**Final Answer**`, `### Answer`;
* `<answer>5</answer>`, and a field of JSON, `"answer": 5`;
* `#### 5` (GSM8K, Cobbe et al. 2021, arXiv 2110.14168);
* corrections of one of these: `Wait, it should be 6.`
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fasttts.answers.statements import is_value, read_statement, without_lead

_NOUNS = r"answers?|respuesta|réponse|antwort|risposta|resposta|ответ|ans"
_VERBS = (
    r"(?:is|are|was|(?:will|would|must|should|has\s+to|can\s+only)\s+be|becomes|equals|remains"
    r"|turns\s+out\s+to\s+be|comes\s+(?:out\s+)?to(?:\s+be)?|es|est|ist|è|é|lautet)\b(?!['’]t|\s+not\b)|[-=]>|[:=：→—]"
)
_EMPHASIS = r"(?:#{1,6}\s?|[>\s*_]|\\(?:section|subsection|paragraph|textbf|underline)\*?\s*\{)"
_SAID = (
    rf"\b(?:{_NOUNS})\b"
    r"(?:\s(?:to|for|of|in|we|i|here|that|therefore|thus|then|choice|option|rounded)\b"
    r"[^.:：=\n?]{0,80}?|,[^.,:：=\n?]{1,60},|\s?\([^()\n]{0,40}\))?"
    rf"[\W_]{{0,4}}?(?:\b|(?=[-:=：→—]))(?:{_VERBS})[\s:=*_]*"
    r"|\bfinal\s+answer\s*[-–]?\s+(?=[\d$\\(])"
    r"|(?:正确)?答案(?:应该|应当)?[是为：:]+\s*|答えは?\s*[:：]?"
)
_HEADING = (
    rf"^{_EMPHASIS}{{0,8}}(?:the\s|my\s)?(?:final\s|correct\s|short\s)?answers?[:\s*_}}]*$"
    r"|(?:\*\*|__)(?:the\s)?(?:final\s|correct\s)?answers?:?(?:\*\*|__)[ \t]*(?=\S)"
)
_JSON = r"[\"'](?:final_?)?answer[\"']\s*:\s*"
_TAG = r"<(?P<tag>(?:final_?)?answer)(?:\s[^<>\n]{0,80})?>|\[answer\]"
_GSM8K = r"^[ \t]*####[ \t]*(?!\d+[.)]\s+[^\W\d])(?=[^\w\s#]|\d|[^\W\d]\b|(?:yes|no|true|false)\b)"
_CUE = (
    r"(?:(?:wait|actually|correction|sorry|oops|no|hmm|apologies|my\s(?:mistake|bad)"
    r"|i\smade\san?\s(?:\w+\s)?(?:mistake|error))\b)"
)
_PAUSE = r"[,.:;!–—-]+\s*"
_IT_IS = r"(?:it|that|this)(?:['’]s|\s(?:is|equals))\s(?:actually\s|really\s)?|make\s(?:it|that)\s"
_MUST_BE = r"(?:should|must|has\sto|ought\sto)\s(?:actually\s|really\s|instead\s)?(?:be|equal)\s"
_CORRECTION = (
    rf"\b{_CUE}(?:[\s,.:;!–—-]+{_CUE}){{0,3}}"
    rf"(?:{_PAUSE}(?:{_IT_IS})?|\s(?:{_IT_IS})|[^\n?]{{0,80}}?{_MUST_BE})(?=[\d$\\(+\-\u2212*])"
)
_ANNOUNCEMENT = re.compile(
    rf"(?P<json>{_JSON})|(?P<heading>{_HEADING})|{_TAG}|(?P<gsm>{_GSM8K})|(?P<said>{_SAID})"
    rf"|(?P<correction>{_CORRECTION})",
    re.IGNORECASE | re.MULTILINE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|whether|unless|suppose|supposing|assume|assuming|imagine|no)\b[^.,;:!?\n]*$",
    re.IGNORECASE,
)
_END_TAG = re.compile(r"</\s*(?:final_?)?answer\s*>|\[/answer\]", re.IGNORECASE)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")

_MAX_ANNOUNCEMENTS = 64
_MAX_CHARACTERS = 2_000
"""Announcements looked at, from the last, and how far each is read: this bounds the work."""

Kind = Literal["said", "json", "heading", "tag", "gsm", "correction"]


@dataclass(frozen=True, slots=True)
class Announcement:
    """One place where an answer is announced.

    Attributes:
        kind: How.
        is_label: Whether sentences about the answer may follow, as below a heading.
        start: Where the announced value begins in the text.
        text: What follows, up to the end of the paragraph or the closing tag.
    """

    kind: Kind
    is_label: bool
    start: int
    text: str

    @property
    def value(self) -> str | None:
        """The announced value; None where there is none."""
        if self.kind == "tag":
            inner = next(announcements(self.text), None) if "\n" in self.text.strip() else None
            return (inner and inner.value) or read_statement(self.text, is_sentence=False)
        if self.kind == "json":
            return _json_value(self.text)
        found = read_statement(self.text, is_label=self.is_label)
        return found if self.kind != "correction" or (found and is_value(found)) else None

    @property
    def is_certain(self) -> bool:
        """Whether it holds against a box before it: words alone may be about the answer."""
        found = self.value
        return self.kind == "tag" or (found is not None and is_value(found))


def announcements(text: str) -> Iterator[Announcement]:
    """The announcements of a text, from the last."""
    found = deque(_ANNOUNCEMENT.finditer(text), _MAX_ANNOUNCEMENTS)
    for match in reversed(found):
        # The groups of the pattern are named after the kinds.
        kind: Kind = "tag" if match.lastgroup in (None, "tag") else match.lastgroup  # type: ignore[assignment]
        if kind == "correction" and not _has_prior(text, match.start(), found[0]):
            continue
        if kind == "said" and _SUPPOSED.search(text[max(0, match.start() - 40) : match.start()]):
            continue
        is_label = kind == "heading" or ":" in match[0]
        yield Announcement(kind, is_label, match.end(), _following(text, match.end(), kind))


def _following(text: str, start: int, kind: Kind) -> str:
    """What follows `start` up to a blank line, or to the closing tag."""
    part = text[start : start + _MAX_CHARACTERS]
    if kind == "tag" and (end := _END_TAG.search(part)):
        return part[: end.start()]
    first, *others = _BLANK_LINE.split(part.lstrip(), 2)
    return first if without_lead(first) or not others else others[0]


def _json_value(text: str) -> str | None:
    """The value of a field of JSON."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return read_statement(text)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _has_prior(text: str, start: int, first: re.Match[str]) -> bool:
    """Whether an answer stands before `start` that can be corrected."""
    is_box_before = text.find("box", 0, start) >= 0
    return is_box_before or (first.start() < start and first.lastgroup != "correction")
