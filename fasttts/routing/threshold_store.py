"""Calibrations of the router in the user's cache directory, one for each pair of models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttts.config.json_store import JsonStore
from fasttts.routing.calibration import Point
from fasttts.routing.cascade import DEFAULT_THRESHOLD, Cascade
from fasttts.routing.decision import RoutingPolicy
from fasttts.routing.gain import Gain
from fasttts.routing.policies import Never

STORE = JsonStore(name="router", version=3, remedy="fasttts calibrate-router")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCalibration:
    """Threshold and gain of two models.

    Attributes:
        threshold: The lowest score of an accepted step, in [0, 1].
        gain: Outcomes of drafts and searches; None where they were not compared.
    """

    threshold: float
    gain: Gain | None = None

    def policy(self) -> RoutingPolicy:
        """Searches drafts below the threshold, or never where searching was found not to help."""
        if self.gain is not None and self.gain.verdict == "no better":
            return Never(reason=f"calibration found search no better than the draft ({self.gain})")
        return Cascade(threshold=self.threshold)


def save_threshold(
    generator: str,
    verifier: str | None,
    threshold: float,
    *,
    gain: Gain | None = None,
    curve: Sequence[Point] = (),
) -> Path:
    """Keeps the calibration of two models and returns its file.

    Args:
        generator: Its name.
        verifier: Its name; None without one.
        threshold: The lowest score of an accepted step, in [0, 1].
        gain: Outcomes of drafts and searches.
        curve: The points that the threshold was chosen from; for people.

    Raises:
        ConfigurationError: The cache directory cannot be written.
    """
    content = {
        "generator": generator,
        "verifier": verifier,
        "threshold": threshold,
        "gain": None if gain is None else gain.to_dict(),
        "curve": [point.to_dict() for point in curve],
    }
    return STORE.write([generator, verifier], content)


def try_calibration(generator: str, verifier: str | None) -> StoredCalibration | None:
    """Reads a stored calibration; None if there is none, or it is invalid.

    Args:
        generator: Name of the generator.
        verifier: Name of the verifier; None without one.
    """
    return STORE.try_read([generator, verifier], _parse)


def default_policy(generator: str, verifier: str | None) -> RoutingPolicy:
    """Decides as the calibration of two models says; without one, a cascade by default.

    Args:
        generator: Its name.
        verifier: Its name; None without one.
    """
    found = try_calibration(generator, verifier)
    return (found or StoredCalibration(threshold=DEFAULT_THRESHOLD)).policy()


def _parse(document: Mapping[str, Any]) -> StoredCalibration:
    threshold, gain = Cascade(threshold=float(document["threshold"])).threshold, document["gain"]
    return StoredCalibration(threshold=threshold, gain=None if gain is None else _gain(gain))


def _gain(document: Mapping[str, Any]) -> Gain:
    names = ("num_problems", "num_draft_right", "num_won", "num_lost")
    counts = {name: int(document[name]) for name in names}
    if min(counts.values()) < 0 or counts["num_problems"] < max(1, counts["num_draft_right"]):
        raise ValueError(f"{counts} are no outcomes of problems")
    return Gain(**counts)
