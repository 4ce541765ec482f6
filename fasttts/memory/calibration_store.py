"""Calibrations in the user's cache directory, one file for each device, model and role."""

import hashlib
import json
import logging
import math
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fasttts.config import DEMO
from fasttts.errors import ConfigurationError, Role
from fasttts.memory.calibration import Calibration

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the files' format; files of another version are ignored."""

_CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)


def cache_folder() -> Path:
    """Directory of the calibrations: below `$XDG_CACHE_HOME` or `~/.cache` on Linux."""
    from platformdirs import user_cache_path

    return user_cache_path("fasttts") / "calibrations"


def save_calibration(calibration: Calibration) -> Path:
    """Writes a calibration atomically and returns its path.

    Raises:
        ConfigurationError: The cache directory cannot be written.
    """
    path = _path(calibration.device, calibration.model, calibration.role)
    document = json.dumps({"version": VERSION, "calibration": asdict(calibration)}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(document)
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"calibrations cannot be kept: {error}") from error
    return path


def try_calibration(device: str, model: str, role: Role) -> Calibration | None:
    """Reads a stored calibration; None if there is none, or it is invalid.

    Args:
        device: The device's name.
        model: The model's name or path.
        role: The role in which it was measured.
    """
    path = _path(device, model, role)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(f"format {document['version']} where {VERSION} is known")
        found = _CALIBRATION.validate_python(document["calibration"])
        _check_points(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        logger.warning("%s is ignored (%s): run `fasttts calibrate` again", path, error)
        return None
    return found


def _check_points(calibration: Calibration) -> None:
    points = (*calibration.decode, *calibration.prefill)
    if not all(size > 0 and 0 < seconds < math.inf for size, seconds in points):
        raise ValueError("a size or a time is not positive")


def _path(device: str, model: str, role: Role) -> Path:
    key = json.dumps([device, _model_key(model), role])
    return cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _model_key(model: str) -> str:
    """The absolute path of a directory; for any other model its name without the organisation."""
    folder = Path(model).expanduser()
    if model != DEMO and folder.is_dir():
        return str(folder.absolute())
    return model.rpartition("/")[2].lower()
