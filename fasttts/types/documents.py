"""Values that can be written down as JSON and read back."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import TypeAdapter


class Document:
    """A dataclass that is also a JSON document."""

    __slots__ = ()

    def to_json(self, *, indent: int | None = None) -> str:
        """The value as one JSON document; `from_json` reads it back."""
        return _adapter(type(self)).dump_json(self, indent=indent).decode()

    def to_dict(self) -> dict[str, Any]:
        """The value as JSON data; `from_dict` reads it back."""
        document: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return document

    @classmethod
    def from_json(cls, document: str | bytes) -> Self:
        """The value that `to_json` wrote.

        Raises:
            pydantic.ValidationError: The document is not one of ours.
        """
        value = _adapter(cls).validate_json(document)
        assert isinstance(value, cls)
        return value

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The value that `to_dict` wrote.

        Raises:
            pydantic.ValidationError: The document is not one of ours.
        """
        value = _adapter(cls).validate_python(document)
        assert isinstance(value, cls)
        return value


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    """What reads and writes this kind; built once, when it is first needed."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
