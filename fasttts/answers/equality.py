"""Equality of answers, and the groups of equal ones that candidates vote for."""

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from fasttts.answers.forms import NormalForm, text_form
from fasttts.answers.normal_form import make_form
from fasttts.answers.sympy_client import ALGEBRA, Description, OutOfTime

MAX_OUT_OF_TIME = 4
"""Answers of one vote that may use up their time; further ones that need algebra are text."""

_FORMS_KEPT = 4096

Ballot = tuple[int, ...]
"""The number of an answer's own value, then those of the undecorated values that it equals too, the
likelier first; empty for no answer. Which one it votes for depends on the other voters."""


def answers_equal(left: str | None, right: str | None) -> bool:
    """Whether two extracted answers mean the same; a missing answer equals nothing.

    Decided within limits, from any thread; `docs/answers.md` has the rules.

    Args:
        left: One answer; None for none.
        right: The other.
    """
    if not left or not right:
        return False
    return left == right or _form(left)[0].equals(_form(right)[0])


def canonical_answer(answer: str) -> str:
    """One spelling of an answer, in no time: without algebra, `x+1` and `1+x` stay two.

    For decisions in the loop, which nothing may hold up.
    """
    return _form_without(answer)[0].key


def group_equal(answers: Sequence[str | None]) -> list[list[int]]:
    """Indices of equal answers together, groups in order of first appearance.

    Candidates without an answer form no group. Each different answer is read once, and no two are
    compared, so the work grows with their number.
    """
    return group_ballots(answer_ballots(answers))


def answer_ballots(
    answers: Sequence[str | None], first: Collection[str | None] = ()
) -> list[Ballot]:
    """What answers may vote for, in whatever vote they or some of them take part.

    Args:
        answers: The answers; None for none.
        first: Those that are read first, as if there were no others: the time that others use up
            is then not theirs.
    """
    given = {answer for answer in answers if answer}
    forms = {**_forms(given.intersection(first)), **_forms(given.difference(first))}
    numbers: dict[str, int] = {}
    for answer in answers:
        if answer:
            numbers.setdefault(forms[answer].key, len(numbers))
    bare = {form.key for form in forms.values() if not form.bare}
    return [_ballot(forms[answer], numbers, bare) if answer else () for answer in answers]


def group_ballots(ballots: Sequence[Ballot]) -> list[list[int]]:
    """Indices of ballots that vote for the same, together, as in `group_equal`.

    A decorated answer joins a bare one that it equals, unless another decoration wants the same:
    `5`, `5 cm` and `5 kg` are three answers, `5` and `5 cm` are one.

    Args:
        ballots: Those of one vote.
    """
    present = {ballot[0] for ballot in ballots if ballot}
    targets = {
        ballot[0]: next((value for value in ballot[1:] if value in present), None)
        for ballot in ballots
        if ballot
    }
    num_wanted = Counter(target for target in targets.values() if target is not None)
    groups: dict[int, list[int]] = {}
    for index, ballot in enumerate(ballots):
        if ballot:
            target = targets[ballot[0]]
            place = ballot[0] if target is None or num_wanted[target] > 1 else target
            groups.setdefault(place, []).append(index)
    return list(groups.values())


def _ballot(form: NormalForm, numbers: Mapping[str, int], bare: Collection[str]) -> Ballot:
    return (numbers[form.key], *(numbers[key] for key in form.bare if key in bare))


def _forms(answers: Iterable[str]) -> Mapping[str, NormalForm]:
    """The forms of different answers; in a fixed order, as their number may stop algebra."""
    forms: dict[str, NormalForm] = {}
    num_out_of_time = 0
    for answer in sorted(answers):
        has_time = num_out_of_time < MAX_OUT_OF_TIME
        forms[answer], is_out_of_time = _form(answer) if has_time else _form_without(answer)
        num_out_of_time += is_out_of_time
    return forms


@functools.lru_cache(_FORMS_KEPT)
def _form(answer: str) -> tuple[NormalForm, bool]:
    """The form of an answer, and whether it ran out of time; then it is text."""
    try:
        return make_form(answer, ALGEBRA.describe), False
    except OutOfTime:
        return text_form(answer), True


@functools.lru_cache(_FORMS_KEPT)
def _form_without(answer: str) -> tuple[NormalForm, bool]:
    """The same without algebra."""
    return make_form(answer, _no_algebra), False


def _no_algebra(text: str) -> Description | None:
    return None
