"""Equality of answers: the table, its limits, and the groups that candidates vote for."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts.answers.equality import (
    MAX_OUT_OF_TIME,
    answer_ballots,
    answers_equal,
    canonical_answer,
    group_ballots,
    group_equal,
)
from fasttts.answers.normal_form import make_form
from fasttts.answers.numbers import number_key, read_number
from fasttts.answers.sympy_client import ALGEBRA, Description, OutOfTime
from tests.unit.answer_cases import ADVERSARIAL, DIFFERENT, EQUAL, EXTRACTIONS
from tests.unit.answer_kinds import EQUALITY_KINDS

ENDLESS = r"\int \int \int e^{x^y} dx dy d"
PIECES = [
    *(r"\frac", r"\le", r"\sqrt", r"\pi", r"\pm", r"\cup", r"\in", "\\", "½", "²", "√"),
    *"{}12x^_()[],=<i!%+-/&",
    *("0.5", "99"),
]
SPELLINGS = ["1/2", "0.5", r"\frac12", "50%", "5", "5 cm", "5 kg", "5 cm^2", "x=5", "y=5", "B", ""]


def test_the_table_is_large() -> None:
    assert len(EXTRACTIONS) + len(EQUAL) + len(DIFFERENT) + len(ADVERSARIAL) >= 150


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_answers(left: str, right: str) -> None:
    assert answers_equal(left, right)
    assert answers_equal(right, left)


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_different_answers(left: str | None, right: str | None) -> None:
    assert not answers_equal(left, right)
    assert not answers_equal(right, left)


KINDS = [row for rows in EQUALITY_KINDS.values() for row in rows]
ANSWERS = sorted(
    {answer for pair in (*EQUAL, *DIFFERENT) for answer in pair if answer}
    | {answer for left, right, _ in KINDS for answer in (left, right)}
)


@pytest.mark.parametrize(("left", "right", "is_equal"), KINDS)
def test_answers_by_kind(left: str, right: str, is_equal: bool) -> None:
    assert answers_equal(left, right) is is_equal
    assert answers_equal(right, left) is is_equal


def test_equality_is_reflexive_and_symmetric_over_all_pairs() -> None:
    assert len(ANSWERS) > 400
    assert all(answers_equal(answer, answer) for answer in ANSWERS)
    for left, right in itertools.combinations(ANSWERS, 2):
        assert answers_equal(left, right) == answers_equal(right, left), (left, right)


def test_equal_keys_have_the_same_bare_answers() -> None:
    """Or equality would depend on which spelling of an answer comes first.

    But for `y = 2x`, which is an equation and an expression that is solved for.
    """
    bare: dict[str, tuple[str, ...]] = {}
    for answer in ANSWERS:
        form = make_form(answer, ALGEBRA.describe)
        if not form.key.startswith("Equality:"):
            assert bare.setdefault(form.key, form.bare) == form.bare, answer


def test_equality_is_transitive_over_all_answers() -> None:
    """Through every answer but one with two readings, such as `50%` and `y = 2x`.

    What equals the same answer is then equal, unless both are decorated, differently.
    """
    forms = {answer: make_form(answer, ALGEBRA.describe) for answer in ANSWERS}
    for middle, form in forms.items():
        if len(form.bare) > 1 or form.key.startswith("Equality:"):
            continue
        equal = [answer for answer in ANSWERS if answers_equal(answer, middle)]
        bare = [answer for answer in equal if not forms[answer].bare]
        for left, right in itertools.combinations(bare, 2):
            assert answers_equal(left, right), (left, middle, right)
        for left, right in itertools.product(equal, repeat=2):
            if forms[left].key == forms[right].key:
                assert answers_equal(left, right)


@pytest.mark.parametrize(
    "answer",
    ["(" * 12 + "x+1" + ")" * 12, "{" * 500 + "1" + "}" * 500, "1," * 60 + "1", "x=1, " * 60],
)
def test_deep_and_long_answers_are_read_at_once(answer: str) -> None:
    answers_equal("x+2", "2+x")  # the worker is there
    start = time.process_time()
    assert answers_equal(answer, f" {answer} ")
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize("answer", ADVERSARIAL)
def test_no_answer_holds_up_a_thread(answer: str) -> None:
    """The limits are the mechanism's own: without it, each of these runs for hours."""
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(answers_equal, answer, answer).result()
        assert not threads.submit(answers_equal, answer, r"\sqrt{2}").result()
        assert threads.submit(answers_equal, r"\sqrt{8}", r"2\sqrt{2}").result()


