"""How long each sequence's draft may be: by how often its drafts were kept, and at which price."""

import random

import pytest

from fasttts.scheduling.draft_lengths import DraftLengths

NEEDED = {"often": True, "seldom": True}


def counted(num_iterations: int = 100) -> DraftLengths:
    """Two sequences, of which one keeps nine drafted tokens of ten and the other one of five."""
    lengths, noise = DraftLengths(), random.Random(1)
    shares = {"often": 0.9, "seldom": 0.2}
    for _ in range(num_iterations):
        for request_id, share in shares.items():
            num_kept = next((n for n in range(4) if noise.random() > share), 4)
            lengths.took(request_id, 4, num_kept)
    return lengths


def test_the_share_that_is_kept_is_of_the_tokens_behind_kept_ones() -> None:
    lengths = counted()
    assert lengths.share("often") == pytest.approx(0.9, abs=0.15)
    assert lengths.share("seldom") == pytest.approx(0.2, abs=0.15)
    assert lengths.share("seldom") < lengths.share("unknown") < lengths.share("often")


def test_drafts_are_as_long_as_a_further_token_is_worth_its_price() -> None:
    lengths = counted()
    assert lengths.fewer(NEEDED, 4, 0.0) == {}
    assert lengths.fewer(NEEDED, 4, -0.1) == {}, "a measurement of noise"
    assert lengths.fewer(NEEDED, 4, 0.3) == {"seldom": 0}
    assert lengths.fewer(NEEDED, 4, 1.5) == {"often": 0, "seldom": 0}
    found = lengths.fewer(NEEDED, 16, 0.5)
    assert found["seldom"] == 0
    assert 2 <= found["often"] < 16


def test_a_speculative_step_is_drafted_less_at_the_same_price() -> None:
    lengths = counted()
    for price in (0.1, 0.3, 0.5, 0.8):
        needed = lengths.fewer({"often": True}, 8, price).get("often", 8)
        speculative = lengths.fewer({"often": False}, 8, price).get("often", 8)
        assert speculative <= needed
    assert lengths.fewer({"often": False}, 8, 0.3)["often"] < 8
    assert lengths.fewer({"often": False}, 8, 0.0) == {}


def test_a_sequence_without_drafts_is_tried_again() -> None:
    lengths = counted()
    lengths.took("often", 4, 0)
    numbers = [lengths.fewer(NEEDED, 4, 0.3).get("seldom", 4) for _ in range(100)]
    assert numbers[0] == 0
    assert numbers[-1] > 0


def test_ended_sequences_are_forgotten() -> None:
    lengths = DraftLengths()
    for number in range(10_000):
        lengths.took(str(number), 4, 1)
        lengths.forget_others([str(number), "other"])
    assert len(lengths._counts) < 100
    assert len(lengths.fewer({"9999": True}, 4, 0.9)) == 1


@pytest.mark.parametrize(("num_kept", "length"), [(0, 0), (4, 4)])
def test_shares_of_nothing_and_of_all_have_a_length(num_kept: int, length: int) -> None:
    lengths = DraftLengths()
    assert 0 < lengths.fewer({"a": True}, 4, 0.1)["a"] < 4, "nobody knows yet"
    for _ in range(10_000):
        lengths.took("a", 4, num_kept)
    assert lengths.fewer({"a": True}, 4, 0.1).get("a", 4) == length
