"""Whether the arguments of a tool call follow the tool's JSON schema.

Schemas and arguments may come from anybody: no reference is fetched, and patterns run in RE2.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fasttts.decoding.json_checks import check_json
from fasttts.decoding.patterns import compile_pattern


def follow_schema(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Checks arguments with jsonschema.

    Args:
        arguments: The arguments of a call.
        schema: The JSON schema of the tool's parameters.

    Raises:
        ValueError: Nobody can say: the schema is malformed, names another document, or refers to
            itself without end; or the arguments are no JSON.
    """
    from jsonschema import exceptions, validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    check_json(dict(schema))
    check_json(dict(arguments), max_chars=None)
    if "patternProperties" in _keys(schema):
        raise ValueError(
            "jsonschema would run the names of patternProperties as patterns of its own"
        )
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    nothing: Any = Registry()
    try:
        return bool(_bounded(kind)(schema, registry=nothing).is_valid(arguments))
    except (exceptions.SchemaError, Unresolvable, RecursionError) as error:
        raise ValueError(f"the schema cannot be followed: {error}") from error
    except Exception as error:  # jsonschema reads malformed keywords without a check of their own
        raise ValueError(f"the schema is malformed: {error}") from error


@cache
def _bounded(kind: Any) -> Any:
    from jsonschema import validators

    return validators.extend(kind, {"pattern": _check_pattern})


def _check_pattern(
    validator: Any, pattern: str, instance: object, schema: Mapping[str, Any]
) -> Iterator[Exception]:
    from jsonschema import exceptions

    if isinstance(instance, str) and not compile_pattern(pattern).search(instance):
        yield exceptions.ValidationError(f"{instance!r} does not match {pattern!r}")


def _keys(value: Any) -> Iterator[str]:
    """The keys of a JSON value, at every depth."""
    if isinstance(value, Mapping):
        yield from value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _keys(part)