def test_equality_may_be_asked_in_many_threads() -> None:
    pairs = [(rf"\sqrt{{{4 * k}}}", rf"2\sqrt{{{k}}}") for k in range(2, 30)]
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda pair: answers_equal(*pair), pairs))


@given(st.text(max_size=60))
def test_reading_any_text_ends_in_a_form(answer: str) -> None:
    form = make_form(answer, lambda text: None)
    assert form == make_form(answer, lambda text: None)
    assert form.equals(form)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
def test_the_worker_reads_any_mathematics_or_none(answer: str) -> None:
    assert answer.strip() == "" or answers_equal(answer, answer)
    assert not answers_equal(answer, "an answer that is not it")


@given(st.fractions(max_denominator=10**6))
def test_numbers_are_read_exactly(value: object) -> None:
    read = read_number(str(value))
    assert read == value
    assert read_number(number_key(read)) is not None


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        ("1/2", "0.50", True),
        (r"\text{Yes}", "yes", True),
        ("x + 1", "x+1", True),
        ("1+x", "x+1", False),
    ],
)
def test_canonical_spelling_needs_no_algebra(left: str, right: str, is_same: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ALGEBRA, "describe", pytest.fail)
        assert (canonical_answer(left) == canonical_answer(right)) is is_same


def test_equal_answers_are_grouped_in_order_of_appearance() -> None:
    assert group_equal(["2", None, "1/2", "2.0", r"\frac{1}{2}", "3"]) == [[0, 3], [2, 4], [5]]
    assert group_equal(["", "", "1"]) == [[2]]


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        (["5", "5 cm", "5"], [[0, 1, 2]]),
        (["5", "5 cm", "5 kg"], [[0], [1], [2]]),
        (["5 cm", "5 kg", r"5\text{ cm}"], [[0, 2], [1]]),
        (["50%", "50"], [[0, 1]]),
        (["0.5", "50%"], [[0, 1]]),
        (["50%", "0.5", "50"], [[0, 2], [1]]),
        (["x=5", "5", "x=5"], [[0, 1, 2]]),
        (["x=5", "5", "y=5"], [[0], [1], [2]]),
    ],
)
def test_decorated_answers_join_bare_ones(answers: list[str], groups: list[list[int]]) -> None:
    assert group_equal(answers) == groups


@given(st.lists(st.sampled_from(SPELLINGS), max_size=8), st.randoms())
def test_groups_do_not_depend_on_the_order_of_arrival(answers: list[str], random: object) -> None:
    order = list(range(len(answers)))
    random.shuffle(order)
    groups = {frozenset(group) for group in group_equal(answers)}
    shuffled = group_equal([answers[index] for index in order])
    assert {frozenset(order[place] for place in group) for group in shuffled} == groups


@given(st.lists(st.sampled_from([*SPELLINGS, "", None]), max_size=8), st.data())
def test_ballots_tell_of_every_vote_of_some_answers(
    answers: list[str | None], data: st.DataObject
) -> None:
    chosen = [index for index in range(len(answers)) if data.draw(st.booleans())]
    ballots = answer_ballots(answers)
    assert group_ballots([ballots[index] for index in chosen]) == group_equal(
        [answers[index] for index in chosen]
    )


def test_a_vote_reads_each_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And compares no pairs: 200 different answers are 200 texts for the worker, not 19,900."""
    read: list[str] = []
    describe = ALGEBRA.describe
    monkeypatch.setattr(ALGEBRA, "describe", lambda text: read.append(text) or describe(text))
    answers = [rf"\sqrt{{{k}}}+7" for k in range(200)]
    assert len(group_equal(answers * 2)) == 200
    assert len(read) == 200


def test_answers_that_are_read_first_lose_no_time_to_others() -> None:
    equal = ["z(z+8)", "z^2+8z"]
    answers = [*(ENDLESS + letter for letter in "ABCDE"), *equal]
    describe = ALGEBRA.describe

    def described(text: str) -> Description | None:
        if "int" in text:
            raise OutOfTime
        return describe(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ALGEBRA, "describe", described)
        assert [5, 6] not in group_equal(answers)
        assert [5, 6] in group_ballots(answer_ballots(answers, first=equal))
        assert group_equal(equal) == [[0, 1]]


def test_a_vote_gives_up_on_algebra_after_some_endless_answers() -> None:
    answers = [ENDLESS + letter for letter in "abcdefgh"] + ["3", "3.0"]
    asked: list[str] = []

    def describe(text: str) -> None:
        asked.append(text)
        raise OutOfTime

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ALGEBRA, "describe", describe)
        groups = group_equal(answers)
    assert len(asked) == MAX_OUT_OF_TIME
    assert sorted(map(len, groups)) == [1] * 8 + [2]
