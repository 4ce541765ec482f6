"""Encodes texts in which control tokens are plain text, but for those that the caller places."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from fasttts.errors import ConfigurationError


class PlacedToken(NamedTuple):
    """A control token in a text: its id, and where it stands, in characters."""

    token_id: int
    start: int
    end: int


class PlainTextEncoder:
    """A tokenizer's second self, in which control tokens have names that no text contains.

    Made when it is first used, which takes about a second for 150,000 tokens.

    Args:
        backend: The tokenizer, of the library `tokenizers`.
        controls: The texts of its control tokens, by their ids.
        name: The model, for messages.
    """

    def __init__(self, backend: Any, controls: Mapping[int, str], name: str) -> None:
        self._backend = backend
        self._controls = controls
        self._name = name
        # Contents must not know the names; they have no effect on tokens.
        nonce = secrets.token_hex(8)
        self._names = {i: f"\ue000{nonce}x{i}\ue001" for i in controls}
        self._unknown_id = _unknown_id(backend)

    def encode(self, parts: Iterable[str | int]) -> list[int]:
        """Encodes texts and control tokens as one text.

        Args:
            parts: Texts, and ids of control tokens between them.

        Raises:
            ConfigurationError: The tokens hold other control tokens than `parts`, or the tokenizer
                cannot do without its control tokens.
        """
        parts = list(parts)
        written = (part if isinstance(part, str) else self._names[part] for part in parts)
        ids: list[int] = self._renamed.encode("".join(written), add_special_tokens=False).ids
        placed = [part for part in parts if isinstance(part, int)]
        if self._known(ids) != self._known(placed):
            raise self._refusal()
        return ids

    def placed(self, text: str, encoding: Any) -> list[PlacedToken]:
        """Returns the control tokens that the tokenizer itself finds in a text.

        Args:
            text: The text.
            encoding: What the tokenizer makes of it.
        """
        if self._controls.keys().isdisjoint(encoding.ids):
            return []
        return [
            PlacedToken(i, start, end)
            for i, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
            if i in self._controls
            and (i != self._unknown_id or text[start:end].strip() == self._controls[i])
        ]

    def _known(self, ids: Sequence[int]) -> list[int]:
        """The control tokens of a prompt, but for that of unknown characters."""
        return [i for i in ids if i in self._controls and i != self._unknown_id]

    @cached_property
    def _renamed(self) -> Any:
        from tokenizers import Tokenizer

        described = json.loads(self._backend.to_str())
        described.update(post_processor=None, truncation=None, padding=None)
        for token in described["added_tokens"]:
            token["content"] = self._names.get(token["id"], token["content"])
        names = {text: self._names[i] for i, text in self._controls.items()}
        described["model"] = _renamed_model(described["model"], names)
        try:
            renamed = Tokenizer.from_str(json.dumps(described))
        except Exception as error:  # the library raises nothing more special
            raise self._refusal(f": {error}") from error
        if any(renamed.token_to_id(name) != i for i, name in self._names.items()):
            raise self._refusal(": they have no fixed ids")
        return renamed

    def _refusal(self, reason: str = "") -> ConfigurationError:
        return ConfigurationError(
            f"the tokenizer of {self._name!r} does not keep control tokens apart from text{reason}"
        )


def _renamed_model(model: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The model with other names of tokens, and without the merges that make these tokens."""
    renamed = dict(model)
    vocab = model["vocab"]
    if isinstance(vocab, Mapping):
        renamed["vocab"] = {names.get(text, text): i for text, i in vocab.items()}
    else:
        renamed["vocab"] = [[names.get(text, text), score] for text, score in vocab]
    if "merges" in model:
        pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
        renamed["merges"] = [
            pair for pair in pairs if names.keys().isdisjoint((*pair, "".join(pair)))
        ]
    if model.get("unk_token") is not None:
        renamed["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    return renamed


def _unknown_id(backend: Any) -> int | None:
    """The token of characters that the vocabulary lacks, which texts may hold; None without one."""
    unknown: str | None = getattr(backend.model, "unk_token", None)
    found: int | None = backend.token_to_id(unknown) if unknown else None
    return found if unknown else getattr(backend.model, "unk_id", None)
