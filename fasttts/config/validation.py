"""One-line error messages for invalid options: the option, its value and a replacement."""

import difflib
import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from fasttts.config.names import option_hint
from fasttts.errors import ConfigurationError, shown


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Ends an error message about an unknown name with the closest known one.

    Args:
        name: The unknown name.
        known: The valid names.
        otherwise: Text for a name that resembles none of them; None lists all of them.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if otherwise is None else otherwise


def check_variables(model: type[BaseModel], prefix: str, names: Iterable[str]) -> None:
    """Checks environment variables against the fields of a settings class.

    Args:
        model: The class of the options.
        prefix: Prefix of the variables, in upper case.
        names: Names of the variables of the environment.

    Raises:
        ConfigurationError: A variable has the prefix and no option of that name exists.
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
    """The error to raise where `model` cannot be built.

    Args:
        model: The options.
        error: What pydantic raised.
        prefix: Of the model's environment variables.
    """
    if isinstance(error, SettingsError):
        return ConfigurationError(_describe_variable(error, prefix))
    found = [(detail, _describe(detail, model)) for detail in error.errors()]
    if not prefix:
        return ConfigurationError("; ".join(message for _, message in found))
    return ConfigurationError("; ".join(message + _hint(detail) for detail, message in found))


def _hint(detail: ErrorDetails) -> str:
    """Where a known option of the engine is set on the command line and in the environment."""
    if detail["type"] == "extra_forbidden" or not detail["loc"]:
        return ""
    return f" {option_hint(str(detail['loc'][0]))}"


def _describe(detail: ErrorDetails, model: type[BaseModel]) -> str:
    *outer, last = detail["loc"] or ("",)
    name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"unknown option '{name}': {did_you_mean(str(last), _fields(model, outer))}"
    if detail["type"] == "string_unicode" and not name:
        return "unknown option: its name is not Unicode text"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{name}={shown(detail['input'], 200)}: {message}" if name else message


def _fields(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The options of the nested model at `path`."""
    for name in path:
        part = model.model_fields[str(name)].annotation
        assert isinstance(part, type), "options are nested as models, not as unions of them"
        assert issubclass(part, BaseModel)
        model = part
    return list(model.model_fields)


def _describe_variable(error: SettingsError, prefix: str) -> str:
    """Describes a variable that pydantic-settings cannot read; only its message names the field."""
    field = re.search(r'field "(\w+)"', str(error))
    name = prefix + field[1].upper() if field else f"a variable {prefix}..."
    return f"{name} must be a JSON object such as '{{\"name\": 1}}': {error.__cause__}"
