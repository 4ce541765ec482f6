"""Options that cannot work, refused in one line that names the option and what to write instead."""

import difflib
import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from fasttts.errors import ConfigurationError


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """The end of an error about an unknown name: the closest known one.

    Args:
        name: What was given.
        known: What there is.
        otherwise: Said when nothing comes close; by default all that is known.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if otherwise is None else otherwise


def check_variables(model: type[BaseModel], prefix: str, names: Iterable[str]) -> None:
    """Checks variables of the environment against the fields of `model`.

    Raises:
        ConfigurationError: One has the prefix of an option and sets none.
    """
    known = [f"{prefix}{name.upper()}" for name in model.model_fields]
    for name in sorted(names):
        if name.upper().startswith(prefix) and name.upper() not in known:
            raise ConfigurationError(
                f"unknown variable {name}: {did_you_mean(name.upper(), known)}"
            )


def refusal(
    model: type[BaseModel], error: ValidationError | SettingsError, prefix: str = ""
) -> ConfigurationError:
    """What is raised where `model` cannot be built.

    Args:
        model: The options.
        error: What pydantic raised.
        prefix: Of the model's environment variables.
    """
    if isinstance(error, SettingsError):
        return ConfigurationError(_describe_variable(error, prefix))
    return ConfigurationError("; ".join(_describe(detail, model) for detail in error.errors()))


def _describe(detail: ErrorDetails, model: type[BaseModel]) -> str:
    *outer, last = detail["loc"] or ("",)
    name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"unknown option '{name}': {did_you_mean(str(last), _fields(model, outer))}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{name}={detail['input']!r}: {message}" if name else message


def _fields(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The options of the part of `model` that `path` leads to."""
    for name in path:
        part = model.model_fields[str(name)].annotation
        assert isinstance(part, type), "options are nested as models, not as unions of them"
        assert issubclass(part, BaseModel)
        model = part
    return list(model.model_fields)


def _describe_variable(error: SettingsError, prefix: str) -> str:
    """A variable that pydantic-settings could not read; only its message names the field."""
    field = re.search(r'field "(\w+)"', str(error))
    name = prefix + field[1].upper() if field else f"a variable {prefix}..."
    return f"{name} must be a JSON object such as '{{\"name\": 1}}': {error.__cause__}"
