"""Attributes of spans.

Names are those of OpenTelemetry's conventions for generative AI, version 1.41.1, where there is
one, and begin with `fasttts.` otherwise. On request each span has those of OpenInference too, as in
openinference-semantic-conventions 0.1.32. Texts of prompts and answers are not among them.
"""

import json
from collections.abc import Mapping
from typing import Any

from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.scheduling.timeline import VerifierBatch
from fasttts.scheduling.usage import token_counts
from fasttts.tree import Node
from fasttts.types import SearchResult

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.1"
"""The last version of the conventions that defines the names for generative AI; with 1.42 they
moved to a repository of their own, which has published no version."""

Attributes = dict[str, Any]

_PROVIDER = "fasttts"


def request_attributes(
    request: SearchRequest, *, generator: str, verifier: str | None, is_streamed: bool
) -> Attributes:
    """Attributes that are known when a request begins.

    Args:
        request: The search.
        generator: The generator's name.
        verifier: The verifier's; None without one.
        is_streamed: Whether its caller reads events.
    """
    config = request.config
    asked = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": generator,
        "gen_ai.response.model": generator,
        "gen_ai.request.max_tokens": config.max_tokens,
        "gen_ai.request.temperature": config.sampling.temperature,
        "gen_ai.request.top_k": config.top_k,
        "gen_ai.request.top_p": config.top_p,
        "gen_ai.request.stop_sequences": config.stop,
        "gen_ai.usage.input_tokens": len(request.prompt_token_ids),
        "fasttts.search": config.search,
        "fasttts.n": config.n,
        "gen_ai.request.seed": config.seed,
    }
    if is_streamed:
        asked["gen_ai.request.stream"] = True
    if request.uses_verifier and verifier is not None:
        asked["fasttts.verifier"] = verifier
    return asked


def run_attributes(run: SearchRun, *, is_streamed: bool) -> Attributes:
    """Attributes of an ended search: its cost, and its candidates' finish reasons in path order.

    Args:
        run: The search.
        is_streamed: Whether its caller reads events.
    """
    reasons = [str(node.finish_reason) for node in run.ended_nodes()]
    told = {
        **_told(token_counts(run.counts, run.tree), reasons),
        "fasttts.usage.num_iterations": run.counts.num_iterations,
        "fasttts.is_cached": False,
    }
    if (seconds := run.counts.first_token_s) is not None:
        told["fasttts.time_to_first_token"] = seconds
        if is_streamed:
            told["gen_ai.response.time_to_first_chunk"] = seconds
    return told


def result_attributes(result: SearchResult) -> Attributes:
    """Attributes of a result of the result cache, for which nothing was generated."""
    candidates = sorted(result.candidates, key=lambda candidate: candidate.path)
    return {
        **_told({"generated_tokens": 0}, [one.finish_reason for one in candidates]),
        "fasttts.is_cached": True,
    }


def _told(counts: Mapping[str, int], reasons: list[str]) -> Attributes:
    return {
        "gen_ai.usage.output_tokens": counts["generated_tokens"],
        "gen_ai.response.finish_reasons": reasons,
        **{f"fasttts.usage.{name}": count for name, count in counts.items()},
    }


def step_attributes(node: Node, verifier: str | None) -> Attributes:
    """Attributes of a step: its place in the tree, its tokens, its score.

    Tokens do not have the names of the conventions, because readers of traces add those up over
    spans, and the request's span has all of them.

    Args:
        node: The step.
        verifier: Name of the verifier that scores it; None without one.
    """
    told: Attributes = {
        "fasttts.step.path": ".".join(map(str, node.path)),
        "fasttts.step.depth": node.depth,
        "fasttts.step.num_tokens": len(node.token_ids),
        "fasttts.step.num_speculated_tokens": (
            node.num_speculated_tokens if node.is_attached else len(node.token_ids)
        ),
        "fasttts.step.is_in_tree": node.is_attached,
    }
    if node.finish_reason is not None:
        told["fasttts.step.finish_reason"] = node.finish_reason
    if node.scores_S is not None and verifier is not None:
        told["gen_ai.evaluation.name"] = verifier
        told["gen_ai.evaluation.score.value"] = node.scores_S[-1]
    return told


def batch_attributes(batch: VerifierBatch, verifier: str | None) -> Attributes:
    """Attributes of a search's part of a batch of the verifier.

    Args:
        batch: The batch.
        verifier: The verifier's name.
    """
    told: Attributes = {
        "fasttts.batch.num_searches": batch.num_searches,
        "fasttts.batch.num_requests": batch.num_requests,
        "fasttts.batch.num_steps": batch.num_steps,
        "fasttts.batch.num_computed_tokens": batch.num_computed_tokens,
        "fasttts.batch.num_cached_tokens": batch.num_cached_tokens,
    }
    if verifier is not None:
        told["fasttts.verifier"] = verifier
    return told


def in_openinference(attributes: Attributes) -> Attributes:
    """The attributes of a request, as OpenInference names them.

    Args:
        attributes: From `request_attributes`, `run_attributes` or `result_attributes`.
    """
    told: Attributes = {}
    for name, theirs in _THEIRS.items():
        if name in attributes:
            told[theirs] = attributes[name]
    if "gen_ai.operation.name" in attributes:
        told |= {"openinference.span.kind": "LLM", "llm.system": _PROVIDER}
        parameters = {
            name.removeprefix(_REQUEST): value
            for name, value in attributes.items()
            if name.startswith(_REQUEST)
        }
        told["llm.invocation_parameters"] = json.dumps(parameters)
    return told


_REQUEST = "gen_ai.request."
_THEIRS = {
    "gen_ai.provider.name": "llm.provider",
    "gen_ai.response.model": "llm.model_name",
    "gen_ai.usage.input_tokens": "llm.token_count.prompt",
    "gen_ai.usage.output_tokens": "llm.token_count.completion",
}
STEP_KIND = {"openinference.span.kind": "CHAIN"}
BATCH_KIND = {"openinference.span.kind": "EVALUATOR"}
