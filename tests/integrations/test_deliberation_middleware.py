"""`DeliberationMiddleware` in agents: beside LangChain's own, within a budget, with its costs."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    ToolCallLimitMiddleware,
)
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from fasttts import ConfigurationError, FastTTS, SearchConfig
from fasttts.routing import Always, Cascade, Never
from fasttts_agents.langchain import DeliberateTool, DeliberationMiddleware, trace_of
from langchain_fasttts import ChatFastTTS
from tests.integrations.conftest import HermesGenerator

PROBLEM = "Tom has 2 pens and buys 2 more. How many has he?"
SOLUTION = "Two and two: 2 + 2 = 4.\n\nThe answer is \\boxed{4}."
CALL = (
    f'<tool_call>\n{{"name": "deliberate", "arguments": {{"problem": "{PROBLEM}"}}}}\n</tool_call>'
)
ASK_BUDGET = '<tool_call>\n{"name": "deliberation_budget", "arguments": {}}\n</tool_call>'
HARD, LAST, MONEY = "Hard one.", "He has 4 pens.", "How much may you spend?"
SMALL = SearchConfig(n=4, beam_width=2)


@pytest.fixture(autouse=True)
def _answers(generator: HermesGenerator) -> None:
    generator.answers |= {HARD: CALL, PROBLEM: SOLUTION, SOLUTION: LAST, MONEY: ASK_BUDGET}


def model(engine: FastTTS) -> ChatFastTTS:
    return ChatFastTTS(engine=engine, n=4, max_tokens=200)


def agent(engine: FastTTS, *middleware: AgentMiddleware[Any, Any, Any], **options: Any) -> Any:
    tools = [DeliberateTool(engine=engine, config=SMALL)]
    return create_agent(model(engine), tools, middleware=middleware, **options)


def asked(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def routing(message: AIMessage) -> dict[str, Any]:
    found: dict[str, Any] = message.response_metadata["fasttts"]["routing"]
    return found


OTHERS: dict[str, Callable[[FastTTS], AgentMiddleware[Any, Any, Any]]] = {
    "fallback": lambda engine: ModelFallbackMiddleware(model(engine)),
    "retry": lambda engine: ModelRetryMiddleware(max_retries=1),
    "summarisation": lambda engine: SummarizationMiddleware(
        model(engine), trigger=("messages", 50), keep=("messages", 20)
    ),
    "tool limit": lambda engine: ToolCallLimitMiddleware(run_limit=3),
    "model limit": lambda engine: ModelCallLimitMiddleware(run_limit=5),
    "human in the loop": lambda engine: HumanInTheLoopMiddleware({"deliberate": True}),
}


async def run(made: Any, given: Any, config: Any, *, is_async: bool) -> Any:
    if is_async:
        return await made.ainvoke(given, config)
    return await asyncio.to_thread(made.invoke, given, config)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("is_first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("other", OTHERS)
async def test_beside_langchains_own(
    engine: FastTTS, other: str, is_first: bool, is_async: bool
) -> None:
    ours = DeliberationMiddleware(Cascade(threshold=1.0), budget_tokens=100_000)
    pair = [ours, OTHERS[other](engine)]
    made = agent(engine, *(pair if is_first else pair[::-1]), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    state = await run(made, asked(HARD), config, is_async=is_async)
    if other == "human in the loop":
        assert "__interrupt__" in state
        approval = Command(resume={"decisions": [{"type": "approve"}]})
        state = await run(made, approval, config, is_async=is_async)
    kinds = [type(message) for message in state["messages"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    _, call, tool, last = state["messages"]
    assert routing(call)["reason"] == "the draft calls a tool"
    assert tool.artifact["answer"] == "4"
    assert routing(last)["reason"] == "a tool's result is passed on"
    assert last.text == LAST
    assert state["deliberation_spent"] == engine.usage.required_tokens


async def test_a_retried_and_a_replaced_model(engine: FastTTS, generator: HermesGenerator) -> None:
    class Flaky(AgentMiddleware[Any, Any, Any]):
        num_calls = 0

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            self.num_calls += 1
            if self.num_calls == 1:
                raise TimeoutError("the first call fails")
            return handler(request)

    for other in (ModelRetryMiddleware(initial_delay=0), ModelFallbackMiddleware(model(engine))):
        made = agent(engine, other, Flaky(), DeliberationMiddleware(Always()))
        state = made.invoke(asked(PROBLEM))
        assert routing(state["messages"][-1])["route"] == "search"


def test_models_of_others_are_left_alone() -> None:
    class Strict(GenericFakeChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            assert kwargs.keys() <= {"stop", "run_manager"}, kwargs
            return super()._generate(*args, **kwargs)

    other = Strict(messages=iter([AIMessage("Hello.")]))
    made = create_agent(other, middleware=[DeliberationMiddleware(budget_tokens=10)])
    state = made.invoke(asked("Hi."))
    assert state["messages"][-1].text == "Hello."
    assert state["deliberation_spent"] == 0


def test_each_call_is_decided_anew(engine: FastTTS) -> None:
    policy = Cascade(threshold=1.0, tool_results=True)
    state = agent(engine, DeliberationMiddleware(policy)).invoke(asked(HARD))
    routes = [routing(m)["route"] for m in state["messages"] if isinstance(m, AIMessage)]
    assert routes == ["plain", "search"]


@pytest.mark.parametrize("budget", [0, 60])
async def test_a_spent_budget_leaves_plain_decoding_that_says_so(
    engine: FastTTS, budget: int
) -> None:
    made = agent(engine, DeliberationMiddleware(Always(), budget_tokens=budget))
    for state in (made.invoke(asked(HARD)), await made.ainvoke(asked(HARD))):
        _, _, tool, last = state["messages"]
        spent = f"(The budget of {budget} tokens is spent: all replies are plain now.)"
        assert tool.content == f"{spent}\n\n{SOLUTION}"
        assert tool.artifact["config"]["search"] == "none"
        assert tool.artifact["routing"]["policy"] == "BudgetExhausted"
        assert routing(last)["policy"] == "BudgetExhausted"
        assert routing(last)["reason"] == f"the run's budget of {budget} tokens is spent"


def test_a_budget_bounds_the_searches_of_the_run(engine: FastTTS) -> None:
    whole = agent(engine, DeliberationMiddleware(Always())).invoke(asked(HARD))
    budget = whole["deliberation_spent"] // 2
    before = engine.usage.required_tokens
    less = agent(engine, DeliberationMiddleware(Always(), budget_tokens=budget)).invoke(asked(HARD))
    assert less["deliberation_spent"] == engine.usage.required_tokens - before
    assert less["deliberation_spent"] < whole["deliberation_spent"]
    assert less["messages"][-1].text.endswith(LAST)


async def test_every_run_of_a_thread_has_the_whole_budget(engine: FastTTS) -> None:
    middleware = DeliberationMiddleware(Always(), budget_tokens=1)
    made = agent(engine, middleware, checkpointer=InMemorySaver())
    for is_async in (False, True):
        config = {"configurable": {"thread_id": str(is_async)}}
        for _ in range(2):
            before = engine.usage.required_tokens
            state = await run(made, asked(PROBLEM), config, is_async=is_async)
            reason = "the budget ended the search before it had an answer"
            assert routing(state["messages"][-1])["reason"] == reason
            assert state["deliberation_spent"] == engine.usage.required_tokens - before > 1


def test_the_model_may_ask_what_is_left(engine: FastTTS, generator: HermesGenerator) -> None:
    generator.answers["are left for searches."] = "Enough."
    middleware = DeliberationMiddleware(Never(), budget_tokens=5000, tells_budget=True)
    state = agent(engine, middleware).invoke(asked(MONEY))
    spent = state["messages"][1].response_metadata["fasttts"]["usage"]["required_tokens"]
    assert state["messages"][2].content == f"{5000 - spent} of 5000 tokens are left for searches."
    unlimited = agent(engine, DeliberationMiddleware(Never(), tells_budget=True))
    assert unlimited.invoke(asked(MONEY))["messages"][2].content.startswith("There is no budget")


def test_a_failed_search_of_the_tool_is_paid_for(engine: FastTTS) -> None:
    tool = DeliberateTool(engine=engine, config=SearchConfig(n=4, beam_width=2, max_tokens=3))
    made = create_agent(model(engine), [tool], middleware=[DeliberationMiddleware(Never())])
    state = made.invoke(asked(HARD))
    assert state["messages"][2].status == "error"
    assert state["deliberation_spent"] == engine.usage.required_tokens


def test_the_trace_adds_up_to_the_engine(engine: FastTTS) -> None:
    policy = Cascade(threshold=1.0, tool_results=True)
    state = agent(engine, DeliberationMiddleware(policy)).invoke(asked(HARD))
    parts = trace_of(state["messages"])
    assert [part.kind for part in parts] == ["plain", "tool", "deliberated"]
    for name in ("generated_tokens", "required_tokens", "num_verifications"):
        total = sum(getattr(part.usage, name) for part in parts)
        assert total == getattr(engine.usage, name), name
    assert str(parts[1]).startswith("tool        deliberate: ")
    assert trace_of([HumanMessage("Hi."), AIMessage("From another model.")]) == []
    undecided = model(engine).invoke(PROBLEM)
    assert [part.kind for part in trace_of([undecided])] == ["plain"]


async def test_the_tool_tells_its_progress_to_the_graphs_custom_stream(engine: FastTTS) -> None:
    made = agent(engine, DeliberationMiddleware(Never()))
    told = list(made.stream(asked(HARD), stream_mode="custom"))
    atold = [event async for event in made.astream(asked(HARD), stream_mode="custom")]
    for events in (told, atold):
        assert {event["type"] for event in events} == {"deliberate"}
        assert events[-1]["num_finished"] >= 1


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 0"):
        DeliberationMiddleware(budget_tokens=-1)
