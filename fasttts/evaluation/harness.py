"""Shared by the evaluation harnesses: flat options of a model, and the sampling of a task."""

from collections.abc import Mapping
from typing import Any

from fasttts.config import EngineConfig, SearchConfig
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError


def split_options(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits options of a harness's command line into those of the search and of the engine.

    Args:
        given: Options of `SearchConfig` and `EngineConfig`, by name. The generator is the model's
            name, so it is not among them.

    Returns:
        The options of the search, and those of the engine.

    Raises:
        ConfigurationError: An option is unknown.
    """
    of_engine = EngineConfig.model_fields.keys() - {"generator"}
    known = [*SearchConfig.model_fields, *sorted(of_engine)]
    for name in given:
        if name == "generator":
            raise ConfigurationError("the generator is named by the model, not by an option")
        if name not in known:
            raise ConfigurationError(f"unknown option {name!r}: {did_you_mean(name, known)}")
    search = {name: value for name, value in given.items() if name in SearchConfig.model_fields}
    return search, {name: value for name, value in given.items() if name in of_engine}


def task_sampling(own: SearchConfig, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling options that a model takes over from a task.

    The model's own hold where it has them. Nearly every task asks for greedy decoding, which a
    search never takes over: its candidates would all be the same text.

    Args:
        own: The model's options.
        asked: The task's, by the names of `SearchConfig`; None for those that it leaves open.

    Returns:
        Options that go over the model's.
    """

    def is_taken(name: str, value: Any) -> bool:
        is_greedy = name == "temperature" and value == 0
        is_open = value is not None and getattr(own, name) is None
        return is_open and not (is_greedy and own.search != "none")

    return {name: value for name, value in asked.items() if is_taken(name, value)}
