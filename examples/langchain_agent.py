"""A LangChain agent with several tools that thinks hard only when it needs to.

Run it with `python examples/langchain_agent.py`. The bundled model answers a short problem itself;
a long one it hands to the `deliberate` tool, and turns the tool's solution into its answer. The
variables FASTTTS_GENERATOR and FASTTTS_VERIFIER name other models.
"""

import datetime

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from fasttts import FastTTS, SearchConfig
from fasttts_agents.langchain import DeliberateTool
from langchain_fasttts import ChatFastTTS

SHORT = (
    "Max wants to read 74 pages in May and 103 pages in June. Then Priya asks for 387 pages more. "
    "How many pages does Max still have to read?"
)
LONG = (
    "Nina has 45 eggs. After that, Nina uses 11 eggs on each of 2 days. A month later Nina has "
    "4 times as many eggs. 5 friends give Nina 50 eggs each. How many eggs does Nina have now?"
)


@tool
def clock() -> str:
    """Tell the date and the time."""
    return f"{datetime.datetime.now().astimezone():%A, %Y-%m-%d %H:%M}"


@tool
def multiply(a: float, b: float) -> float:
    """Multiply two numbers."""
    return a * b


def main() -> None:
    with FastTTS.load() as engine:
        for problem in (SHORT, LONG):
            print(*map(describe, ask(engine, problem)), "", sep="\n")


def ask(engine: FastTTS, problem: str) -> list[BaseMessage]:
    """The agent's whole conversation about a problem."""
    search = SearchConfig(n=16, beam_width=4, max_tokens=400)
    agent = create_agent(
        ChatFastTTS(engine=engine, max_tokens=400),
        [DeliberateTool(engine=engine, config=search), clock, multiply],
    )
    messages: list[BaseMessage] = agent.invoke({"messages": [HumanMessage(problem)]})["messages"]
    return messages


def describe(message: BaseMessage) -> str:
    """One message as a paragraph of the trace."""
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [f"{call['name']}({call['args']})" for call in message.tool_calls]
        return f"model calls: {', '.join(calls)}"
    if isinstance(message, ToolMessage) and message.artifact:
        trace = message.artifact
        cost = trace["usage"]["generated_tokens"]
        found = f"{len(trace['candidates'])} candidates, score {trace['score']}, {cost} tokens"
        return f"{message.name} ({found}):\n{indented(message)}"
    return f"{message.type}:\n{indented(message)}"


def indented(message: BaseMessage) -> str:
    return "\n".join(f"    {line}" for line in message.text.splitlines() if line)


if __name__ == "__main__":
    main()
