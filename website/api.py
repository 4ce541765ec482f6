"""Pages of classes and functions: the names of packages, for mkdocstrings to fill in."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

import fasttts
from fasttts import Budget, EngineConfig, FastTTSError, SchedulingConfig, SearchConfig
from fasttts.types import Event
from website.records import subclasses

_ENGINE = ("FastTTS", "SearchHandle", "shared_engine", "release_engine", "SYSTEM_PRESETS")
_STATISTICS = ("EngineStats", "RequestStats", "Health")


@dataclass(frozen=True, slots=True)
class Part:
    """A section of a page.

    Attributes:
        title: Its heading.
        module: Where users import its names from.
        names: The names; empty for all that the module exports.
    """

    title: str
    module: str
    names: tuple[str, ...] = ()

    def text(self) -> str:
        """The section in Markdown."""
        names = self.names or tuple(importlib.import_module(self.module).__all__)
        parts = [f"## {self.title}", f"From `{self.module}`."]
        parts += [f"::: {self.module}.{name}" for name in names]
        return "\n\n".join(parts) + "\n"


def elsewhere() -> set[str]:
    """Names of `fasttts` that other pages of the reference describe: options, errors, events."""
    classes: Iterable[type] = (
        *(Budget, EngineConfig, SchedulingConfig, SearchConfig),
        *subclasses(FastTTSError),
        *get_args(Event),
    )
    return {one.__name__ for one in classes} | {"Event", "__version__"}


def results() -> tuple[str, ...]:
    """Names of `fasttts` that carry results."""
    others = elsewhere().union(_ENGINE, _STATISTICS)
    return tuple(name for name in fasttts.__all__ if name not in others)


def page(title: str, *parts: Part) -> Callable[[], str]:
    """A page, made when it is called.

    Args:
        title: Its heading.
        parts: Its sections.
    """
    return lambda: f"# {title}\n\n" + "\n".join(part.text() for part in parts)


API_PAGES = {
    "api/engine.md": page(
        "The engine in Python",
        Part("Engine", "fasttts", _ENGINE),
        Part("Statistics", "fasttts", _STATISTICS),
    ),
    "api/results.md": page("Results in Python", Part("Results", "fasttts", results())),
    "api/searches.md": page(
        "Searches, verifiers and backends in Python",
        Part("Searches", "fasttts.search"),
        Part("Verifiers", "fasttts.verifiers"),
        Part("Protocols of backends", "fasttts.interfaces", ("Generator", "Verifier")),
        Part("Checks for policies", "fasttts.testing"),
    ),
    "api/evaluation.md": page(
        "Evaluation, routing and planning in Python",
        Part("Evaluation", "fasttts.evaluation"),
        Part("Check", "fasttts.check"),
        Part("Routing", "fasttts.routing"),
        Part("Programs", "fasttts.code"),
        Part("Memory", "fasttts.memory"),
    ),
    "api/integrations.md": page(
        "Integrations in Python",
        Part("LangChain", "langchain_fasttts"),
        Part("LlamaIndex", "llama_index.llms.fasttts"),
        Part("lm-evaluation-harness", "lm_eval_fasttts"),
        Part("inspect-ai", "inspect_fasttts"),
        Part("What a tool reports", "fasttts_agents"),
        Part("Agents of LangChain", "fasttts_agents.langchain"),
        Part("Agents of LlamaIndex", "fasttts_agents.llama_index"),
        Part("MCP", "fasttts_agents.mcp"),
        Part("Server", "fasttts.serving"),
        Part("Ray", "fasttts.ray"),
    ),
}
