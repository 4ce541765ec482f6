"""The threshold of a cascade from samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError
from fasttts.routing.calibration import Sample, cheapest, threshold_curve

SCORES = st.none() | st.integers(0, 10_000).map(lambda score: score / 10_000)
SAMPLES = st.lists(
    st.builds(
        lambda score, draft, search, tokens, more: Sample(
            lowest_score=score,
            is_draft_right=draft and score is not None,
            is_search_right=search,
            draft_tokens=tokens,
            total_tokens=tokens + more,
        ),
        SCORES,
        st.booleans(),
        st.booleans(),
        st.integers(1, 50),
        st.integers(1, 800),
    ),
    min_size=1,
    max_size=30,
)


def sample(score: float | None, *, draft: bool, search: bool) -> Sample:
    return Sample(
        lowest_score=score,
        is_draft_right=draft,
        is_search_right=search,
        draft_tokens=10,
        total_tokens=110,
    )


def test_the_cheapest_threshold_that_holds_the_accuracy_is_chosen() -> None:
    samples = [sample(0.9, draft=True, search=True)] * 6
    samples += [sample(0.2, draft=False, search=True)] * 3
    samples += [sample(None, draft=False, search=False)]
    curve = threshold_curve(samples)
    assert [point.threshold for point in curve] == [0.0, 0.55, 1.0]
    assert [point.accuracy for point in curve] == [0.6, 0.9, 0.9]
    assert [point.tokens for point in curve] == pytest.approx([20, 50, 110])
    assert [point.searched_share for point in curve] == pytest.approx([0.1, 0.4, 1.0])
    assert cheapest(curve, 0.99).threshold == 0.55
    assert cheapest(curve, 0.5).threshold == 0.0


@given(SAMPLES)
def test_curves_run_from_accepting_all_to_searching_most(samples: list[Sample]) -> None:
    curve = threshold_curve(samples)
    assert (curve[0].threshold, curve[-1].threshold) == (0.0, 1.0)
    tokens = [point.tokens for point in curve]
    assert tokens == sorted(tokens)
    num_drafted = sum(sample.lowest_score is not None for sample in samples)
    assert curve[0].searched_share == pytest.approx(1 - num_drafted / len(samples))
    chosen = cheapest(curve, 0.97)
    assert chosen.accuracy >= 0.97 * curve[-1].accuracy
    assert chosen.tokens <= curve[-1].tokens


def test_without_samples_there_is_no_threshold() -> None:
    with pytest.raises(ConfigurationError, match="without problems"):
        threshold_curve([])
