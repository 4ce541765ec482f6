"""Counts of values in ranges."""

import bisect

from hypothesis import given
from hypothesis import strategies as st

from fasttts.observability.histograms import (
    FIRST_TOKEN_BOUNDS,
    RATIO_BOUNDS,
    SECONDS_BOUNDS,
    TOKEN_BOUNDS,
    Distribution,
)

ALL = (FIRST_TOKEN_BOUNDS, RATIO_BOUNDS, SECONDS_BOUNDS, TOKEN_BOUNDS)


def test_a_bound_belongs_to_the_range_below_it() -> None:
    distribution = Distribution((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        distribution.add(value)
    histogram = distribution.snapshot()
    assert histogram.counts == (2, 2, 1)
    assert histogram.cumulative() == [(1.0, 2), (2.0, 4), (float("inf"), 5)]
    assert (histogram.total, histogram.num_values) == (8.0, 5)


@given(st.sampled_from(ALL), st.lists(st.floats(0, 1e9)))
def test_every_value_is_counted_once(bounds: tuple[float, ...], values: list[float]) -> None:
    distribution = Distribution(bounds)
    for value in values:
        distribution.add(value)
    ordered = sorted(values)
    expected = [(bound, bisect.bisect_right(ordered, bound)) for bound in bounds]
    assert distribution.snapshot().cumulative() == [*expected, (float("inf"), len(values))]


def test_bounds_increase_and_begin_as_the_conventions_advise() -> None:
    assert all(sorted(set(bounds)) == list(bounds) for bounds in ALL)
    assert SECONDS_BOUNDS[:14] == (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
        *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    )
    assert TOKEN_BOUNDS[:6] == (1, 4, 16, 64, 256, 1024)
