"""What every verifier promises."""

import pytest

from fasttts.errors import BackendError
from fasttts.interfaces import Verification, VerificationRequest, Verifier

STEPS = (
    "Ann starts with 3 apples, which we write down first.",
    "She buys 4 more, so there are 3 + 4 = 7 apples now.",
    "Then she gives 2 of them to Tom: 7 - 2 = 5.",
    "The answer is \\boxed{5}.",
)


def request(
    problem: str, steps: tuple[str, ...] = STEPS, num_scored: int = 0
) -> VerificationRequest:
    return VerificationRequest(problem=problem, steps=steps, num_scored=num_scored)


def scores(verifier: Verifier, one: VerificationRequest) -> list[float]:
    (verification,) = verifier.score([one])
    return list(verification.scores)


def close_to(values: list[float]) -> object:
    return pytest.approx(values, abs=1e-4)


def test_one_probability_for_each_step(verifier: Verifier) -> None:
    found = scores(verifier, request("one each"))
    assert len(found) == len(STEPS)
    assert all(0.0 <= score <= 1.0 for score in found)


def test_step_by_step_equals_all_at_once(verifier: Verifier) -> None:
    problem = "step by step"
    single = [
        scores(verifier, request(problem, STEPS[: end + 1], end))[0] for end in range(len(STEPS))
    ]
    assert scores(verifier, request(problem)) == close_to(single), "prefix known to the cache"
    assert scores(verifier, request(problem, num_scored=2)) == close_to(single[2:])


def test_all_at_once_equals_step_by_step(verifier: Verifier) -> None:
    problem = "all at once, before the cache has seen any of it"
    whole = scores(verifier, request(problem))
    for end in range(len(STEPS)):
        assert scores(verifier, request(problem, STEPS[: end + 1], end)) == close_to([whole[end]])


def test_results_keep_the_order_of_the_requests(verifier: Verifier) -> None:
    requests = [
        request(f"problem {i % 5}", (f"Step {i} says {i} + 1 = {i + 1}.", *STEPS[: i % 3]))
        for i in range(24)
    ]
    forwards = [list(found.scores) for found in verifier.score(requests)]
    backwards = [list(found.scores) for found in verifier.score(requests[::-1])][::-1]
    for one, other, asked in zip(forwards, backwards, requests, strict=True):
        assert len(one) == len(asked.steps)
        assert one == close_to(other)


def test_paths_that_share_a_prefix_agree_on_it(verifier: Verifier) -> None:
    ends = [f"So {i} is left at the end of the day." for i in range(8)]
    found = verifier.score([request("shared prefix", (*STEPS[:3], end)) for end in ends])
    for other in found[1:]:
        assert list(other.scores[:3]) == close_to(list(found[0].scores[:3]))


def test_nothing_asked_is_nothing_done(verifier: Verifier) -> None:
    assert verifier.score([]) == []
    empty, known = verifier.score([request("none", ()), request("none", STEPS, len(STEPS))])
    assert empty.scores == known.scores == ()


def test_a_request_may_be_repeated_in_one_batch(verifier: Verifier) -> None:
    one = request("twice")
    first, second = verifier.score([one, one])
    assert list(first.scores) == close_to(list(second.scores))


def test_computed_and_cached_tokens_make_up_the_prompt(verifier: Verifier) -> None:
    def total(found: Verification) -> int:
        return found.num_computed_tokens + found.num_cached_tokens

    problem = "How many apples are left when Ann has shared them with Tom and Eve? " * 3
    (cold,) = verifier.score([request(problem)])
    (warm,) = verifier.score([request(problem, num_scored=len(STEPS) - 1)])
    assert total(cold) == total(warm) > 0
    assert cold.num_cached_tokens < warm.num_cached_tokens
    assert 0 < warm.num_computed_tokens < cold.num_computed_tokens


def test_after_close_everything_is_refused(verifier: Verifier) -> None:
    """Last in this file: the verifier is of no use afterwards."""
    verifier.close()
    verifier.close()
    with pytest.raises(BackendError, match="closed") as caught:
        verifier.score([request("too late")])
    assert caught.value.role == "verifier"
