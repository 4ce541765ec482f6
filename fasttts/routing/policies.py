"""Policies that look at the conversation alone."""

import re
from dataclasses import dataclass

from fasttts.routing.context import RoutingContext
from fasttts.routing.decision import Decision, Needs, NeedsDraft, RoutinePlain, decided

_NUMBER = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Always:
    """Searches, whatever the turn is.

    Attributes:
        with_draft: Whether the plain reply is decoded first and joins the candidates.
    """

    with_draft: bool = False

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """A search."""
        if self.with_draft and context.draft is None:
            return NeedsDraft()
        return decided(context, "search", self, "every call is searched")


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """Decodes plainly, whatever the turn is."""

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Plain decoding."""
        return decided(context, "plain", self, "no call is searched")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heuristics(RoutinePlain):
    """Searches what looks hard: long, full of numbers, or with a telling word.

    Attributes:
        min_words: Words of the question from which on it is searched; None never goes by length.
        min_numbers: The same for the numbers in it.
        keywords: Words that make a question hard, in any case.
        with_tools: Whether a call that is offered tools may be searched.
    """

    min_words: int | None = 60
    min_numbers: int | None = 5
    keywords: tuple[str, ...] = ("prove", "step by step")
    with_tools: bool = False

    def decide_hard(self, context: RoutingContext) -> Decision | Needs:
        """A search if any sign of difficulty is there."""
        text = context.question
        words, numbers = len(text.split()), len(_NUMBER.findall(text))
        keyword = next((word for word in self.keywords if word.lower() in text.lower()), None)
        signs = {
            f"at least {self.min_words} words": _reaches(words, self.min_words),
            f"at least {self.min_numbers} numbers": _reaches(numbers, self.min_numbers),
            f"the word {keyword!r}": keyword is not None,
        }
        found = [sign for sign, is_there in signs.items() if is_there]
        is_searched = bool(found) and (self.with_tools or not context.tools)
        reason = ", ".join(found) or "nothing looks hard"
        if found and not is_searched:
            reason += ", but tools are offered"
        return decided(
            context,
            "search" if is_searched else "plain",
            self,
            reason,
            words=words,
            numbers=numbers,
            keyword=keyword,
            num_tools=len(context.tools),
            role=context.last_role,
        )


def _reaches(count: int, least: int | None) -> bool:
    return least is not None and count >= least
