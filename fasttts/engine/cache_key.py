"""Cache keys of searches: equal keys mean equal results.

A key covers prompt, resolved options, seed, both models, what their numbers depend on (`numerics`)
and the versions of all computing code. It leaves out what the promise of equal results excludes:
slots, optimisations, memory, other calls.
"""

import hashlib
import importlib.metadata
import json
from functools import cache
from pathlib import Path
from typing import Any

from fasttts.config import is_function_name
from fasttts.interfaces import Generator, Verifier, fingerprint, numerics
from fasttts.scheduling.run import SearchRequest
from fasttts.search.named import named_function
from fasttts.tree import Node
from fasttts.types import Numerics
from fasttts.verifiers.resolve import joint_numerics

_FORMAT = 2
"""Version of the entries' format."""

_LIBRARIES = ("llguidance", "math-verify", "numpy", "sympy", "tokenizers", "transformers")
"""Libraries that affect results, besides the backends' own."""

_NOT_COMPUTING = ("cli", "demo", "page", "testing")
"""Folders of this package that affect no result."""


class SearchIdentity:
    """Keys of the searches of one engine.

    Args:
        generator: The engine's generator.
        verifier: The engine's verifier; None without one.
    """

    def __init__(self, generator: Generator, verifier: Verifier | None) -> None:
        self._generator = _backend(generator, numerics(generator))
        self._verifier = None
        if verifier is not None:
            self._verifier = _backend(verifier, joint_numerics(verifier))

    def key(self, request: SearchRequest) -> str | None:
        """Returns the key of a search; None where its inputs do not determine its result.

        That is so where seconds may end it, and where a model, a verifier, a policy or an extractor
        has no fingerprint.
        """
        config = request.config
        verifier = self._verifier if request.uses_verifier else {}
        if config.budget.seconds is not None or self._generator is None or verifier is None:
            return None
        functions: dict[str, str | None] = {}
        if request.extract is not None:
            functions["extract"] = fingerprint(request.extract)
        if is_function_name(config.search):
            functions["search"] = fingerprint(named_function(config.search))
        if None in functions.values():
            return None
        return _digest(
            {
                "prompt": list(request.prompt_token_ids),
                "problem": request.problem,
                "grammar": request.grammar,
                "answer_prefix": _answer_prefix(request.answer_prefix),
                "config": config.model_dump(mode="json"),
                "generator": self._generator,
                "verifier": verifier,
                "functions": functions,
                "versions": _versions(),
            }
        )


def _answer_prefix(node: Node | None) -> list[Any] | None:
    return None if node is None else [node.text, node.token_ids, node.steps, node.scores_S]


def _backend(backend: Generator | Verifier, given: Numerics) -> dict[str, Any] | None:
    identity = fingerprint(backend)
    if identity is None:
        return None
    return {"name": backend.name, "fingerprint": identity, "numerics": given}


@cache
def _versions() -> dict[str, str | int]:
    """Versions of the computing code: libraries by version, this package by its source."""
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {**versions, "fasttts": _source(), "format": _FORMAT}


def _source() -> str:
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        part = file.relative_to(root)
        if part.parts[0] not in _NOT_COMPUTING:
            digest.update(f"{part} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.hexdigest()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
