"""Checks for the tests of search policies.

    from fasttts.testing import check_policy

    def test_my_policy() -> None:
        check_policy(lambda: MyPolicy(n=8))

They need neither models nor a device. A policy that breaks a promise raises AssertionError with the
policy's input and its decision.
"""

from fasttts.testing.decisions import PolicyFactory, check_decisions
from fasttts.testing.exactness import check_exactness

__all__ = ["PolicyFactory", "check_decisions", "check_exactness", "check_policy"]


def check_policy(make_policy: PolicyFactory, *, num_searches: int = 20, seed: int = 0) -> None:
    """Checks that a policy is pure and deterministic, that it ends, and that searches are exact.

    Args:
        make_policy: Makes a new policy, always the same one.
        num_searches: Searches of each kind: with random scores, and on the fake backend.
        seed: Seed of everything random.

    Raises:
        AssertionError: The policy breaks a promise of `SearchPolicy`.
    """
    check_decisions(make_policy, num_searches=num_searches, seed=seed)
    check_exactness(make_policy, num_searches=num_searches, seed=seed)
