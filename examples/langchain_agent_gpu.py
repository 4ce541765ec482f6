"""The agent of `langchain_agent.py` with models for a GPU of 24 GB, such as an RTX 4090.

Run it with `python examples/langchain_agent_gpu.py "How many primes are there below 100?"`. The
first run downloads about 18 GB from the Hugging Face hub. This shows beforehand how the two models
share the memory:

    fasttts plan --gpu rtx-4090 -n 32 --context 4096 --generator Qwen2.5-7B-Instruct \\
        --verifier Skywork-o1-Open-PRM-Qwen-2.5-1.5B
"""

import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from fasttts import FastTTS, SearchConfig
from fasttts_agents.langchain import DeliberateTool, DeliberationMiddleware, trace_of
from langchain_fasttts import ChatFastTTS

ENGINE: dict[str, Any] = {
    "generator": "Qwen/Qwen2.5-7B-Instruct",
    "verifier": "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B",
    "max_model_len": 4096,
    "gpu_memory_utilization": 0.9,
    "planned_beams": 32,
    "tool_call_parser": "hermes",
}
"""A model that calls tools well, and a verifier small enough to leave room for its KV cache."""

SEARCH = SearchConfig(search="beam_search", n=32, beam_width=4, max_tokens=2048)
BUDGET_TOKENS = 100_000
"""Tokens that replies and searches of a run may spend together."""

SYSTEM = (
    "You are a helpful assistant. Use `deliberate` for mathematics that takes several steps, and "
    "pass the whole problem on, word for word."
)


@tool
def multiply(a: float, b: float) -> float:
    """Multiply two numbers."""
    return a * b


def main(question: str) -> None:
    with FastTTS.load(**ENGINE) as engine:
        result = build(engine).invoke({"messages": [HumanMessage(question)]})
        for message in result["messages"]:
            message.pretty_print()
        print(*trace_of(result["messages"]), sep="\n")


def build(engine: FastTTS) -> Any:
    """Makes the agent; its model and its searches share the engine."""
    model = ChatFastTTS(engine=engine, n=16, beam_width=4, max_tokens=1024)
    tools = [DeliberateTool(engine=engine, config=SEARCH, max_effort="high"), multiply]
    middleware = [DeliberationMiddleware(budget_tokens=BUDGET_TOKENS)]
    return create_agent(model, tools, system_prompt=SYSTEM, middleware=middleware)


if __name__ == "__main__":
    main(sys.argv[1])
