"""What the words behind an announcement say: a formula, a value, or the sentence."""

import re

from fasttts.answers.boxes import boxed
from fasttts.answers.formulas import (
    content,
    formula_at,
    last_formula,
    without_delimiters_inside,
)
from fasttts.answers.last_number import last_number

_LEAD = re.compile(
    r"(?:[\s*_:=>–—,…}]|\.{2,}|-{3,}|</?[a-z]{1,8}>|(?:therefore|thus|hence|then|so|now|simply|just|clearly|indeed|obviously"
    r"|exactly|approximately|roughly|about|equal\s+to|given\s+by|as\s+follows|actually|in\s+fact|of\s+course|found\s+to\s+be"
    r"|obvious(?=:)|(?:given\s+)?below(?=:)|either|both)"
    r"\b[,:]?)+",
    re.IGNORECASE,
)
_END = re.compile(
    r"\n|[.!?](?=\s|[*_)\]\"']*\s*$|</?[a-z])|[.!?][*_]+(?=\s)|\*\*(?=\s|$)|。|<(?=/?[a-z])"
)
_BOLD = re.compile(r"(?<![\w*])\*\*([^*\n]+)\*\*")
_STARS = re.compile(r"\*\*(?!\w)|(?<!\w)\*\*")
_LISTED = re.compile(r"\s*(?:\d+[.)]|[-*•])\s+(\S.*)")
_YES_OR_NO = re.compile(r"(yes|no|true|false)\s?[,;:–—]", re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"(?:(?:given|shown|stated|listed|provided)\s+)?(?:below|above)|given|shown"
)
_INITIALS = re.compile(r"(?:^|\s)(?:[A-Z]\.\s)*[A-Z]\.\s[A-Z]")
_TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Mt|Prof|Jr|Sr|approx|vs|No)$")
_VALUE = re.compile(r"[^\w\s]{0,4}(?:\\?[$€£¥₹]\s?)?[^\w\s]{0,2}\d|\(?[A-Z]\)?(?![\w'’])|\\")
_CLAUSE = re.compile(
    r"\s\((?!mod)[a-z]{2}|,?\s+(?:(?:because|since|which|where|when|given|due\s+to|as|so|if|but|that|according|instead|(?:and\s+)?not"
    r"|in\s+(?:total|all|the|this|each))\b|(?:for|by|with|from|after|before)\b(?!\s*[-\d$]))"
)
_REASON = re.compile(r",?\s+(?:because|since)\b")
_VERB = re.compile(
    r"\s(?:is|are|was|were|equals?|becomes?|(?:must|should|will|would)\sbe)\s+(?!not\b)|(?<![<>!])=\s*"
)
_PROSE = re.compile(r"[A-Z][a-z]*(?:\s+\S+){2,}")
_EXACT_VALUE = re.compile(
    r"[+\-\u2212]?\s?(?:\\?[$€£¥₹]\s?)?[+\-\u2212]?(?:\d[\d,.]*(?:\s?/\s?\d+)?|\.\d+)"
    r"(?:\s?(?:\\?%|°|[A-Za-z]+(?:/[A-Za-z]+)?)(?:\s[A-Za-z]+)?)?(?:\s(?:and|or)\s\S+)?"
)
_COMPARED = re.compile(r"\d\s+(?:more|less|fewer|times|greater|of|out|to|through|steps?)\b")
_JOINT = re.compile(r"\s*(?:,\s*(?:and|or)?|;|and|or)\s*", re.IGNORECASE)
_GOES_ON = re.compile(r"\s*[-+*/=<>^(\d]|\s*\\(?!\))")
_SAYS_SOMETHING = re.compile(r"[^\W_]|[\\∅∞√]")
_EDGES = " \t\n*_`\"'“”:,"


def read_statement(
    statement: str, *, is_label: bool = False, is_sentence: bool = True
) -> str | None:
    """The value that a statement begins with, else its first sentence; None where it is empty.

    Args:
        statement: What follows an announcement.
        is_label: Whether whole sentences about the answer may follow, such as below a heading.
        is_sentence: Whether the value ends with its sentence, and not with the statement.
    """
    inner = boxed(statement)
    if inner is not None:
        return inner
    if is_label and (listed := _list_items(statement)):
        return ", ".join(listed)
    statement = without_lead(_BOLD.sub(r"\1", statement))
    formulas = _formulas(statement)
    if formulas is not None:
        return formulas
    if is_sentence:
        statement = _first_sentence(statement)
    if word := _YES_OR_NO.match(statement):
        return word[1]
    if is_label and _PROSE.match(statement) and not _VALUE.match(statement):
        return _said_about_it(statement)
    clause = (_CLAUSE if _VALUE.match(statement) else _REASON).search(statement)
    statement = statement[: clause.start()] if clause and is_sentence else statement
    found = without_delimiters_inside(_STARS.sub("", statement.strip(_EDGES)))
    is_answer = _SAYS_SOMETHING.search(found) and not _ELSEWHERE.fullmatch(found)
    return found if is_answer else None


def is_value(found: str) -> bool:
    """Whether a found answer is a value for certain: a number, an amount, a formula, a letter."""
    if _COMPARED.search(found):
        return False
    is_short = len(found) == 1 or re.fullmatch(r"\(?[A-J]\)?", found) is not None
    return is_short or _EXACT_VALUE.fullmatch(found) is not None or "\\" in found


def without_lead(statement: str) -> str:
    """A statement without what may stand before its value, such as `therefore` or `**`."""
    found = _LEAD.match(statement)
    return statement[found.end() :].strip() if found else statement.strip()


def _formulas(statement: str) -> str | None:
    """The formulas that a statement begins with, with what joins them; None without any."""
    parts: list[str] = []
    position = 0
    while (found := formula_at(statement, position)) is not None:
        parts.append(content(found))
        joint = _JOINT.match(statement, found.end())
        if joint is None or formula_at(statement, joint.end()) is None:
            return None if _GOES_ON.match(statement, found.end()) else "".join(parts)
        parts.append(joint[0] if "," in joint[0] or ";" in joint[0] else f" {joint[0].strip()} ")
        position = joint.end()
    return None


def _list_items(statement: str) -> list[str]:
    """The items of a list with a line for each; none where it is no such list."""
    lines = [_LISTED.fullmatch(line) for line in statement.strip().splitlines()]
    items = [read_statement(line[1]) for line in lines if line]
    return [item for item in items if item] if len(items) == len(lines) > 1 else []


def _first_sentence(statement: str) -> str:
    initials = _INITIALS.match(statement)
    for end in _END.finditer(statement, initials.end() if initials else 0):
        if not _TITLE.search(statement, max(0, end.start() - 8), end.start()):
            return statement[: end.start()]
    return statement


def _said_about_it(sentence: str) -> str:
    """The value in a sentence: its last formula, the object of an "is", its last number."""
    formula = last_formula(sentence)
    if formula is not None:
        return formula
    verbs = list(_VERB.finditer(sentence))
    if verbs:
        return read_statement(sentence[verbs[-1].end() :]) or sentence
    return last_number(sentence) or sentence.strip(_EDGES)
