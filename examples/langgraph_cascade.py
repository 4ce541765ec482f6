"""A LangGraph graph that answers plainly, and deliberates where the verifier doubts the answer.

Run it with `python examples/langgraph_cascade.py`. The node `plain` decodes once and has its steps
scored; if the lowest score is under 0.5, the node `deliberate` searches. The variables
FASTTTS_GENERATOR and FASTTTS_VERIFIER name other models; a generator without a verifier judges
itself.
"""

from typing import TypedDict

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from fasttts import FastTTS
from fasttts.config import engine_config
from langchain_fasttts import ChatFastTTS

THRESHOLD = 0.5
EASY = (
    "Max wants to read 74 pages in May and 103 pages in June. Then Priya asks for 387 pages more. "
    "How many pages does Max still have to read?"
)
HARD = (
    "Priya has 35 dollars. Priya wins 24 dollars. The money grows to 2 times as much. Priya gives "
    "away half of the money. Ivan has 7 more dollars than Priya. How many dollars does Ivan have?"
)


class State(TypedDict, total=False):
    """State of the graph.

    Attributes:
        problem: The user's problem.
        draft: The plain answer.
        answer: The final answer.
    """

    problem: str
    draft: AIMessage
    answer: AIMessage


def main() -> None:
    with FastTTS.load(verifier=engine_config().verifier or "judge") as engine:
        graph = build(engine)
        for problem in (EASY, HARD):
            print(problem)
            for update in graph.stream({"problem": problem}, stream_mode="updates"):
                for node, state in update.items():
                    show(node, state["answer"])
            print()


def build(engine: FastTTS) -> "CompiledStateGraph[State, None, State, State]":
    """Makes the graph; both nodes share the engine and its models."""
    scored = ChatFastTTS(
        engine=engine,
        search="best_of_n",
        n=1,
        temperature=0.0,
        max_tokens=400,
        search_args={"aggregation": "min"},
    )
    searching = ChatFastTTS(engine=engine, search="beam_search", n=16, beam_width=4, max_tokens=400)

    def plain(state: State) -> State:
        draft = scored.invoke(state["problem"])
        return {"draft": draft, "answer": draft}

    def deliberate(state: State) -> State:
        return {"answer": searching.invoke(state["problem"])}

    graph = StateGraph(State)
    graph.add_node("plain", plain)
    graph.add_node("deliberate", deliberate)
    graph.add_edge(START, "plain")
    graph.add_conditional_edges("plain", next_node, ["deliberate", END])
    graph.add_edge("deliberate", END)
    return graph.compile()


def next_node(state: State) -> str:
    """Routes a draft to a search if its lowest score is below the threshold."""
    score = state["draft"].response_metadata["score"]
    return END if score is not None and score >= THRESHOLD else "deliberate"


def show(node: str, answer: AIMessage) -> None:
    cost = answer.response_metadata["fasttts"]["usage"]["generated_tokens"]
    print(f"  {node}: score {answer.response_metadata['score']:.4f}, {cost} tokens")
    print("\n".join(f"    {line}" for line in answer.text.splitlines() if line))


if __name__ == "__main__":
    main()
