"""Reads the sampling that a model's authors publish with it, in `generation_config.json`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from fasttts.decoding.sampling import PublishedSampling
from fasttts.errors import ConfigurationError

_RANGES: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda value: 0 <= value <= 100, "0 to 100"),
    "top_k": (lambda value: value == int(value), "a whole number"),
    "top_p": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "min_p": (lambda value: 0 <= value <= 1, "0 to 1"),
    "repetition_penalty": (lambda value: 0 < value <= 100, "above 0 and at most 100"),
}


def read_published_sampling(config: Mapping[str, Any], source: str) -> PublishedSampling:
    """Reads the sampling of a parsed `generation_config.json`.

    `do_sample: false` is greedy, whatever temperature stands beside it; `do_sample: true` without
    a temperature is 1, the default of transformers. A file that names neither says nothing about
    the temperature.

    Args:
        config: The parsed file.
        source: The file, for messages.

    Raises:
        ConfigurationError: A value is none that can be sampled with.
    """
    given = {each.name: config.get(each.name) for each in fields(PublishedSampling)}
    for name, value in given.items():
        _check(name, value, source)
    found = {name: None if value is None else float(value) for name, value in given.items()}
    top_k = found.pop("top_k")
    if config.get("do_sample") is False:
        found["temperature"] = 0.0
    elif config.get("do_sample") is True and found["temperature"] is None:
        found["temperature"] = 1.0
    # -1 and 0 are off
    return PublishedSampling(**found, top_k=None if top_k is None else max(0, int(top_k)))


def _check(name: str, value: object, source: str) -> None:
    fits, wanted = _RANGES[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_valid = math.isfinite(value) and fits(value)
    else:
        is_valid = value is None
    if not is_valid:
        raise ConfigurationError(f"{source} has {name}={value!r}: make it {wanted}")
