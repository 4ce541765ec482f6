"""The framework examples, on an engine without models."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from fasttts import FastTTS

EXAMPLES = Path(__file__).parents[2] / "examples"
FOUND = "So there are 342.\n\nThe answer is \\boxed{342}."


def call_text(problem: str) -> str:
    arguments = json.dumps({"problem": problem})
    return f'<tool_call>\n{{"name": "deliberate", "arguments": {arguments}}}\n</tool_call>'


@pytest.fixture
def agent() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "langchain_agent.py"))


@pytest.fixture
def query_engine() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "llamaindex_query_engine.py"))


def test_the_agent_calls_the_tool_when_the_model_does(
    engine: FastTTS, generator: Any, agent: dict[str, Any]
) -> None:
    call = call_text("The eggs?")
    generator.answers |= {agent["LONG"]: call, "The eggs?": FOUND, f"tool: {FOUND}": "It is 342."}
    messages = agent["ask"](engine, agent["LONG"])
    kinds = [type(message).__name__ for message in messages]
    assert kinds == ["HumanMessage", "AIMessage", "ToolMessage", "AIMessage"]
    trace = "\n".join(map(agent["describe"], messages))
    assert "model calls: deliberate({'problem': 'The eggs?'})" in trace
    assert "deliberate (16 candidates, score" in trace
    assert trace.endswith("ai:\n    It is 342.")


def test_the_agent_answers_itself_when_the_model_does(
    engine: FastTTS, generator: Any, agent: dict[str, Any]
) -> None:
    generator.answers[agent["SHORT"]] = "It is \\boxed{41}."
    assert [type(m) for m in agent["ask"](engine, agent["SHORT"])][1:] == [AIMessage]


def test_the_agent_survives_an_error_of_the_tool(
    engine: FastTTS, generator: Any, agent: dict[str, Any]
) -> None:
    call = call_text(" ")
    generator.answers |= {agent["LONG"]: call, "empty": "I cannot tell."}
    messages = agent["ask"](engine, agent["LONG"])
    assert isinstance(messages[2], ToolMessage)
    assert (messages[2].status, messages[-1].content) == ("error", "I cannot tell.")
    assert "the prompt is empty" in agent["describe"](messages[2])


@pytest.mark.usefixtures("main_thread_loop")
@pytest.mark.parametrize(("index", "file"), [(0, "pencils"), (1, "marbles"), (2, "buttons")])
def test_the_query_engine_answers_from_the_right_document(
    engine: FastTTS, generator: Any, query_engine: dict[str, Any], index: int, file: str
) -> None:
    question = query_engine["QUESTIONS"][index]
    generator.answers[f"Query: {question}\nAnswer: "] = "The answer is \\boxed{7}."
    response = query_engine["ask"](query_engine["build"](engine), question)
    assert str(response) == "The answer is \\boxed{7}."
    (source,) = response.source_nodes
    assert source.node.metadata == {"file_name": f"{file}.txt"}
    facts = (EXAMPLES / "documents" / f"{file}.txt").read_text().strip()
    assert source.node.get_content().strip() == facts
    assert facts in generator.prompts[0]
    assert str(EXAMPLES) not in generator.prompts[0]


@pytest.mark.usefixtures("main_thread_loop")
def test_the_query_engine_prints_answer_and_source(
    engine: FastTTS,
    generator: Any,
    query_engine: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    question = query_engine["QUESTIONS"][2]
    generator.answers["Answer: "] = "Half of them.\n\nThe answer is \\boxed{125}."
    query_engine["show"](question, query_engine["ask"](query_engine["build"](engine), question))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [question, "    Half of them.", "    The answer is \\boxed{125}."]
    assert lines[3].startswith("  from buttons.txt (BM25 ")
    assert lines[3].endswith("Hugo packs all the buttons into crates of 6.")
