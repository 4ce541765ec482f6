"""Measured curves, where they bend, and the roofline they replace."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts.memory import DEVICES, MODELS, Calibration, ModelShape
from fasttts.memory.costs import Costs
from fasttts.memory.curves import Curve, knee, size_for_rate

POINTS = st.lists(st.tuples(st.integers(1, 1024), st.floats(1e-6, 10.0)), min_size=1, max_size=12)


def test_a_curve_is_linear_between_its_points() -> None:
    curve = Curve.fit([(1, 2.0), (4, 2.0), (8, 6.0)])
    assert [curve.at(size) for size in (0.5, 1, 4, 6, 8)] == [2.0, 2.0, 2.0, 4.0, 6.0]


def test_a_timing_that_was_disturbed_does_not_count() -> None:
    calm = [(1, 2.0), (2, 2.1), (4, 2.3), (8, 2.7)]
    disturbed = [*calm[:2], (4, 9.0), calm[3], (2, 5.0)]
    assert Curve.fit(disturbed).at(4) == pytest.approx(2.3)
    assert Curve.fit([(1, 3.0), (2, 2.1), (4, 2.3)]).at(1) == 2.1


def test_beyond_the_last_point_time_grows_in_proportion() -> None:
    assert Curve.fit([(1, 2.0), (8, 2.0)]).at(16) == 4.0
    assert Curve.fit([(4, 2.0)]).at(8) == 4.0
    # Steeper where the curve already was.
    assert Curve.fit([(4, 1.0), (8, 9.0)]).at(16) == 25.0


@given(POINTS)
def test_a_curve_lies_under_its_points_and_never_falls(points: list[tuple[int, float]]) -> None:
    curve = Curve.fit(points)
    assert all(curve.at(size) <= seconds * (1 + 1e-9) for size, seconds in points)
    values = [curve.at(size) for size in range(1, 1200, 7)]
    assert values == sorted(values)
    middles = zip(values, values[1:], values[2:], strict=False)
    assert all(middle <= (left + right) / 2 + 1e-9 for left, middle, right in middles)


def test_the_knee_of_weights_and_caches() -> None:
    # a + b * batch: half of the mean cost is reached at a / b.
    assert knee(lambda batch: 10.0 + 0.1 * batch, 1000, 0.5) == 100
    assert knee(lambda batch: 10.0 + 0.1 * batch, 1000, 0.9) == 900
    assert knee(lambda batch: 10.0 + 0.1 * batch, 40, 0.5) == 40


def test_the_knee_of_a_roofline_is_where_compute_takes_over() -> None:
    assert knee(lambda batch: max(16.0, batch / 4), 1000, 0.5) == 64
    assert knee(float, 1000, 0.5) == 1
    assert knee(lambda batch: 1.0, 1000, 0.5) == 1000


def test_the_size_that_reaches_a_rate() -> None:
    def seconds(size: int) -> float:
        return max(100.0, float(size))

    assert size_for_rate(seconds, 2048, 0.8) == 80
    assert size_for_rate(seconds, 2048, 1.0) == 100
    assert size_for_rate(float, 2048, 0.8) == 1
    assert size_for_rate(lambda size: 1.0, 100, 0.8) == 80


MATH, DEVICE = MODELS["Qwen2.5-Math-1.5B"], DEVICES["rtx-4090"]


RATES = replace(DEVICE, is_cpu=True)
"""The same rates without what the host of a GPU adds."""


def test_decoding_alone_takes_the_time_of_reading_the_weights() -> None:
    assert Costs(RATES, MATH).decode_s(1, 0) == pytest.approx(3.0874e9 / 1008e9, rel=1e-3)


def test_decoding_many_short_sequences_takes_the_time_of_computing() -> None:
    flops = 1000 * 2 * MATH.num_parameters
    assert Costs(RATES, MATH).decode_s(1000, 0) == pytest.approx(flops / 165.2e12)


@pytest.mark.parametrize("model", [MODELS["Qwen2.5-Math-1.5B"], MODELS["Qwen2.5-Math-7B"]])
def test_the_host_adds_to_an_iteration_of_any_model(model: ModelShape) -> None:
    on_gpu, by_rates = Costs(DEVICE, model), Costs(RATES, model)
    for batch in (1, 8, 256):
        added_s = on_gpu.decode_s(batch, 500) - by_rates.decode_s(batch, 500)
        assert added_s == pytest.approx(1.7e-3 + batch * 1e-5)
    # Steps to score are computed at a part of the peak rate, each with a cost of its own.
    expected_s = by_rates.prefill_s(64, 64, 0) / 0.58 + 64 * 6e-4
    assert on_gpu.prefill_s(64, 64, 0) == pytest.approx(expected_s)


@given(st.integers(1, 500), st.integers(0, 4000), st.integers(1, 500), st.integers(0, 4000))
def test_more_work_takes_longer(batch: int, context: int, more: int, longer: int) -> None:
    costs = Costs(DEVICE, MATH)
    assert costs.decode_s(batch, context) <= costs.decode_s(batch + more, context + longer)
    assert costs.prefill_s(batch, 64, context) <= costs.prefill_s(batch + more, 64, context)
    # Half a batch is never faster in the mean.
    rate = costs.decode_s(batch, context) / batch
    assert costs.decode_s(batch + more, context) / (batch + more) <= rate * (1 + 1e-9)


def test_measured_times_replace_the_roofline() -> None:
    measured = Calibration(
        device="x",
        model="y",
        role="generator",
        decode=((1, 0.010), (64, 0.012)),
        prefill=((64, 0.010), (1024, 0.050)),
        context_tokens=100,
    )
    costs, roofline = Costs(DEVICE, MATH, measured), Costs(DEVICE, MATH)
    assert costs.is_measured
    assert not roofline.is_measured
    assert costs.decode_s(64, 100) == pytest.approx(0.012)
    longer_s = roofline.decode_s(64, 1000) - roofline.decode_s(64, 100)
    assert costs.decode_s(64, 1000) == pytest.approx(0.012 + longer_s)
    assert costs.decode_s(64, 10) == pytest.approx(0.012)
    assert costs.prefill_s(16, 64, 0) == pytest.approx(0.050)
    assert costs.prefill_s(16, 64, 4000) > 0.050


def test_half_a_calibration_leaves_the_roofline_for_the_rest() -> None:
    measured = Calibration(device="x", model="y", role="verifier", prefill=((64, 0.010),))
    costs, roofline = Costs(DEVICE, MATH, measured), Costs(DEVICE, MATH)
    assert costs.decode_s(8, 500) == roofline.decode_s(8, 500)
    assert costs.prefill_s(1, 64, 0) == 0.010
