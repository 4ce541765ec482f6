"""Equality of answers, and the groups of equal ones that candidates vote for."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from fasttts.answers.forms import NormalForm, text_form
from fasttts.answers.normal_form import make_form
from fasttts.answers.sympy_client import ALGEBRA, Description, OutOfTime

MAX_OUT_OF_TIME = 4
"""Answers of one vote that may use up their time; further ones that need algebra are text."""

_FORMS_KEPT = 4096


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
    forms = _forms({answer for answer in answers if answer})
    places = _places(forms.values())
    groups: dict[str, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer:
            groups.setdefault(places[forms[answer]], []).append(index)
    return list(groups.values())


def _forms(answers: Iterable[str]) -> Mapping[str, NormalForm]:
    """The forms of different answers; in a fixed order, as their number may stop algebra."""
    forms: dict[str, NormalForm] = {}
    num_out_of_time = 0
    for answer in sorted(answers):
        has_time = num_out_of_time < MAX_OUT_OF_TIME
        forms[answer], is_out_of_time = _form(answer) if has_time else _form_without(answer)
        num_out_of_time += is_out_of_time
    return forms


def _places(forms: Iterable[NormalForm]) -> Mapping[NormalForm, str]:
    """Which group each form is in.

    A decorated form joins the group of a bare one that it equals, unless another decoration wants
    the same: `5`, `5 cm` and `5 kg` are three answers, `5` and `5 cm` are one.
    """
    bare = {form.key for form in forms if not form.bare}
    wanted: dict[str, set[str]] = defaultdict(set)
    targets: dict[str, str] = {}
    for form in forms:
        target = next((key for key in form.bare if key in bare), None)
        if target is not None:
            wanted[target].add(form.key)
            targets[form.key] = target
    alone = {key for key, target in targets.items() if len(wanted[target]) > 1}
    return {
        form: form.key if form.key in alone else targets.get(form.key, form.key) for form in forms
    }


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
