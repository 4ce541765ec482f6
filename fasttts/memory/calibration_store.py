"""Calibrations in the user's cache directory, one for each device, model and role."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fasttts.config import DEMO
from fasttts.config.json_store import JsonStore
from fasttts.config.paths import user_path
from fasttts.errors import Role
from fasttts.memory.calibration import Calibration

STORE = JsonStore(name="calibrations", version=2, remedy="fasttts calibrate")

_CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)


def save_calibration(calibration: Calibration) -> Path:
    """Writes a calibration and returns its file.

    Raises:
        ConfigurationError: The cache directory cannot be written.
    """
    key = _key(calibration.device, calibration.model, calibration.role)
    return STORE.write(key, {"calibration": asdict(calibration)})


def try_calibration(device: str, model: str, role: Role) -> Calibration | None:
    """The stored calibration; None if there is none that can be read.

    Args:
        device: The device's name.
        model: A name or a directory.
        role: What the model was measured as.
    """
    return STORE.try_read(_key(device, model, role), _parse)


def _parse(document: Mapping[str, Any]) -> Calibration:
    found = _CALIBRATION.validate_python(document["calibration"])
    points = (*found.decode, *found.prefill)
    if not all(size > 0 and 0 < seconds < math.inf for size, seconds in points):
        raise ValueError("a size or a time is not positive")
    return found


def _key(device: str, model: str, role: Role) -> list[str]:
    """The key: a directory by its absolute path, any other model without its organisation."""
    folder = user_path(model)
    if model != DEMO and folder.is_dir():
        return [device, str(folder.absolute()), role]
    return [device, model.rpartition("/")[2].lower(), role]
