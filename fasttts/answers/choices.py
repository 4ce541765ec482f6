r"""The letter of a multiple-choice answer, A to J.

Three ranks, the last one of the highest rank counts: a choice that is announced (in a box, behind
"the answer is", `B is correct`, `I choose B`); an option that is named; a letter alone: `(B)`, or
a line `B`. No choice is a letter of a formula (`E = mc^2`), an article (`A man`), one of several
(`A or B`), one that is turned down (`option B is wrong`), and one in a list of all the options.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from fasttts.answers.announcements import announcements
from fasttts.answers.boxes import last_box
from fasttts.answers.statements import without_lead

Place = tuple[int, str]
"""Where a letter stands, and which one."""

_WRAP = (
    r"(?:\\(?:text(?:bf|rm|it|sf)?|mathrm|mathbf|mathsf|boldsymbol|mbox|bf|rm)\s*\{?\s*"
    r"|[\s*_$`\"'{])"
)
_ONE_OF = r"\W{0,6}(?:(?:and|or|/|&|,)[\s*($]{0,6})+[A-J](?![\w'’])"
_FORMULA = (
    r"\(|\s*(?:[=+/^>]|<(?!/)|\*\s?\w|_[\w{]|-\s?[\dA-Za-z]"
    r"|\\(?:cdot|times|frac|[a-z]{0,4}eq?\b|in\b))"
)
_BARE_END = r"(?![\w'’])"
_CLOSED = rf"{_BARE_END}(?=\W*(?:$|\n|[.,;:!?)*\]}}]|because\b|since\b"
_BRACKETED = (
    r"\((?P<round>[A-J])\)|\[(?P<square>[A-J])\]|\*\*\(?(?P<bold>[A-J])\)?[.:)]?\*\*"
    r"|(?P<marked>[A-J])[).:](?=\W|$)"
)
_BARE = (
    rf"(?-i:(?P<upper>[B-HJ])){_BARE_END}(?!{_FORMULA})"
    rf"|(?-i:(?P<word>[AI])){_CLOSED}|as\b|is\b|which\b|\())(?!{_FORMULA})"
    rf"|(?-i:(?P<lower>[a-j])){_CLOSED}))"
)
_LETTER = rf"(?:{_BRACKETED}|{_BARE})(?!{_ONE_OF})"
_SUBJECT = rf"(?:{_BRACKETED}|(?-i:(?P<upper>[A-J])){_BARE_END})"
_OPTION = r"(?:option|choice|alternative|letter)"
_STATED = re.compile(rf"{_WRAP}*(?:{_OPTION}\b[\s:*_$]*)?{_LETTER}", re.IGNORECASE)
_PREFERRED = re.compile(
    rf"\b(?:(?:correct|right|best)\s(?:{_OPTION}|answer|one)(?:\s(?:is|(?:would|must|should)\sbe)|:)"
    rf"|{_OPTION}(?:\s(?:i|we)\s\w+)?\s(?:is|(?:would|must|should)\sbe)"
    r"|(?:i|we)(?:['’]ll|['’]d)?\s(?:\w+\s){0,2}?(?:choose|select|pick)|(?:go|going|opt)\s(?:with|for)"
    r"|choose|select|pick|(?<!the\s)answer|答案|选择?)(?:是|为|：)?"
    rf"(?:\s?(?:therefore|thus|hence|then|clearly|:|{_OPTION}|answer)[,:]?){{0,3}}"
    rf"{_WRAP}{{0,6}}{_LETTER}",
    re.IGNORECASE,
)
_CONCLUDED = re.compile(
    rf"\b(?:so|therefore|thus|hence)[,:]?\s+(?:it(?:['’]s|\sis)\s)?{_WRAP}{{0,6}}{_LETTER}\W*\Z",
    re.IGNORECASE,
)
_IS_CORRECT = re.compile(
    rf"(?:^|[.!?;:,\n]|\b(?:{_OPTION}|so|thus|therefore|hence|that|only|answer|and|but|then)\s)"
    rf"{_WRAP}{{0,6}}{_SUBJECT}[\s*_)$}}]{{0,6}}"
    r"\b(?:is|(?:must|should|would)\sbe)\s(?:(?:therefore|thus|clearly|indeed|then)\s)?"
    r"(?:the\s|our\s|my\s)?(?:(?:only\s)?(?:correct|right|best)\b|(?:final\s)?answer\b|true\b)",
    re.IGNORECASE,
)
_NAMED = re.compile(
    rf"\b{_OPTION}\b{_WRAP}{{0,6}}:?\s?(?:{_LETTER}|(?-i:(?P<any>[A-HJ])){_BARE_END}(?!{_FORMULA}))",
    re.IGNORECASE,
)
_LONE = re.compile(
    rf"\((?P<round>[A-J])\)(?!{_ONE_OF})|^[ \t*_]{{0,8}}(?P<line>[A-J])[ \t.):*_]{{0,8}}$",
    re.MULTILINE,
)
_REFUSED_BEFORE = re.compile(
    r"(?:\bnot|\bcannot|n['’]t|\bnor|\bneither|\beliminat\w*|\bexclud\w*|\brul\w+\sout|\breject\w*"
    r"|\bdiscard\w*|\bunlike|\bthan|\binstead\sof|\bexcept|\b[A-J]\)?\W{0,3}\s(?:and|or))"
    r"(?:\s(?:the|be|choose|pick|select|an?|with|both)){0,2}[\s*_(]*$",
    re.IGNORECASE,
)
_REFUSED_AFTER = re.compile(
    r"[\s*_)}$]*(?:\([^()\n]{0,40}\)\s*)?(?:(?:is|are|was|can\sbe|must\sbe)\s?(?:n['’]t|not\b"
    r"|also\s(?:not|wrong)\b|wrong|incorrect|false|out\b|eliminated|excluded|ruled|invalid|too\b"
    r"|impossible)|fails\b|doesn|cannot|can['’]t)",
    re.IGNORECASE,
)


def choice(text: str) -> str | None:
    """The letter that a text chooses; None where it chooses none."""
    text = unicodedata.normalize("NFKC", text)
    ranks = (
        _announced(text),
        _allowed(text, _NAMED),
        _without_lists(list(_allowed(text, _LONE))),
    )
    return next((letter for rank in ranks if (letter := _last_letter(rank))), None)


def _announced(text: str) -> Iterator[Place]:
    """Announced choices and where they stand."""
    box = last_box(text)
    if box is not None and (found := _STATED.match(text[box.start : box.end])):
        yield box.start, _letter(found)
    for announcement in announcements(text):
        if found := _STATED.match(without_lead(announcement.text)):
            yield announcement.start, _letter(found)
            break
    for pattern in (_PREFERRED, _IS_CORRECT, _CONCLUDED):
        yield from _allowed(text, pattern)


def _allowed(text: str, pattern: re.Pattern[str]) -> Iterator[Place]:
    """Matches of a pattern, without the choices that the text rejects."""
    for found in pattern.finditer(text):
        before = text[max(0, found.start() - 40) : found.start()]
        after = text[found.end() : found.end() + 60]
        if not _REFUSED_BEFORE.search(before) and not _REFUSED_AFTER.match(after):
            yield found.start(), _letter(found)


def _without_lists(places: Sequence[Place]) -> Iterator[Place]:
    """Places without those that list the options one after the other: (A), (B), (C)."""
    start = 0
    while start < len(places):
        end = start + 1
        while end < len(places) and ord(places[end][1]) == ord(places[end - 1][1]) + 1:
            end += 1
        if end - start == 1 or places[start][1] != "A":
            yield from places[start:end]
        start = end


def _letter(found: re.Match[str]) -> str:
    return next(letter for letter in found.groups() if letter).upper()


def _last_letter(places: Iterable[Place]) -> str | None:
    return max(places, default=(0, None))[1]
