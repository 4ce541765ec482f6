"""A LlamaIndex agent whose model passes long problems to a search.

Run it with `python examples/llamaindex_agent.py`. The bundled model answers a short problem itself;
it passes a long one to `deliberate`, and turns the solution into its answer. The variables
FASTTTS_GENERATOR and FASTTTS_VERIFIER name other models; a generator without a verifier judges
itself.
"""

import asyncio

from llama_index.core.agent.workflow import AgentOutput, FunctionAgent, ToolCallResult
from llama_index.core.tools import FunctionTool

from fasttts import FastTTS as Engine
from fasttts import SearchConfig
from fasttts.config import engine_config
from fasttts_agents import Deliberation
from fasttts_agents.llama_index import deliberate_tool
from llama_index.llms.fasttts import FastTTS

SHORT = (
    "Max wants to read 74 pages in May and 103 pages in June. Then Priya asks for 387 pages more. "
    "How many pages does Max still have to read?"
)
LONG = (
    "Nina has 45 eggs. After that, Nina uses 11 eggs on each of 2 days. A month later Nina has "
    "4 times as many eggs. 5 friends give Nina 50 eggs each. How many eggs does Nina have now?"
)


async def main() -> None:
    with Engine.load(verifier=engine_config().verifier or "judge") as engine:
        agent = build(engine)
        for problem in (SHORT, LONG):
            print(problem)
            before = engine.usage.generated_tokens
            print(indented(str(await ask(agent, problem))))
            print(f"  {engine.usage.generated_tokens - before:,} tokens in all", end="\n\n")


def build(engine: Engine) -> FunctionAgent:
    """Makes an agent with two tools; its model and its searches share the engine."""
    config = SearchConfig(n=16, beam_width=4, max_tokens=400)
    return FunctionAgent(
        tools=[deliberate_tool(engine, config), FunctionTool.from_defaults(read_file)],
        llm=FastTTS(engine=engine, max_tokens=400),
        early_stopping_method="generate",  # for models that go on calling tools
    )


def read_file(path: str) -> str:
    """Read a file and return its text."""
    return f"{path} is not there."


async def ask(agent: FunctionAgent, problem: str) -> AgentOutput:
    """Runs the agent and prints the results of its tools as they arrive."""
    run = agent.run(problem, max_iterations=6)
    async for event in run.stream_events():
        if isinstance(event, ToolCallResult):
            show(event)
    output = await run
    assert isinstance(output, AgentOutput)
    return output


def show(result: ToolCallResult) -> None:
    found = result.tool_output.raw_output
    cost = ""
    if isinstance(found, Deliberation):
        trace = found.trace
        cost = f", score {trace['score']:.4f}, {trace['usage']['generated_tokens']} tokens"
    print(f"  {result.tool_name}{cost}:")
    print(indented(result.tool_output.content))


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() if line)


if __name__ == "__main__":
    asyncio.run(main())
