"""The cost of a reply, in the two forms that the frameworks use."""

from dataclasses import asdict
from typing import Any

from fasttts.types import SearchResult


def token_usage(result: SearchResult, num_tokens: int | None = None) -> dict[str, int]:
    """Counts the tokens of the conversation: the prompt and one returned path.

    Agents read these as the length of their context, so they leave out what a search spent on other
    paths; `cost_report` has it.

    Args:
        result: The result of the search.
        num_tokens: Tokens of the path; None takes the chosen candidate's.
    """
    output = result.usage.returned_tokens if num_tokens is None else num_tokens
    prompt = result.usage.prompt_tokens
    return {"input_tokens": prompt, "output_tokens": output, "total_tokens": prompt + output}


def cost_report(result: SearchResult) -> dict[str, Any]:
    """Returns everything else about a search as plain JSON values: cost, seconds, options, seed."""
    return {
        "answer": result.answer,
        "score": result.score,
        "num_candidates": len(result.candidates),
        "usage": asdict(result.usage),
        "timings": asdict(result.timings),
        "seed": result.seed,
        "config": result.config,
        "generator": result.generator,
        "verifier": result.verifier,
        "numerics": result.numerics,
        "routing": result.routing,
        "warnings": list(result.warnings),
    }
