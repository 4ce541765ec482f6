r"""Which texts are mathematics that math-verify's parser reads as they are meant.

The parser skips what it does not know and multiplies what stands side by side: `A^T` is `a`,
`x'` is `x`, `2 3` is 5, `413_5` is 413, `\angle A` a product, a word the product of its letters.
Such texts are not given to it; they are compared as they are written.
"""

import re

from fasttts.answers.commands import FUNCTIONS

_COMMAND_NAMES = (
    "frac sqrt binom pi infty cdot times pm mp le ge ne in cup cap setminus emptyset mathbb begin"
    " end sum prod int iint iiint lfloor rfloor lceil rceil langle rangle to land lor"
    " alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi"
    " rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi"
    " Omega hbar ell vec hat bar"
)
_COMMANDS = FUNCTIONS | frozenset(_COMMAND_NAMES.split())
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}|\\mathbb\s*\{[A-Z]\}")
_UNREADABLE = re.compile(
    r"['\"?#@$:|]{2}|['\"?#@$:]"
    r"|(?<![_\d])\d+\s+[\d.]"  # two numbers side by side
    r"|\d\s*_|\.\d+\.|\.\.|\d\\frac\{[^{}]*[A-Za-z]"
    r"|[A-Za-z]{4,}"  # a word
    r"|\^\s*\{?\s*T\b|\^\s*\{?\s*\\top"
    r"|\\[dl]?dots"
)


def is_mathematics(text: str) -> bool:
    """Whether the parser may have a text in plain notation."""
    if any(name not in _COMMANDS for name in _COMMAND.findall(text)):
        return False
    return _UNREADABLE.search(_COMMAND.sub("\\\\", _ENVIRONMENT.sub(" ", text))) is None
