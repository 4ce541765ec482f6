"""`fasttts calibrate`: measures this machine for the memory planner."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from fasttts import FastTTS
from fasttts.cli import memory_view, options, render, session
from fasttts.config import EngineConfig, option_name
from fasttts.config.private_folder import PrivateFolder
from fasttts.errors import ConfigurationError
from fasttts.memory import (
    Calibration,
    calibrate_generator,
    calibrate_verifier,
    save_calibration,
    this_device_name,
)
from fasttts.memory.calibration_store import STORE

_PLANNED_BEAMS = 256

_TRIAL = "writable.tmp"
"""A file that is written and removed before anything is measured."""


def run(
    *,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Measure this machine for the memory planner.

    It takes some seconds to time how fast both models decode and prefill. The times are kept in
    the user's cache directory; plans for this machine use them from then on.
    """
    with session.reported_errors(debug=debug):
        settings = _with_room(session.engine_settings(generator=generator, verifier=verifier))
        _check_ranks(settings)
        _check_folder()
        with session.loaded(settings) as engine:
            calibrations = _measure(engine, has_model=settings.verifier_model is not None)
        if as_json:
            sys.stdout.write(json.dumps([asdict(each) for each in calibrations]) + "\n")
        else:
            render.stdout().print(memory_view.calibration_view(calibrations))
        paths = [save_calibration(calibration) for calibration in calibrations]
        if not as_json:
            render.stderr().print(f"kept in {paths[0].parent}", soft_wrap=True)


def _check_ranks(settings: EngineConfig) -> None:
    """Refuses a generator over several GPUs, whose times would count as those of one."""
    if settings.tensor_parallel_size > 1:
        raise ConfigurationError(
            f"{option_name('tensor_parallel_size')}={settings.tensor_parallel_size}: one GPU is "
            "measured; leave it out"
        )


def _check_folder() -> None:
    """Refuses a cache directory in which the times cannot be kept."""
    folder = PrivateFolder(STORE.folder)
    try:
        folder.write(_TRIAL, b"")
        folder.remove(_TRIAL)
    except OSError as error:
        raise ConfigurationError(
            f"{folder.path} cannot be written: {error}; times are kept there: make it writable, or "
            "name another cache directory with XDG_CACHE_HOME"
        ) from error


def _with_room(settings: EngineConfig) -> EngineConfig:
    """Returns the options with a plan for many beams, so that large batches can be measured."""
    if "planned_beams" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"planned_beams": _PLANNED_BEAMS})


def _measure(engine: FastTTS, *, has_model: bool) -> Sequence[Calibration]:
    """Times both models, or the generator alone where the verifier has no model of its own.

    The engine was opened for this, so nothing else runs on it.
    """
    device = this_device_name() if engine.plan is None else engine.plan.device.name
    calibrations = [calibrate_generator(engine.generator, device)]
    if engine.verifier is not None and has_model:
        calibrations.append(calibrate_verifier(engine.verifier, device))
    return calibrations
