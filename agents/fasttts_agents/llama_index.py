"""`deliberate` as a LlamaIndex tool."""

from llama_index.core.tools import FunctionTool

from fasttts import FastTTS, SearchConfig
from fasttts_agents.deliberate import (
    DESCRIPTION,
    NAME,
    DeliberateInput,
    Deliberation,
    check_search,
)

__all__ = ["deliberate_tool"]


def deliberate_tool(engine: FastTTS, config: SearchConfig | None = None) -> FunctionTool:
    """Lets an agent's model hand a hard problem to a verifier-guided search.

    The tool's content is the winning solution; its `raw_output` is a `Deliberation` with the trace.
    Errors are raised; LlamaIndex's agents pass them to the model.

    Args:
        engine: Where the search runs; it may be the one that also runs the agent's model.
        config: How it searches.

    Raises:
        ConfigurationError: The engine has no verifier and the search needs one.
    """
    config = config or SearchConfig()
    check_search(engine, config)

    def deliberate(problem: str) -> Deliberation:
        return Deliberation.of(engine.search(problem, config=config))

    async def adeliberate(problem: str) -> Deliberation:
        return Deliberation.of(await engine.asearch(problem, config=config))

    return FunctionTool.from_defaults(
        fn=deliberate,
        async_fn=adeliberate,
        name=NAME,
        description=DESCRIPTION,
        fn_schema=DeliberateInput,
    )
