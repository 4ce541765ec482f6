"""What a user's verifier, policy or generator returns or raises harms its own searches alone."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts import BackendError, ContractError, FastTTS, SearchError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.search import BeamSearch, Branch
from fasttts.verifiers import Gate, Mean
from tests.searches import UNTIMED

pytestmark = pytest.mark.usefixtures("unmeasured")

OPTIONS = {"n": 4, "max_tokens": 60}


class Own(BaseException):
    """An exception of the user's that is no Exception."""


class Verifier(FakeVerifier):
    """Answers problems that name a trap with what `trap` makes of the right verifications."""

    def __init__(self, trap: "Trap") -> None:
        super().__init__()
        self._trap = trap

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        right = super().score(requests)
        trapped = [index for index, one in enumerate(requests) if "trap" in one.problem]
        return self._trap(right, trapped) if trapped else right


Trap = Callable[[list[Verification], list[int]], Any]
"""What is returned in place of the right verifications; some places of theirs are trapped."""


def each(change: Callable[[Verification], Any]) -> Trap:
    """Changes the verifications at the trapped places."""
    return lambda right, trapped: [
        change(one) if index in trapped else one for index, one in enumerate(right)
    ]


def described(one: Verification, **other: Any) -> Any:
    fields = {
        "scores": one.scores,
        "num_computed_tokens": 0,
        "num_cached_tokens": 0,
    }
    return SimpleNamespace(**{**fields, **other})


BROKEN: dict[str, Trap] = {
    "None": lambda right, trapped: None,
    "a number": lambda right, trapped: 0.5,
    "a string": lambda right, trapped: "0.5",
    "a dictionary": lambda right, trapped: dict(enumerate(right)),
    "too few": lambda right, trapped: right[:-1],
    "too many": lambda right, trapped: [*right, *right],
    "Nones": each(lambda one: None),
    "numbers for verifications": each(lambda one: 0.5),
    "no scores": each(lambda one: described(one, scores=None)),
    "a score too many": each(lambda one: described(one, scores=(*one.scores, 0.5))),
    "strings": each(lambda one: described(one, scores=["0.5"] * len(one.scores))),
    "one string": each(lambda one: described(one, scores="1" * len(one.scores))),
    "complex numbers": each(lambda one: described(one, scores=[0.5j] * len(one.scores))),
    "not a number": each(lambda one: described(one, scores=[float("nan")] * len(one.scores))),
    "infinities": each(lambda one: described(one, scores=[np.inf] * len(one.scores))),
    "rows": each(lambda one: described(one, scores=np.full((len(one.scores), 2), 0.5))),
    "no counts": each(lambda one: SimpleNamespace(scores=one.scores)),
    "counts of None": each(lambda one: described(one, num_cached_tokens=None)),
    "negative counts": each(lambda one: described(one, num_computed_tokens=-1)),
}
ARRAYS: dict[str, Trap] = {
    "float32": each(lambda one: described(one, scores=np.asarray(one.scores, np.float32))),
    "float64": each(lambda one: described(one, scores=np.asarray(one.scores))),
    "of 0-d arrays": each(lambda one: described(one, scores=[np.asarray(s) for s in one.scores])),
    "counts of NumPy": each(lambda one: described(one, num_cached_tokens=np.int64(0))),
}
RAISED = [
    SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Own("own"), asyncio.CancelledError(),
    CancelledError(), StopIteration(), MemoryError("full"), RecursionError("deep"),
]  # fmt: skip


