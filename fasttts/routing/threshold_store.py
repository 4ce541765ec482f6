"""Thresholds in the user's cache directory, one file for each pair of models."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from fasttts.errors import ConfigurationError
from fasttts.routing.calibration import Point
from fasttts.routing.cascade import DEFAULT_THRESHOLD, Cascade

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the files' format; files of another version are ignored."""


def router_folder() -> Path:
    """Directory of the thresholds: below `$XDG_CACHE_HOME` or `~/.cache` on Linux."""
    from platformdirs import user_cache_path

    return user_cache_path("fasttts") / "router"


def save_threshold(
    generator: str, verifier: str | None, threshold: float, curve: Sequence[Point] = ()
) -> Path:
    """Stores the threshold for two models and returns the file.

    Args:
        generator: Name of the generator.
        verifier: Name of the verifier; None without one.
        threshold: The threshold, in [0, 1].
        curve: The points it was chosen from, for people to read.

    Raises:
        ConfigurationError: The cache directory cannot be written.
    """
    path = _path(generator, verifier)
    document = {
        "version": VERSION,
        "generator": generator,
        "verifier": verifier,
        "threshold": threshold,
        "curve": [point.to_dict() for point in curve],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".tmp")
        scratch.write_text(json.dumps(document, indent=1), encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise ConfigurationError(f"the threshold cannot be kept: {error}") from error
    return path


def try_threshold(generator: str, verifier: str | None) -> float | None:
    """Reads a stored threshold; None if there is none, or it is invalid.

    Args:
        generator: Name of the generator.
        verifier: Name of the verifier; None without one.
    """
    path = _path(generator, verifier)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(f"format {document['version']} where {VERSION} is known")
        return Cascade(threshold=float(document["threshold"])).threshold
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is ignored (%s): run `fasttts calibrate-router` again", path, error)
        return None


def default_policy(generator: str, verifier: str | None) -> Cascade:
    """Makes the cascade with the calibrated threshold of two models, or the default one.

    Args:
        generator: Name of the generator.
        verifier: Name of the verifier; None without one.
    """
    threshold = try_threshold(generator, verifier)
    return Cascade(threshold=DEFAULT_THRESHOLD if threshold is None else threshold)


def _path(generator: str, verifier: str | None) -> Path:
    key = hashlib.sha256(json.dumps([generator, verifier]).encode()).hexdigest()[:24]
    return router_folder() / f"{key}.json"
