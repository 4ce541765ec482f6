"""Log-probabilities over HTTP, with the official client: whole replies, and streams of them."""

import itertools
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_token_logprob import ChatCompletionTokenLogprob

from tests.hermes import HermesGenerator
from tests.serving.conftest import ASKED, QUESTION, Served

ANSWERS = ["one, two, three", "é😀ü, and 漢字.", "<think>Two.\n\nAnd two.</think>\n\nFöur."]
CHOICES = ["yes", "é😀ü, and 漢字."]


def tokens_of(chunk: ChatCompletionChunk) -> list[ChatCompletionTokenLogprob]:
    logprobs = chunk.choices[0].logprobs
    return [] if logprobs is None else logprobs.content or []


def check_stream(served: Served, **asked: Any) -> list[ChatCompletionChunk]:
    """Streams a reply; its tokens are those of the whole reply, and each chunk has its own."""
    create = served.client().chat.completions.create
    asked = {"model": "demo", "messages": ASKED, "logprobs": True, "max_tokens": 200, **asked}
    whole = create(**asked).choices[0]
    assert whole.logprobs is not None
    assert whole.logprobs.content is not None
    chunks = [chunk for chunk in create(stream=True, **asked) if chunk.choices]
    assert [token for chunk in chunks for token in tokens_of(chunk)] == whole.logprobs.content
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == (
        whole.message.content
    )
    written = b"".join(bytes(token.bytes or []) for token in whole.logprobs.content)
    assert written.decode() == "".join(token.token for token in whole.logprobs.content)
    return chunks


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("stop", [[], ["and"]])
def test_each_chunk_has_its_own(
    served_hermes: Served, hermes: HermesGenerator, answer: str, stop: list[str]
) -> None:
    hermes.answers[QUESTION] = answer
    chunks = check_stream(served_hermes, stop=stop, top_logprobs=2)
    shown = [chunk for chunk in chunks if tokens_of(chunk)]
    assert len(shown) > 3
    if "<think>" not in answer:
        for chunk in chunks:
            text = "".join(token.token for token in tokens_of(chunk))
            assert text == (chunk.choices[0].delta.content or "")
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == (
            answer.partition("and")[0] if stop else answer
        )
    likeliest = [token for chunk in chunks for token in tokens_of(chunk)]
    assert {len(token.top_logprobs) for token in likeliest} == {2}


@pytest.mark.parametrize("n", [1, 3])
def test_completions_go_on_at_their_offsets(
    served_hermes: Served, hermes: HermesGenerator, n: int
) -> None:
    hermes.answers[QUESTION] = ANSWERS[1]
    create = served_hermes.client().completions.create
    asked: Any = {"model": "demo", "prompt": QUESTION, "max_tokens": 99, "logprobs": 1, "n": n}
    whole = create(**asked)
    texts, offsets, tokens = ([""] * n, [[] for _ in range(n)], [[] for _ in range(n)])
    for chunk in create(stream=True, **asked):
        choice = chunk.choices[0]
        if choice.logprobs is not None:
            found = choice.logprobs.tokens or []
            assert "".join(found) == choice.text
            offsets[choice.index] += choice.logprobs.text_offset or []
            tokens[choice.index] += found
        texts[choice.index] += choice.text
    for choice in whole.choices:
        assert choice.logprobs is not None
        assert texts[choice.index] == choice.text
        assert tokens[choice.index] == choice.logprobs.tokens
        assert offsets[choice.index] == choice.logprobs.text_offset
        ends = itertools.accumulate(map(len, tokens[choice.index]), initial=0)
        assert offsets[choice.index] == list(ends)[:-1]


def test_calls_come_with_their_tokens(served_hermes: Served, hermes: HermesGenerator) -> None:
    hermes.answers[QUESTION] = (
        'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'
    )
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    chunks = check_stream(served_hermes, tools=tools)
    calls = [chunk for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert len(calls) == 1
    assert "".join(t.token for c in chunks for t in tokens_of(c)) == hermes.answers[QUESTION]


@pytest.mark.vllm
@pytest.mark.parametrize("text", CHOICES)
def test_the_demonstration_model(served_demo: Served, text: str) -> None:
    """Its tokens are bytes and parts of words: the characters here are of several tokens."""
    outputs = {"fasttts": {"structured_outputs": {"choice": [text]}}}
    chunks = check_stream(served_demo, extra_body=outputs, top_logprobs=2)
    for chunk in chunks:
        shown = "".join(token.token for token in tokens_of(chunk))
        assert shown == (chunk.choices[0].delta.content or "")
    chunks = check_stream(served_demo, temperature=1.0, seed=3)
    assert sum(bool(tokens_of(chunk)) for chunk in chunks) > 5
