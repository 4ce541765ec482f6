"""`/v1/chat/completions` on fake models: whole and streamed replies, and how a search is chosen."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from tests.hermes import HermesGenerator
from tests.serving.conftest import ASKED, QUESTION, Serve, Served, until

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
            "required": ["city"],
        },
    },
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def chunks_of(served: Served, **asked: Any) -> list[ChatCompletionChunk]:
    return list(
        served.client().chat.completions.create(stream=True, **{"messages": ASKED, **asked})
    )


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_a_plain_reply_is_that_of_the_engine(served: Served) -> None:
    reply = served.client().chat.completions.create(
        model="demo", messages=ASKED, seed=3, temperature=0.7, max_completion_tokens=40
    )
    expected = served.engine.search(QUESTION, search="none", seed=3, temperature=0.7, max_tokens=40)
    (choice,) = reply.choices
    assert choice.message.content == expected.text
    assert choice.finish_reason == expected.finish_reason
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == expected.usage.prompt_tokens
    assert reply.usage.completion_tokens == expected.usage.returned_tokens
    assert reply.model == "demo"


def test_a_stream_adds_up_to_the_reply(served: Served) -> None:
    asked = {"model": "demo", "max_tokens": 60}
    whole = served.client().chat.completions.create(messages=ASKED, **asked)
    chunks = chunks_of(served, stream_options={"include_usage": True}, **asked)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == whole.choices[0].message.content
    assert len(chunks) > 30
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_there_is_no_usage_unless_it_is_asked_for(served: Served) -> None:
    chunks = chunks_of(served, model="demo", max_tokens=5)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("demo:beam-8", {"search": "beam_search", "n": 8, "beam_width": 4}),
        ("demo:beam-9x3", {"search": "beam_search", "n": 9, "beam_width": 3}),
        ("demo:beam_search-7", {"search": "beam_search", "n": 7, "beam_width": 1}),
        ("demo:best-4", {"search": "best_of_n", "n": 4}),
        ("demo:best-of-n-4", {"search": "best_of_n", "n": 4}),
        ("demo:vote-4", {"search": "self_consistency", "n": 4}),
        ("demo:dvts-8", {"search": "dvts", "n": 8}),
        ("demo:plain", {"search": "none"}),
    ],
)
def test_a_name_chooses_the_search(served: Served, model: str, expected: dict[str, Any]) -> None:
    reply = served.client().chat.completions.create(model=model, messages=ASKED)
    result = served.engine.search(QUESTION, **expected)
    assert reply.choices[0].message.content == result.text
    assert reply.usage is not None
    cost = reply.usage.model_extra["fasttts"]
    assert cost["generated_tokens"] == result.usage.generated_tokens
    assert cost["num_nodes"] == result.usage.num_nodes
    assert reply.usage.completion_tokens == result.usage.returned_tokens
    assert reply.model_extra["fasttts"]["search"] == expected["search"]


def test_a_body_chooses_the_search(served: Served) -> None:
    own = {"search": "beam_search", "n": 8, "beam_width": 2, "selection": "weighted"}
    reply = served.client().chat.completions.create(
        model="demo", messages=ASKED, extra_body={"fasttts": own}
    )
    expected = served.engine.search(QUESTION, **own)
    assert reply.choices[0].message.content == expected.text


def test_auto_decides_call_by_call(served: Served) -> None:
    client = served.client()
    hard = client.chat.completions.create(model="demo:auto", messages=ASKED)
    easy = client.chat.completions.create(
        model="demo:auto", messages=[{"role": "user", "content": "Hello!"}], max_tokens=20
    )
    assert hard.model_extra["fasttts"]["routing"]["policy"] == "Cascade"
    assert easy.model_extra["fasttts"]["routing"]["route"] == "plain"


@pytest.mark.parametrize(("effort", "n"), [("low", 4), ("medium", 16), ("high", 64)])
def test_an_effort_lets_the_router_decide(served: Served, effort: Any, n: int) -> None:
    for model in ("demo", "demo:auto"):
        reply = served.client().chat.completions.create(
            model=model, messages=ASKED, reasoning_effort=effort
        )
        routing = reply.model_extra["fasttts"]["routing"]
        assert routing is not None
        if routing["route"] == "search":
            assert reply.model_extra["fasttts"]["num_candidates"] >= n // 4


def test_no_effort_is_plain(serve: Serve) -> None:
    client = serve(search="beam_search").client()
    searched = client.chat.completions.create(model="demo", messages=ASKED)
    plain = client.chat.completions.create(model="demo", messages=ASKED, reasoning_effort="none")
    named = client.chat.completions.create(
        model="demo:beam-4", messages=ASKED, reasoning_effort="none"
    )
    found = [each.model_extra["fasttts"]["search"] for each in (searched, plain, named)]
    assert found == ["beam_search", "none", "beam_search"]


def test_without_a_verifier_an_effort_is_a_vote(serve: Serve) -> None:
    with FastTTS(FakeGenerator()) as engine:
        served = serve(engine)
        reply = served.client().chat.completions.create(
            model="demo", messages=ASKED, reasoning_effort="low"
        )
        names = [model.id for model in served.client().models.list()]
    assert reply.model_extra["fasttts"]["search"] == "self_consistency"
    assert names == ["demo", "demo:vote-16"]


def test_several_plain_choices_have_seeds_of_their_own(served: Served) -> None:
    asked: dict[str, Any] = {"model": "demo", "n": 3, "temperature": 1.0, "max_tokens": 30}
    reply = served.client().chat.completions.create(messages=ASKED, **asked)
    texts = [choice.message.content for choice in reply.choices]
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    alone = served.client().chat.completions.create(messages=ASKED, **{**asked, "n": 1})
    assert alone.choices[0].message.content == texts[0]
    chunks = chunks_of(served, **asked)
    assert [text_of(chunks, index) for index in range(3)] == texts
    assert reply.usage is not None
    assert reply.usage.model_extra["fasttts"]["generated_tokens"] == reply.usage.completion_tokens


def test_choices_of_a_search_are_its_best_candidates(served: Served) -> None:
    reply = served.client().chat.completions.create(model="demo:best-6", messages=ASKED, n=3)
    result = served.engine.search(QUESTION, search="best_of_n", n=6)
    assert [c.message.content for c in reply.choices] == [c.text for c in result.candidates[:3]]
    chunks = chunks_of(served, model="demo:best-6", n=3)
    assert [text_of(chunks, index) for index in range(3)] == [
        candidate.text for candidate in result.candidates[:3]
    ]
    scores = reply.model_extra["fasttts"]["scores"]
    assert scores == [candidate.score for candidate in result.candidates[:3]]


@pytest.mark.parametrize("model", ["demo", "demo:beam-4", "demo:auto"])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_model_calls_tools(
    served_hermes: Served, hermes: HermesGenerator, model: str, is_streamed: bool
) -> None:
    hermes.answers["user: weather?"] = CALL
    asked = {"model": model, "messages": [{"role": "user", "content": "weather?"}]}
    client = served_hermes.client()
    if is_streamed:
        with client.chat.completions.stream(**asked, tools=[WEATHER]) as stream:
            completion = stream.get_final_completion()
    else:
        completion = client.chat.completions.create(**asked, tools=[WEATHER])
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert not choice.message.content
    (call,) = choice.message.tool_calls or ()
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"city": "Rome"},
    )


def test_a_call_and_its_result_come_back(served_hermes: Served, hermes: HermesGenerator) -> None:
    hermes.answers |= {"user: weather?": CALL, "tool: Sunny.": "It is sunny."}
    client, messages = served_hermes.client(), [{"role": "user", "content": "weather?"}]
    first = client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    message = first.choices[0].message
    call_id = (message.tool_calls or ())[0].id
    messages += [
        message.model_dump(),
        {"role": "tool", "tool_call_id": call_id, "content": "Sunny."},
    ]
    second = client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "It is sunny."


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}]
)
def test_a_call_can_be_forced(served_hermes: Served, choice: Any) -> None:
    reply = served_hermes.client().chat.completions.create(
        model="demo", messages=ASKED, tools=[WEATHER], tool_choice=choice
    )
    (call,) = reply.choices[0].message.tool_calls or ()
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")


def test_tools_can_be_held_back(served_hermes: Served, hermes: HermesGenerator) -> None:
    served_hermes.client().chat.completions.create(
        model="demo", messages=ASKED, tools=[WEATHER], tool_choice="none", max_tokens=5
    )
    assert "weather" not in hermes.prompts[-1]


@pytest.mark.parametrize("model", ["demo", "demo:beam-4"])
def test_a_reply_follows_a_schema(served: Served, model: str) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    formats: list[Any] = [
        {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}},
        {"type": "json_object"},
    ]
    client = served.client()
    for response_format in formats:
        reply = client.chat.completions.create(
            model=model, messages=ASKED, response_format=response_format
        )
        assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_thoughts_are_reasoning(
    served_hermes: Served, hermes: HermesGenerator, is_streamed: bool
) -> None:
    hermes.answers[QUESTION] = "<think>Two and two.</think>\nFour."
    client = served_hermes.client()
    if is_streamed:
        deltas = [chunk.choices[0].delta for chunk in chunks_of(served_hermes, model="demo")]
        content = "".join(delta.content or "" for delta in deltas)
        extras = [delta.model_extra or {} for delta in deltas]
    else:
        reply = client.chat.completions.create(model="demo", messages=ASKED)
        content = reply.choices[0].message.content or ""
        extras = [reply.choices[0].message.model_extra or {}]
    assert content == "Four."
    for name in ("reasoning", "reasoning_content"):
        assert "".join(extra.get(name, "") for extra in extras) == "Two and two."


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_search_can_show_its_steps(
    served_hermes: Served, hermes: HermesGenerator, is_streamed: bool
) -> None:
    """Those of losing paths too, while it runs; the answer stays the answer."""
    hermes.answers[QUESTION] = "<think>Two.\n\nAnd two.</think>\n\nFour."
    asked: dict[str, Any] = {
        "model": "demo:beam-4",
        "extra_body": {"fasttts": {"show_steps": True, "thinking": True}},
    }
    if is_streamed:
        deltas = [chunk.choices[0].delta for chunk in chunks_of(served_hermes, **asked)]
        content = "".join(delta.content or "" for delta in deltas)
        parts = [(delta.model_extra or {}).get("reasoning", "") for delta in deltas]
        assert len([part for part in parts if part]) > 4
        reasoning = "".join(parts)
    else:
        create = served_hermes.client().chat.completions.create
        message = create(messages=ASKED, **asked).choices[0].message
        content, reasoning = message.content or "", (message.model_extra or {})["reasoning"]
    assert content == "Four."
    assert reasoning.count("And two.") > 1
    assert reasoning.endswith("Two.\n\nAnd two.")


def test_plain_replies_have_logprobs(served: Served) -> None:
    asked: dict[str, Any] = {"model": "demo", "max_tokens": 12, "logprobs": True}
    reply = served.client().chat.completions.create(messages=ASKED, top_logprobs=2, **asked)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    tokens = logprobs.content or []
    assert "".join(token.token for token in tokens) == reply.choices[0].message.content
    assert all(token.top_logprobs[0].logprob == token.logprob for token in tokens)
    assert {len(token.top_logprobs) for token in tokens} == {2}
    with pytest.raises(openai.BadRequestError, match="plain decoding"):
        served.client().chat.completions.create(messages=ASKED, **{**asked, "model": "demo:vote-2"})


def test_stops_end_a_reply(served_hermes: Served, hermes: HermesGenerator) -> None:
    hermes.answers[QUESTION] = "one, two, three"
    for stop in (", three", [", three", "four"]):
        reply = served_hermes.client().chat.completions.create(
            model="demo", messages=ASKED, stop=stop
        )
        assert reply.choices[0].message.content == "one, two"
        assert reply.choices[0].finish_reason == "stop"


def test_other_roles_and_parts_are_read(served_hermes: Served, hermes: HermesGenerator) -> None:
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi."}], "name": None},
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No."}],
            "reasoning": "Hm.",
            "refusal": None,
        },
        {"role": "user", "content": "Why?"},
    ]
    served_hermes.client().chat.completions.create(model="demo", messages=messages, max_tokens=4)
    assert "system: Be brief.user: Hi.assistant: No.user: Why?" in hermes.prompts[-1]


def test_a_stream_that_fails_says_so(serve: Serve, hermes: HermesGenerator) -> None:
    hermes.step_s = 0.02
    with FastTTS(hermes) as engine:
        served = serve(engine)
        stream = served.client().chat.completions.create(
            model="demo", messages=ASKED, stream=True, max_tokens=400
        )
        next(iter(stream))
        engine.close()
        with pytest.raises(openai.APIError, match="closed"):
            list(stream)
        assert served.get("/health").status_code == 503


def test_a_silent_stream_has_a_heartbeat(serve: Serve, hermes: HermesGenerator) -> None:
    hermes.step_s = 0.05
    hermes.answers[QUESTION] = "x" * 40
    with FastTTS(hermes) as engine:
        served = serve(engine, heartbeat_s=0.1)
        body = {"model": "demo:vote-4", "messages": ASKED, "stream": True}
        text = served.post("/v1/chat/completions", json=body).text
    assert text.startswith(": heartbeat")
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("model", ["demo", "demo:beam-8", "demo:auto"])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_work_ends_with_its_client(
    serve: Serve, hermes: HermesGenerator, model: str, is_streamed: bool
) -> None:
    hermes.step_s = 0.01
    hermes.answers[QUESTION] = "x" * 2000
    with FastTTS(hermes, FakeVerifier()) as engine:
        served = serve(engine)
        url = f"{served.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            asked = {"model": model, "messages": ASKED, "stream": is_streamed, "max_tokens": 2000}
            task = asyncio.ensure_future(client.chat.completions.create(**asked))
            await asyncio.to_thread(until, lambda: hermes.num_unfinished() > 0)
            if is_streamed and model == "demo":
                await (await task).response.aclose()
            else:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(until, lambda: hermes.num_unfinished() == 0)
        until(lambda: engine.stats().requests.num_open == 0)
        assert engine.stats().requests.ended["cancelled"] == 1


OPENED: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}


@pytest.mark.parametrize("is_own", [True, False])
def test_thoughts_have_a_budget_and_a_switch(served: Served, *, is_own: bool) -> None:
    """As in vLLM's server, and as options of ours."""
    asked = {**OPENED, "thinking_token_budget": 6}
    reply = served.client().chat.completions.create(
        model="demo",
        messages=ASKED,
        max_tokens=40,
        seed=3,
        extra_body={"fasttts": asked} if is_own else asked,
    )
    expected = served.engine.search(QUESTION, search="none", max_tokens=40, seed=3, **asked)
    message = reply.choices[0].message
    assert expected.text.count("\n</think>") == 1
    thought, _, answer = expected.text.partition("\n</think>")
    assert message.model_extra is not None
    assert message.model_extra["reasoning"] == thought.strip()
    assert message.content is not None
    assert message.content.strip() == answer.strip()


@pytest.mark.parametrize("switches", [{"chat_template": "x"}, {"colour": True}])
def test_what_is_no_switch_is_refused(served: Served, switches: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="switch"):
        served.client().chat.completions.create(
            model="demo", messages=ASKED, extra_body={"chat_template_kwargs": switches}
        )