def bystander(engine: FastTTS) -> Any:
    """A search that shares batches with the hostile ones, until it is joined."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(engine.search("plain", **OPTIONS)))
    thread.start()

    def result() -> Any:
        thread.join(20)
        return found[0].candidates

    return result


@pytest.fixture(scope="module")
def expected() -> Any:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        return engine.search("plain", **OPTIONS).candidates


def check_alive(engine: FastTTS, expected: Any) -> None:
    assert engine.health.is_healthy
    assert engine.search("plain", **OPTIONS).candidates == expected


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_verification_fails_its_search_alone(what: str, expected: Any) -> None:
    with FastTTS(FakeGenerator(), Verifier(BROKEN[what]), scheduling=UNTIMED) as engine:
        beside = bystander(engine)
        with pytest.raises(ContractError, match=r"the verifier returned|expected"):
            engine.search("trap", **OPTIONS)
        assert beside() == expected
        check_alive(engine, expected)


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("combine", [Mean, lambda *parts: Gate(*parts, threshold=0.1)])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_verification_of_a_part_fails_its_search_alone(
    what: str, combine: Any, place: int
) -> None:
    parts = [FakeVerifier(), FakeVerifier()]
    parts[place] = Verifier(BROKEN[what])
    with FastTTS(FakeGenerator(), combine(*parts), scheduling=UNTIMED) as engine:
        expected = engine.search("plain", **OPTIONS).candidates
        with pytest.raises(ContractError):
            engine.search("trap", **OPTIONS)
        check_alive(engine, expected)


FUNCTION_JUNK = [None, "0.5", b"1", [], ["0.5"], {}, 0.5j, np.full((2, 2), 0.5), np.nan, -1, [None]]
FUNCTION_ARRAYS = [np.float32(0.5), np.asarray(0.5), np.int64(1), True]


@pytest.mark.parametrize("junk", FUNCTION_JUNK, ids=repr)
def test_what_a_function_may_not_return_is_a_contract_error(junk: Any) -> None:
    def score(problem: str, steps: tuple[str, ...]) -> Any:
        return junk if "trap" in problem else 0.5

    with FastTTS(FakeGenerator(), score, scheduling=UNTIMED) as engine:
        with pytest.raises(ContractError, match="score"):
            engine.search("trap", **OPTIONS)
        assert engine.search("plain", **OPTIONS).candidates


@pytest.mark.parametrize("number", FUNCTION_ARRAYS, ids=repr)
def test_a_function_may_return_numbers_of_any_library(number: Any) -> None:
    with FastTTS(FakeGenerator(), lambda problem, steps: number, scheduling=UNTIMED) as engine:
        assert engine.search("a", **OPTIONS).score == float(number)


def test_a_function_may_return_an_array_with_a_score_for_each_step() -> None:
    with FastTTS(
        FakeGenerator(), lambda problem, steps: np.full(len(steps), 0.25), scheduling=UNTIMED
    ) as engine:
        assert engine.search("a", **OPTIONS).score == 0.25


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_of_numbers_are_scores(what: str) -> None:
    with FastTTS(FakeGenerator(), Verifier(ARRAYS[what]), scheduling=UNTIMED) as engine:
        found = engine.search("trap", **OPTIONS)
        assert all(type(step.score) is float for one in found.candidates for step in one.steps)
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        right = engine.search("trap", **OPTIONS)
    assert [one.text for one in found.candidates] == [one.text for one in right.candidates]


PLAIN_JUNK = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.integers(), st.binary(max_size=2)
)
JUNK = st.recursive(
    PLAIN_JUNK,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(junk=JUNK, field=st.sampled_from(["all", "one", "scores", "num_cached_tokens"]))
def test_junk_of_any_shape_ends_in_a_result_or_a_contract_error(junk: Any, field: str) -> None:
    traps: dict[str, Trap] = {
        "all": lambda right, trapped: junk,
        "one": each(lambda one: junk),
    }
    trap = traps.get(field) or each(lambda one: described(one, **{field: junk}))
    with FastTTS(FakeGenerator(), Verifier(trap), scheduling=UNTIMED) as engine:
        with contextlib.suppress(ContractError):
            engine.search("trap", **OPTIONS)
        assert engine.health.is_healthy
        assert engine.search("plain", **OPTIONS).candidates


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_whatever_a_verifier_raises_ends_its_search_alone(
    error: BaseException, expected: Any
) -> None:
    def trap(right: list[Verification], trapped: list[int]) -> Any:
        raise error

    with FastTTS(FakeGenerator(), Verifier(trap), scheduling=UNTIMED) as engine:
        beside = bystander(engine)
        with pytest.raises(BackendError, match="verifier"):
            engine.search("trap", **OPTIONS)
        assert beside() == expected
        check_alive(engine, expected)


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_whatever_a_function_raises_in_its_thread_ends_its_search_alone(
    error: BaseException,
) -> None:
    def score(problem: str, steps: tuple[str, ...]) -> float:
        if "trap" in problem:
            raise error
        return 0.5

    with FastTTS(FakeGenerator(), score, scheduling=UNTIMED) as engine:
        with pytest.raises(BackendError, match=r"raised|failed"):
            engine.search("trap", **OPTIONS)
        assert engine.health.is_healthy
        assert engine.search("plain", **OPTIONS).candidates


TRAPS: dict[str, Any] = {}


class Policy(BeamSearch):
    """Beam search that returns, or raises, what the test has set."""

    def expand(self, frontier: Any, ended: Any) -> Any:
        found = TRAPS["expand"]
        if isinstance(found, BaseException):
            raise found
        return found


def hostile_policy(config: Any) -> Policy:
    return Policy(n=4, beam_width=4)


DECISIONS = [
    None, 7, "branches", [None], [(0,), (1,)], [Branch(path=(0,), num_children=0)],
    [Branch(path=(0,), num_children=-1)], [Branch(path=(0,), num_children=10**12)],
    [Branch(path=(99,), num_children=1)], [Branch(path="x", num_children=1)],  # type: ignore[arg-type]
    [Branch(path=(0,), num_children=1.5)], [Branch(path=(0,), num_children="2")],  # type: ignore[arg-type]
    *RAISED,
]  # fmt: skip


@pytest.mark.parametrize("decision", DECISIONS, ids=repr)
def test_whatever_a_policy_decides_ends_its_search_alone(decision: Any, expected: Any) -> None:
    TRAPS["expand"] = decision
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        beside = bystander(engine)
        with pytest.raises(SearchError, match="policy failed"):
            engine.search("trap", search=f"{__name__}:hostile_policy", **OPTIONS)
        assert beside() == expected
        check_alive(engine, expected)


class Generator(FakeGenerator):
    """Returns once what the test says, in place of its outputs or its pressure."""

    def __init__(self, **trap: Any) -> None:
        super().__init__()
        self._trap = trap
        self.num_steps = 0

    def step(self) -> Any:
        self.num_steps += 1
        outputs = super().step()
        return self._trap["step"] if "step" in self._trap and self.num_steps == 5 else outputs

    def pressure(self) -> Any:
        is_trapped = "pressure" in self._trap and self.num_steps == 5
        return self._trap["pressure"] if is_trapped else super().pressure()


@pytest.mark.parametrize(
    "trap",
    [{"step": None}, {"step": 3}, {"step": [None]}, {"step": ["text"]}, {"step": [{}]},
     {"pressure": None}, {"pressure": "full"}],
    ids=repr,
)  # fmt: skip
def test_what_no_generator_may_return_fails_the_searches_that_run(
    trap: dict[str, Any], expected: Any
) -> None:
    generator = Generator(**trap)
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        with pytest.raises(ContractError, match="the generator returned what cannot be read"):
            engine.search("trap", **OPTIONS)
        check_alive(engine, expected)
        assert generator.num_unfinished() == 0


@pytest.fixture(autouse=True)
def _no_trap() -> Iterator[None]:
    yield
    TRAPS.clear()
