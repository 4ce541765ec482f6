"""Dataclasses that convert to JSON and back."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import TypeAdapter


class Document:
    """A dataclass with JSON conversion in both directions."""

    __slots__ = ()

    def to_json(self, *, indent: int | None = None) -> str:
        """Writes the value as one JSON document, which `from_json` reads.

        Args:
            indent: Spaces per level; None writes a single line.
        """
        return _adapter(type(self)).dump_json(self, indent=indent).decode()

    def to_dict(self) -> dict[str, Any]:
        """Returns the value as JSON data, which `from_dict` reads."""
        document: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return document

    @classmethod
    def from_json(cls, document: str | bytes) -> Self:
        """Reads a value that `to_json` wrote.

        Args:
            document: JSON text, as UTF-8 if bytes.

        Raises:
            pydantic.ValidationError: The document does not describe a value of this class.
        """
        value = _adapter(cls).validate_json(document)
        assert isinstance(value, cls)
        return value

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Reads a value that `to_dict` wrote.

        Args:
            document: JSON data.

        Raises:
            pydantic.ValidationError: The data does not describe a value of this class.
        """
        value = _adapter(cls).validate_python(document)
        assert isinstance(value, cls)
        return value


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    """Returns the serializer of a class; built on first use and kept."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
