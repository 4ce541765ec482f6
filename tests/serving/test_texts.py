"""`/v1/completions` and `/v1/responses` on fake models."""

import json
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseCompletedEvent

from fasttts import FastTTS
from tests.hermes import HermesGenerator
from tests.serving.conftest import QUESTION, Serve, Served
from tests.serving.test_chat import CALL, WEATHER

TOOL: Any = {"type": "function", **WEATHER["function"]}


def test_a_text_is_completed_as_it_is(served_hermes: Served, hermes: HermesGenerator) -> None:
    hermes.answers["user: Hi."] = "no"
    client = served_hermes.client()
    reply = client.completions.create(model="demo", prompt="Once", max_tokens=12)
    chunks = list(
        client.completions.create(model="demo", prompt="Once", max_tokens=12, stream=True)
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == reply.choices[0].text
    assert chunks[-1].choices[0].finish_reason == reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (len("Once"), 12)


def test_several_texts_have_several_choices(served: Served) -> None:
    client = served.client()
    asked: dict[str, Any] = {"model": "demo", "max_tokens": 8, "temperature": 1.0}
    reply = client.completions.create(prompt=["Once", "Twice"], n=2, **asked)
    texts = [choice.text for choice in reply.choices]
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert len(set(texts)) == 4
    alone = client.completions.create(prompt="Twice", n=2, **asked)
    assert [choice.text for choice in alone.choices] == texts[2:]
    shown = ["", "", "", ""]
    for chunk in client.completions.create(prompt=["Once", "Twice"], n=2, stream=True, **asked):
        shown[chunk.choices[0].index] += chunk.choices[0].text
    assert shown == texts


def test_a_completion_has_logprobs(served: Served) -> None:
    reply = served.client().completions.create(
        model="demo", prompt="Once", logprobs=2, max_tokens=9
    )
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == reply.choices[0].text
    assert logprobs.text_offset is not None
    assert reply.choices[0].text[logprobs.text_offset[3] :].startswith((logprobs.tokens or [])[3])
    assert {len(likely or {}) for likely in logprobs.top_logprobs or []} == {2}


def test_a_completion_can_be_searched(served: Served) -> None:
    reply = served.client().completions.create(
        model="demo:best-4", prompt=["Once", "Twice"], n=2, max_tokens=64
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert reply.model_extra["fasttts"]["search"] == "best_of_n"


def test_thoughts_of_a_completion_are_text(served_hermes: Served, hermes: HermesGenerator) -> None:
    hermes.answers["user: a\n\nassistant: "] = "never"
    prompt = f"user: {QUESTION}assistant: "
    hermes.answers[QUESTION] = "<think>a</think>b"
    client = served_hermes.client()
    reply = client.completions.create(model="demo", prompt=prompt, max_tokens=50)
    assert reply.choices[0].text == "<think>a</think>b"


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2]], ["a", 1], [], ""])
def test_what_is_no_text_is_refused(served: Served, prompt: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        served.client().completions.create(model="demo", prompt=prompt)
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("model", ["demo", "demo:beam-4", "demo:auto"])
def test_a_response_and_its_stream_agree(
    served_hermes: Served, hermes: HermesGenerator, model: str
) -> None:
    hermes.answers[QUESTION] = "<think>Two and two.</think>\nFour."
    client = served_hermes.client()
    whole = client.responses.create(model=model, input=QUESTION)
    events = list(client.responses.create(model=model, input=QUESTION, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent)
    assert whole.output_text == last.response.output_text == "Four."
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "Four."
    kinds = [item.type for item in whole.output]
    assert kinds == [item.type for item in last.response.output] == ["reasoning", "message"]
    assert whole.usage is not None
    assert last.response.usage is not None
    assert whole.usage.total_tokens == last.response.usage.total_tokens


def test_a_conversation_of_responses(served_hermes: Served, hermes: HermesGenerator) -> None:
    hermes.answers |= {"user: weather?": f"<think>Look.</think>{CALL}", "tool: Sunny.": "Sun!"}
    client = served_hermes.client()
    first = client.responses.create(model="demo", input="weather?", tools=[TOOL])
    thought, call = first.output
    assert (thought.type, call.type) == ("reasoning", "function_call")
    assert json.loads(call.arguments) == {"city": "Rome"}
    given: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        *(item.model_dump(exclude_none=True) for item in first.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."},
    ]
    with client.responses.stream(
        model="demo", input=given, tools=[TOOL], instructions="Be brief."
    ) as stream:
        second = stream.get_final_response()
    assert second.output_text == "Sun!"
    assert hermes.prompts[-1].startswith("tools:")
    assert "system: Be brief." in hermes.prompts[-1]


def test_a_streamed_call_of_responses(served_hermes: Served, hermes: HermesGenerator) -> None:
    hermes.answers["user: weather?"] = CALL
    client = served_hermes.client()
    with client.responses.stream(model="demo", input="weather?", tools=[TOOL]) as stream:
        (call,) = stream.get_final_response().output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "Rome"}


def test_a_response_follows_a_schema_and_an_effort(served: Served) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    reply = served.client().responses.create(
        model="demo",
        input=QUESTION,
        reasoning={"effort": "low"},
        text={"format": {"type": "json_schema", "name": "a", "schema": schema}},
        metadata={"key": "value"},
    )
    assert json.loads(reply.output_text)["a"] in (1, 2)
    assert reply.model_extra["fasttts"]["routing"] is not None
    assert reply.metadata == {"key": "value"}


def test_a_response_that_is_cut_off_is_incomplete(served: Served) -> None:
    client = served.client()
    asked: dict[str, Any] = {"model": "demo", "input": QUESTION, "max_output_tokens": 5}
    reply = client.responses.create(**asked)
    assert reply.status == "incomplete"
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"
    *_, last = client.responses.create(**asked, stream=True)
    assert last.type == "response.incomplete"


def test_a_response_that_fails_says_so(serve: Serve, hermes: HermesGenerator) -> None:
    hermes.step_s = 0.02
    with FastTTS(hermes) as engine:
        client = serve(engine).client()
        events = iter(client.responses.create(model="demo", input=QUESTION, stream=True))
        next(events)
        engine.close()
        *_, last = events
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "closed" in last.response.error.message


@pytest.mark.parametrize(
    "asked",
    [
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        {"input": [{"role": "user", "content": [3]}]},
        {"input": [{"role": "user", "content": 3}]},
        {"input": [{"type": "function_call_output", "call_id": "nobody's", "output": "x"}]},
        {"tools": [{"type": "web_search"}]},
        {"reasoning": {"effort": 3}},
        {"text": {"format": {"type": "json_schema"}}},
    ],
)
def test_a_response_is_refused(served: Served, asked: dict[str, Any]) -> None:
    body = {"model": "demo", "input": QUESTION, **asked}
    answer = served.post("/v1/responses", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
