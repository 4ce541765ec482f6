"""One notation for answers: unicode and LaTeX's synonyms become plain LaTeX and ASCII.

Nothing here changes what an answer means; what two notations have in common is decided in
`answers/normal_form.py`.
"""

import re
import unicodedata
from collections.abc import Mapping

from fasttts.answers.commands import plain_commands
from fasttts.answers.digits import plain_digits
from fasttts.answers.formulas import without_delimiters_inside

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_ROOT = re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?|[A-Za-z]|\([^()]*\)|\{[^{}]*\})")
_ROOTS = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}
_GREEK = {
    "α": r"\alpha ",
    "β": r"\beta ",
    "γ": r"\gamma ",
    "δ": r"\delta ",
    "θ": r"\theta ",
    "λ": r"\lambda ",
    "μ": r"\mu ",
    "π": r"\pi ",
    "ρ": r"\rho ",
    "σ": r"\sigma ",
    "φ": r"\phi ",
    "ω": r"\omega ",
}
_SIGNS: Mapping[str, str] = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    **dict.fromkeys("×✕", r"\times "),
    **dict.fromkeys("·⋅∙", r"\cdot "),
    **dict.fromkeys("°º", r"^\circ "),
    **dict.fromkeys("″”“„", '"'),
    **dict.fromkeys("′’‘", "'"),
    **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2061\u2062", ""),
    **_GREEK,
    "÷": "/",
    "∞": r"\infty ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "±": r"\pm ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∅": r"\emptyset ",
    "∈": r"\in ",
    "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
}
_SIGN_TABLE = str.maketrans(dict(_SIGNS))
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:d|t|c)(frac|binom)(?![A-Za-z])", r"\\\1"),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*\.?", ""),
        (r"\\(?:(?:display|text|script)style|limits|nolimits|mathstrut)(?![A-Za-z])", ""),
        (r"\\(?:large|Large|LARGE|small|huge|Huge|normalsize|bigl?|bigr)(?![A-Za-z])", ""),
        (r"\\(?:leq|leqslant|leqq)(?![A-Za-z])|(?<!<)<=", r"\\le "),
        (r"\\(?:geq|geqslant|geqq)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\neq(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:lbrace|\{)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace|\})(?![A-Za-z])", r"\\}"),
        (r"\\lbrack(?![A-Za-z])", "["),
        (r"\\rbrack(?![A-Za-z])", "]"),
        (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
        (r"\\(?:wedge|land)(?![A-Za-z])|∧", r"\\text{and}"),
        (r"\\(?:vee|lor)(?![A-Za-z])|∨", r"\\text{or}"),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\pmod\s*\{([^{}]*)\}", r"(\\text{mod} \1)"),
        (r"\\[bp]?mod(?![A-Za-z])|(?<![A-Za-z\\{])mod(?![A-Za-z])", r"\\text{mod}"),
        (r"\\(?:R|reals|Reals)(?![A-Za-z])", r"\\mathbb{R}"),
        (r"\\backslash(?![A-Za-z])", r"\\setminus "),
        (r"\\lg(?![A-Za-z])", r"\\log"),
        (r"\\div(?![A-Za-z])", "/"),
        (r"(?<!\\)\\(?:[,;:!> ]|(?:q?quad|enspace|thinspace)(?![A-Za-z]))|~", " "),
        (r"\\hspace\*?\{[^{}]*\}", " "),
        (r"\\?sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\(?:begin|end)\s*\{(?:align|aligned|equation|gather|gathered|split)\*?\}", ""),
        (r"&\s*=|=\s*&", "="),
        (r"^(?:negative|minus) (?=\d)", "-"),
        (r"^(?:\\approx|\\sim|\\simeq|=)(?![A-Za-z])", ""),
        (r"(?<![A-Za-z\\])(?=(?:sin|cos|tan|log|ln|exp|pi)(?![a-z]))", r"\\"),
        (r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])", r"\\infty "),
        (r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])|\\degree(?![A-Za-z])", r"^\\circ "),
        (r"\\[dlc]?dots(?![A-Za-z])|…", "..."),
        (r"\\%", "%"),
        (r"\*\*", "^"),
        (r"\s+", " "),
    )
)
_WHOLE_TEXT = re.compile(r"^\\(?:text(?:bf|it|rm|sf|normal)?|mbox)\s*\{([^{}]*)\}$")
_DELIMITERS = ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$"), ("**", "**"), ("`", "`"))


def plain_notation(answer: str) -> str:
    r"""`answer` in the one notation: `½` is `\frac{1}{2}`, `\dfrac` is `\frac`, `−` is `-`."""
    text = without_delimiters(_without_end(answer.strip()))
    text = without_delimiters_inside(text)
    text = _SUPERSCRIPT_RUN.sub(lambda run: f"^{{{run[0].translate(_SUPERSCRIPTS)}}}", text)
    text = _SUBSCRIPT_RUN.sub(lambda run: f"_{{{run[0].translate(_SUBSCRIPTS)}}}", text)
    text = _ROOT.sub(lambda root: f"{_ROOTS[root[1]]}{{{_inside(root[2])}}}", text)
    text = plain_digits("".join(_vulgar_fraction(sign) for sign in text).translate(_SIGN_TABLE))
    text = unicodedata.normalize("NFKC", text)
    text = _WHOLE_TEXT.sub(r"\1", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = plain_commands(text)
    text = re.sub(r"\s+", " ", text)
    return _without_end(without_delimiters(text.strip()))


def without_delimiters(text: str) -> str:
    """`text` without the pairs of signs that surround all of it: dollars, stars, backticks."""
    for opening, closing in _DELIMITERS:
        is_pair = len(text) > len(opening) + len(closing)
        if is_pair and text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)].strip()
            if opening not in inner and closing not in inner and not inner.endswith("\\"):
                return without_delimiters(inner)
    return _WHOLE_TEXT.sub(r"\1", text).strip()


def _inside(group: str) -> str:
    return group[1:-1] if group[0] in "({" else group


def _vulgar_fraction(sign: str) -> str:
    """`½` as a LaTeX fraction, so that `1½` stays a mixed number; other signs as they are."""
    if unicodedata.category(sign) != "No":
        return sign
    over, slash, under = unicodedata.normalize("NFKC", sign).partition("\u2044")
    return f"\\frac{{{over}}}{{{under}}}" if slash and under else sign


def _without_end(text: str) -> str:
    """Without the full stop, comma or semicolon of the sentence around it."""
    stripped = text.rstrip(" ,;")
    is_sentence = stripped.endswith(".") and not stripped.endswith("..")
    return stripped[:-1].rstrip() if is_sentence else stripped
