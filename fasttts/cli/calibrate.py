"""`fasttts calibrate`: measures this machine for the memory planner."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from fasttts import FastTTS
from fasttts.cli import memory_view, options, render, session
from fasttts.scheduling.memory import (
    Calibration,
    calibrate_generator,
    calibrate_verifier,
    save_calibration,
    this_device_name,
)


def run(
    *,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Measure how fast this machine decodes and prefills, in some seconds.

    The times are kept in the user's cache directory; `fasttts plan` uses them from then on.
    """
    with session.reported_errors(debug=debug):
        settings = session.engine_settings(generator, verifier)
        with session.loaded(settings) as engine:
            calibrations = _measure(engine)
        paths = [save_calibration(calibration) for calibration in calibrations]
        if as_json:
            sys.stdout.write(json.dumps([asdict(each) for each in calibrations]) + "\n")
        else:
            render.stdout().print(memory_view.calibration_view(calibrations))
            render.stderr().print(f"kept in {paths[0].parent}", soft_wrap=True)


def _measure(engine: FastTTS) -> Sequence[Calibration]:
    """Times both models; nothing else runs on an engine that was opened for this."""
    device = this_device_name()
    calibrations = [calibrate_generator(engine._generator, device)]
    if engine._verifier is not None:
        calibrations.append(calibrate_verifier(engine._verifier, device))
    return calibrations
