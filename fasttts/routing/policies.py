"""Policies that look at the conversation alone."""

import re
from dataclasses import dataclass

from fasttts.routing.context import RoutingContext
from fasttts.routing.decision import Decision, Needs, NeedsDraft, RoutinePlain, decided

_NUMBER = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Always:
    """Searches every call.

    Attributes:
        with_draft: Whether the plain reply is decoded first and joins the candidates.
    """

    with_draft: bool = False

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Decides for a search."""
        if self.with_draft and context.draft is None:
            return NeedsDraft()
        return decided(context, "search", self, "every call is searched")


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """Decodes every call plainly.

    Attributes:
        reason: Why; it stands in its decisions.
    """

    reason: str = "no call is searched"

    def decide(self, context: RoutingContext) -> Decision | Needs:
        """Decides for plain decoding."""
        return decided(context, "plain", self, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heuristics(RoutinePlain):
    """Searches questions that look hard: long, full of numbers, or with a keyword.

    Attributes:
        min_words: Words of the question from which on it is searched; None ignores its length.
        min_numbers: Numbers in it from which on it is searched; None ignores them.
        keywords: Words that make a question hard; case is ignored.
        with_tools: Whether a call that is offered tools may be searched.
    """

    min_words: int | None = 60
    min_numbers: int | None = 5
    keywords: tuple[str, ...] = ("prove", "step by step")
    with_tools: bool = False

    def decide_hard(self, context: RoutingContext) -> Decision | Needs:
        """Searches if there is a sign of difficulty."""
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
