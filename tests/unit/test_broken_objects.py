"""Users' policies, tokenizers, verifiers and generators that break at any use, in any attribute.

Whatever breaks, the search it concerns ends with an error of this package, a search that does not
meet it is what it was, and the engine stays healthy.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fasttts import BackendError, Budget, FastTTS, FastTTSError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.search import BeamSearch, SelfConsistency
from tests.searches import UNTIMED

pytestmark = pytest.mark.usefixtures("unmeasured")

OPTIONS: dict[str, Any] = {"n": 4, "max_tokens": 60}
SOON_S = 20
RAISES = object()
"""In place of a value: the use raises."""


class Breaking:
    """An object of the user's whose attribute, or method, breaks from its n-th use on.

    Args:
        inner: Does the work.
        name: The attribute.
        uses: Uses that work, once it is armed.
        junk: What the later ones give.
    """

    def __init__(self, inner: Any, name: str, uses: int, junk: Any) -> None:
        self.__dict__.update(_inner=inner, _name=name, _uses=uses, _junk=junk, armed=False)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if name != self._name or not self.armed:
            return value
        if callable(value):
            return lambda *args, **named: self._used(lambda: value(*args, **named))
        return self._used(lambda: value)

    def __setattr__(self, name: str, value: Any) -> None:
        place = self.__dict__ if name in self.__dict__ else self._inner.__dict__
        place[name] = value

    def _used(self, work: Callable[[], Any]) -> Any:
        self._uses -= 1
        if self._uses >= 0:
            return work()
        if self._junk is RAISES:
            raise ZeroDivisionError("broken")
        return self._junk


ATTRIBUTES = {
    "policy": (
        "num_roots", "needs_scores", "needs_answers", "is_monotone", "is_revisiting", "step_shape",
        "group", "expand",
    ),
    "tokenizer": ("eos_token_ids", "encode_chat", "decode"),
    "verifier": ("name", "score"),
    "generator": ("add", "abort", "pressure", "num_unfinished"),
}  # fmt: skip
POLICY: dict[str, Any] = {}


def broken_policy(config: Any) -> Any:
    return POLICY["broken"]


@pytest.fixture(autouse=True)
def _forget_policy() -> Iterator[None]:
    yield
    POLICY.clear()


def policy_of(search: str) -> Any:
    if search == "beam_search":
        return BeamSearch(n=4, beam_width=4)
    return SelfConsistency(n=4, wave_size=2, stopping="none", confidence=0.9)


def check(kind: str, name: str, uses: int, junk: Any, search: str) -> None:
    generator, verifier = FakeGenerator(), FakeVerifier()
    options = {**OPTIONS, "search": search, "budget": Budget(tokens=60)}
    parts: dict[str, Any] = {
        "policy": policy_of(search),
        "tokenizer": generator.tokenizer,
        "verifier": verifier,
        "generator": generator,
    }
    broken: Any = Breaking(parts[kind], name, uses, junk)
    if kind == "policy":
        POLICY["broken"], options["search"] = broken, f"{__name__}:broken_policy"
    if kind == "tokenizer":
        generator.tokenizer = broken
    used: Any = broken if kind == "generator" else generator
    judge: Any = broken if kind == "verifier" else verifier
    with FastTTS(used, judge, scheduling=UNTIMED) as engine:
        expected = engine.search("plain", **OPTIONS).candidates
        broken.armed = True
        with contextlib.suppress(FastTTSError):
            engine.submit("trap", **options).result(SOON_S)
        with contextlib.suppress(FastTTSError):
            list(engine.stream("trap", **options))
        broken.armed = False
        assert engine.health.is_healthy
        assert engine.submit("plain", **OPTIONS).result(SOON_S).candidates == expected


@pytest.mark.parametrize("search", ["beam_search", "self_consistency"])
@pytest.mark.parametrize("junk", [RAISES, None, "x", -1], ids=["raises", "None", "text", "number"])
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in ATTRIBUTES.items() for name in names]
)
def test_whatever_breaks_harms_its_own_search_alone(
    kind: str, name: str, junk: Any, search: str
) -> None:
    for uses in (0, 1, 14):
        check(kind, name, uses, junk, search)


def test_a_generator_that_forgets_its_sequences_ends_the_searches_that_wait_for_them() -> None:
    generator = FakeGenerator()
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        expected = engine.search("plain", **OPTIONS).candidates
        add, generator.add = generator.add, lambda request: None  # type: ignore[method-assign]
        with pytest.raises(BackendError, match="none of its sequences decodes"):
            engine.submit("trap", **OPTIONS).result(SOON_S)
        generator.add = add  # type: ignore[method-assign]
        assert engine.search("plain", **OPTIONS).candidates == expected
