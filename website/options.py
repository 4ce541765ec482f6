"""Tables of options: type and range, default and meaning of each field."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from website import docstrings
from website.tables import table

Schema = Mapping[str, Any]

_KINDS = {
    "array": "list",
    "boolean": "bool",
    "integer": "int",
    "null": "None",
    "number": "float",
    "object": "dict",
    "string": "str",
}
_SIGNS = (
    ("minimum", "≥"),
    ("exclusiveMinimum", ">"),
    ("maximum", "≤"),
    ("exclusiveMaximum", "<"),
)


def options_table(model: type[BaseModel]) -> str:
    """The options of a model as a table, in the order of the code.

    Args:
        model: A class of options.

    Raises:
        ValueError: A field is not in the class's docstring.
    """
    schema = model.model_json_schema()
    meanings = docstrings.fields(model)
    missing = [name for name in model.model_fields if name not in meanings]
    if missing:
        raise ValueError(f"the docstring of {model.__name__} lacks {', '.join(missing)}")
    return table(
        ("option", "type", "default", "meaning"),
        (
            (f"`{name}`", kind(schema["properties"][name]), _default(model, name), meanings[name])
            for name in model.model_fields
        ),
    )


def variables(model: type[BaseSettings]) -> str:
    """A sentence on the environment variables of a model.

    Args:
        model: A class of options with a prefix.
    """
    prefix = str(model.model_config.get("env_prefix"))
    first = next(iter(model.model_fields))
    return f"Each is also a variable with the prefix `{prefix}`, such as `{prefix}{first.upper()}`."


def kind(schema: Schema) -> str:
    """The type of a value as code, and its range.

    Args:
        schema: Its JSON schema, of pydantic.
    """
    if "anyOf" in schema:
        return " or ".join(kind(one) for one in schema["anyOf"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return ", ".join(f"`{value!r}`" for value in schema["enum"])
    if schema["type"] == "array" and schema.get("items"):
        return f"`list` of {kind(schema['items'])}"
    return f"`{_KINDS[schema['type']]}` {_range(schema)}".rstrip()


def _range(schema: Schema) -> str:
    """The range of a number; the blank between a sign and its number does not break."""
    if "minimum" in schema and "maximum" in schema:
        return f"{_number(schema['minimum'])} to {_number(schema['maximum'])}"
    known = [(sign, schema[key]) for key, sign in _SIGNS if key in schema]
    return ", ".join(f"{sign}\N{NO-BREAK SPACE}{_number(bound)}" for sign, bound in known)


def _number(value: float) -> str:
    exponent = int(value).bit_length() - 1
    if exponent >= 20 and value == 1 << exponent:
        return f"2^{exponent}"
    return f"{value:,}" if isinstance(value, int) or not value.is_integer() else f"{int(value):,}"


def _default(model: type[BaseModel], name: str) -> str:
    value = model.model_fields[name].get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{type(value).__name__}()`"
    return f"`{value!r}`"
