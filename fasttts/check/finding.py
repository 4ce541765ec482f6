"""One line of a check, with a verdict and what to change."""

from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Any, Literal, Self

Verdict = Literal["fine", "change", "note", "unknown"]
"""Nothing to do; change something; good to know; not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a check.

    Attributes:
        section: Subject of the line and its neighbours.
        name: What was looked at.
        value: What was found.
        verdict: Whether something should change.
        advice: What to change, with the names of the options; empty where nothing is to be said.
        is_partial: Whether it comes from less than was planned, because time was up.
    """

    section: str
    name: str
    value: str
    verdict: Verdict = "fine"
    advice: str = ""
    is_partial: bool = False

    @classmethod
    def judged(
        cls,
        section: str,
        name: str,
        value: str,
        *,
        is_fine: bool,
        advice: str = "",
        otherwise: Verdict = "change",
        is_partial: bool = False,
    ) -> Self:
        """Makes a line whose advice stands only where something is not fine.

        Args:
            section: As the attribute.
            name: As the attribute.
            value: As the attribute.
            is_fine: Whether nothing is to be done.
            advice: What to do if not.
            otherwise: The verdict if not.
            is_partial: As the attribute.
        """
        return cls(
            section=section,
            name=name,
            value=value,
            verdict="fine" if is_fine else otherwise,
            advice="" if is_fine else advice,
            is_partial=is_partial,
        )


def flags(options: Mapping[str, Any]) -> str:
    """Writes options of a search as flags of the command line."""
    return " ".join(_flag(name, value) for name, value in options.items())


def _flag(name: str, value: Any) -> str:
    flag = f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}"
    return flag if value is True else f"{flag} {quote(str(value))}"
