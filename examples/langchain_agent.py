"""A LangChain agent with several tools in which each model call is routed to decoding or search.

Run it with `python examples/langchain_agent.py`. The middleware drafts each reply, scores it with
the verifier, and searches where the scores are low; the bundled model passes a long problem to the
`deliberate` tool. Both spend from one budget. The variables FASTTTS_GENERATOR and FASTTTS_VERIFIER
name other models; a generator without a verifier judges itself.
"""

import datetime

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from fasttts import FastTTS, SearchConfig
from fasttts.config import engine_config
from fasttts_agents.langchain import DeliberateTool, DeliberationMiddleware, trace_of
from langchain_fasttts import ChatFastTTS

SHORT = (
    "Max wants to read 74 pages in May and 103 pages in June. Then Priya asks for 387 pages more. "
    "How many pages does Max still have to read?"
)
DOUBTFUL = (
    "Paul has 88 pens. Later Paul gets 8 more pens from Tom. A month later Paul has 8 times as "
    "many pens. Paul packs all the pens into bundles of 3. How many bundles does Paul fill?"
)
LONG = (
    "Nina has 45 eggs. After that, Nina uses 11 eggs on each of 2 days. A month later Nina has "
    "4 times as many eggs. 5 friends give Nina 50 eggs each. How many eggs does Nina have now?"
)
BUDGET_TOKENS = 5000


@tool
def clock() -> str:
    """Tell the date and the time."""
    return f"{datetime.datetime.now().astimezone():%A, %Y-%m-%d %H:%M}"


@tool
def multiply(a: float, b: float) -> float:
    """Multiply two numbers."""
    return a * b


def main() -> None:
    with FastTTS.load(verifier=engine_config().verifier or "judge") as engine:
        for problem in (SHORT, DOUBTFUL, LONG):
            messages = ask(engine, problem)
            print(*map(describe, messages), sep="\n")
            print("what it took:")
            print(*(f"    {part}" for part in trace_of(messages)), "", sep="\n")


def ask(engine: FastTTS, problem: str) -> list[BaseMessage]:
    """Runs the agent and returns its whole conversation about a problem."""
    search = SearchConfig(n=16, beam_width=4, max_tokens=400)
    agent = create_agent(
        ChatFastTTS(engine=engine, n=16, beam_width=4, max_tokens=400),
        [DeliberateTool(engine=engine, config=search), clock, multiply],
        middleware=[DeliberationMiddleware(budget_tokens=BUDGET_TOKENS)],
    )
    messages: list[BaseMessage] = agent.invoke({"messages": [HumanMessage(problem)]})["messages"]
    return messages


def describe(message: BaseMessage) -> str:
    """Formats one message as a paragraph of the trace."""
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [f"{call['name']}({call['args']})" for call in message.tool_calls]
        return f"model calls: {', '.join(calls)}"
    if isinstance(message, ToolMessage) and message.artifact:
        trace = message.artifact
        found = f"{len(trace['candidates'])} candidates, score {trace['score']}"
        return f"{message.name} ({found}):\n{indented(message)}"
    return f"{message.type}:\n{indented(message)}"


def indented(message: BaseMessage) -> str:
    return "\n".join(f"    {line}" for line in message.text.splitlines() if line)


if __name__ == "__main__":
    main()
