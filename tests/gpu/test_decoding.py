"""Grammars and tool calls while vLLM schedules an iteration before it has the last one's tokens."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fasttts import FastTTS
from fasttts.backends.vllm.environment import RUNNER_VARIABLE
from tests.gpu.conftest import KV_CACHE_BYTES, RUNNERS
from tests.vllm.inside import engine_of

pytestmark = [pytest.mark.gpu, pytest.mark.vllm]

SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 60},
        "pens": {"type": "integer", "minimum": 0, "maximum": 9999},
    },
    "required": ["reason", "pens"],
}
QUESTION = "Tom has 10 pens. Tom buys 5 bags of 8 pens. How many pens does Tom have now?"
CALCULATOR = {
    "name": "calculator",
    "description": "Computes an arithmetic expression.",
    "parameters": {
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
    },
}


@pytest.fixture(scope="module", params=RUNNERS)
def engine(request: pytest.FixtureRequest) -> Iterator[FastTTS]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUNNER_VARIABLE, RUNNERS[request.param])
        with FastTTS.load("demo", max_num_seqs=32, kv_cache_memory_bytes=KV_CACHE_BYTES) as engine:
            yield engine


def test_iterations_overlap(engine: FastTTS) -> None:
    scheduler: Any = engine_of(engine.generator).vllm_config.scheduler_config
    assert scheduler.async_scheduling


@pytest.mark.parametrize("search", ["none", "best_of_n", "beam_search", "dvts"])
def test_answers_follow_a_schema(engine: FastTTS, search: str) -> None:
    options: dict[str, Any] = {"n": 8, "max_tokens": 160, "seed": 3}
    found = [
        engine.search(QUESTION, search=search, structured_outputs={"json": SCHEMA}, **options)
        for _ in range(2)
    ]
    for result in found:
        for candidate in result.candidates:
            if candidate.finish_reason == "stop":
                assert set(json.loads(candidate.text)) == {"reason", "pens"}
    assert any(candidate.finish_reason == "stop" for candidate in found[0].candidates)


def test_grammars_beside_free_text(engine: FastTTS) -> None:
    """Rows with a mask and rows without, more of them than slots."""
    choices = {"choice": ["yes", "no", "maybe not"]}
    configs = [{"structured_outputs": choices} if number % 2 else {} for number in range(48)]
    handles = [
        engine.submit(QUESTION, search="none", max_tokens=24, seed=number, **config)
        for number, config in enumerate(configs)
    ]
    for number, handle in enumerate(handles):
        text = handle.result().text
        assert (text in choices["choice"]) is bool(number % 2)


def test_a_required_tool_is_called(engine: FastTTS) -> None:
    from langchain_fasttts import ChatFastTTS

    model = ChatFastTTS(engine=engine, max_tokens=120).bind_tools(
        [CALCULATOR], tool_choice="calculator"
    )
    for seed in range(4):
        (call,) = model.invoke(QUESTION, seed=seed).tool_calls
        assert call["name"] == "calculator"
        assert isinstance(call["args"]["expression"], str)
