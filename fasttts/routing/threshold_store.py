"""Thresholds in the user's cache directory, one for each pair of models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fasttts.config.json_store import JsonStore
from fasttts.routing.calibration import Point
from fasttts.routing.cascade import DEFAULT_THRESHOLD, Cascade

STORE = JsonStore(name="router", version=1, remedy="fasttts calibrate-router")


def save_threshold(
    generator: str, verifier: str | None, threshold: float, curve: Sequence[Point] = ()
) -> Path:
    """Keeps the threshold for two models and returns its file.

    Args:
        generator: Its name.
        verifier: Its name; None without one.
        threshold: The lowest score of an accepted step, in [0, 1].
        curve: The points that it was chosen from; for people.

    Raises:
        ConfigurationError: The cache directory cannot be written.
    """
    content = {
        "generator": generator,
        "verifier": verifier,
        "threshold": threshold,
        "curve": [point.to_dict() for point in curve],
    }
    return STORE.write([generator, verifier], content)


def try_threshold(generator: str, verifier: str | None) -> float | None:
    """Reads a stored threshold; None if there is none, or it is invalid.

    Args:
        generator: Name of the generator.
        verifier: Name of the verifier; None without one.
    """
    return STORE.try_read([generator, verifier], _parse)


def default_policy(generator: str, verifier: str | None) -> Cascade:
    """The cascade with the calibrated threshold of two models, or the default one.

    Args:
        generator: Its name.
        verifier: Its name; None without one.
    """
    threshold = try_threshold(generator, verifier)
    return Cascade(threshold=DEFAULT_THRESHOLD if threshold is None else threshold)


def _parse(document: Mapping[str, Any]) -> float:
    return Cascade(threshold=float(document["threshold"])).threshold
