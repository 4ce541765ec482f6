"""Clients that leave at any moment, read slowly, or send anything: what they leave is counted."""

import asyncio
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from tests.searches import UNTIMED
from tests.serving.conftest import ASKED, KEY, QUESTION, Serve, Served, until

NUM_REQUESTS = 500
NUM_CONNECTIONS = 64

pytestmark = pytest.mark.usefixtures("unmeasured")

Body = dict[str, Any]
_CHAT, _TEXT, _RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
_TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}

GOOD: tuple[tuple[str, Body], ...] = (
    (_CHAT, {"model": "demo", "max_tokens": 40}),
    (_CHAT, {"model": "demo", "max_tokens": 40, "stream": True}),
    (_CHAT, {"model": "demo", "max_tokens": 20, "n": 3, "temperature": 1.0}),
    (_CHAT, {"model": "demo", "max_tokens": 20, "n": 2, "temperature": 1.0, "stream": True}),
    (_CHAT, {"model": "demo:beam-4"}),
    (_CHAT, {"model": "demo:beam-4", "stream": True, "stream_options": {"include_usage": True}}),
    (_CHAT, {"model": "demo:best-4", "n": 2}),
    (_CHAT, {"model": "demo:vote-4", "stream": True}),
    (_CHAT, {"model": "demo", "tools": [_TOOL], "tool_choice": "required", "max_tokens": 200}),
    (_TEXT, {"model": "demo", "prompt": "Once", "max_tokens": 20}),
    (_TEXT, {"model": "demo", "prompt": ["Once", "Twice"], "max_tokens": 20, "stream": True}),
    (_RESPONSES, {"model": "demo", "input": QUESTION, "max_output_tokens": 20}),
    (_RESPONSES, {"model": "demo:beam-4", "input": QUESTION, "stream": True}),
)
"""Requests that are answered; the budget of tokens ends every one of them."""

BAD: tuple[tuple[str, Body | bytes, int], ...] = (
    (_CHAT, b'{"model": "demo", "messages": [', 400),
    (_CHAT, b"\x00\xff", 400),
    (_CHAT, {"model": "demo", "tools": [{}]}, 400),
    (_CHAT, {"model": "nobody"}, 404),
    (_CHAT, {"model": "demo", "messages": [{"role": "user", "content": "x" * 70_000}]}, 413),
    (_TEXT, {"model": "demo", "prompt": [1]}, 400),
    (_RESPONSES, {"model": "demo", "input": QUESTION, "background": True}, 400),
    ("/v1/nowhere", {}, 404),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one client does."""

    path: str
    body: bytes
    status: int
    key: str = KEY
    leaves: str | None = None
    at: float = 0.0


def make_plans(num_plans: int, *, leave: bool) -> list[Plan]:
    draw = random.Random(7)
    return [_plan(draw, leave=leave) for _ in range(num_plans)]


def _plan(draw: random.Random, *, leave: bool) -> Plan:
    kind = draw.random()
    if kind < 0.1:
        return Plan(
            path=_CHAT, body=b"{}", status=401, key=draw.choice(["", "wrong-key", KEY[:-1]])
        )
    if kind < 0.25:
        path, bad, status = draw.choice(BAD)
        return Plan(path=path, body=_content(path, bad), status=status)
    path, good = draw.choice(GOOD)
    seeded = good if path == _RESPONSES else {**good, "seed": draw.randrange(1000)}
    leaves = (
        draw.choice(["sending", "waiting", "reading"]) if leave and draw.random() < 0.5 else None
    )
    body = _content(path, seeded)
    return Plan(path=path, body=body, status=200, leaves=leaves, at=draw.random())


def _content(path: str, body: Body | bytes) -> bytes:
    if isinstance(body, bytes):
        return body
    return json.dumps({"messages": ASKED, **body} if path == _CHAT else body).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a client saw: a status and a body to its end, or neither where it left."""

    plan: Plan
    status: int | None = None
    body: bytes = b""


async def act(served: Served, plan: Plan) -> Seen:
    """Sends a request as a plan says, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    head = (
        f"POST {plan.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {plan.key}\r\nConnection: close\r\n"
        f"Content-Length: {len(plan.body)}\r\n\r\n"
    ).encode()
    try:
        if plan.leaves == "sending":
            writer.write((head + plan.body)[: int(plan.at * len(head + plan.body))])
            await writer.drain()
            return Seen(plan=plan)
        writer.write(head + plan.body)
        await writer.drain()
        if plan.leaves == "waiting":
            await asyncio.sleep(plan.at * 0.05)
            return Seen(plan=plan)
        if plan.leaves == "reading":
            await reader.read(1 + int(plan.at * 2000))
            return Seen(plan=plan)
        answer = await reader.read()
    finally:
        writer.transport.abort() if plan.at < 0.5 else writer.close()
    top, _, body = answer.partition(b"\r\n\r\n")
    return Seen(plan=plan, status=int(top.split(b" ")[1]), body=body)


async def act_all(served: Served, plans: list[Plan]) -> list[Seen]:
    """Carries out plans, as many at a time as there are connections."""
    room = asyncio.Semaphore(NUM_CONNECTIONS)

    async def one(plan: Plan) -> Seen:
        async with room:
            return await asyncio.wait_for(act(served, plan), 60)

    return await asyncio.gather(*(one(plan) for plan in plans))


def documents(seen: Seen) -> list[Any]:
    """The JSON of a body: one document, or those of its events."""
    text = _unchunked(seen.body).decode()
    if text.startswith("{"):
        return [json.loads(text)]
    texts = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(each) for each in texts if each != "[DONE]"]


def _unchunked(body: bytes) -> bytes:
    """A body without the marks of chunked transfer, which a stream has."""
    if body.startswith(b"{"):
        return body
    text = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        text += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return text


def num_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def num_call_threads() -> int:
    """Threads of the engine that wait for a result."""
    return sum(thread.name.startswith("fasttts-call") for thread in threading.enumerate())


async def tasks_of(served: Served) -> int:
    """Tasks in the server's event loop."""
    asked = asyncio.run_coroutine_threadsafe(_count_tasks(), served.loop)
    return await asyncio.wrap_future(asked)


async def _count_tasks() -> int:
    return len(asyncio.all_tasks())


async def test_every_request_has_one_outcome(serve: Serve) -> None:
    """500 requests from 64 connections, of which many leave: nothing of them is left."""
    generator = SlowGenerator()
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        served = serve(engine, api_keys=(KEY,), max_body_bytes=65_536, num_pages=8)
        await act_all(served, make_plans(20, leave=False))  # threads and caches of the first ones
        before = engine.stats().requests
        quiet = (num_descriptors(), await tasks_of(served))
        plans = make_plans(NUM_REQUESTS, leave=True)
        seen = await act_all(served, plans)
        await asyncio.to_thread(until, lambda: engine.stats().requests.num_open == 0)
        after = engine.stats().requests

        stayed = [one for one in seen if one.plan.leaves is None]
        assert Counter(one.status for one in stayed) == Counter(one.plan.status for one in stayed)
        assert all(documents(one) for one in stayed)
        ended = {kind: after.ended[kind] - before.ended[kind] for kind in after.ended}
        assert ended["failed"] == ended["refused"] == 0
        finished = ended["complete"] + ended["no_answer"]
        searches_seen = sum(num_searches(one.plan) for one in stayed if one.status == 200)
        searches_left = sum(num_searches(one.plan) for one in seen if one.plan.leaves)
        assert searches_seen <= finished <= searches_seen + searches_left
        assert finished + ended["cancelled"] <= searches_seen + searches_left
        assert ended["cancelled"] > 0

        assert generator.num_unfinished() == 0
        assert served.metric("fasttts_http_open_requests") == 0
        served.http.close()
        await asyncio.to_thread(until, lambda: num_descriptors() <= quiet[0])
        await asyncio.to_thread(until, lambda: num_call_threads() == 0)
        assert await tasks_of(served) <= quiet[1]


def num_searches(plan: Plan) -> int:
    """Requests to the engine that a plan's request makes where it is answered."""
    body = json.loads(plan.body)
    if ":" in body["model"]:
        return 1
    prompt = body.get("prompt")
    return int(body.get("n", 1)) * (len(prompt) if isinstance(prompt, list) else 1)


class SlowGenerator(FakeGenerator):
    """Takes a moment for each token, so that clients leave in the middle of replies."""

    def step(self) -> Any:
        time.sleep(0.0005)
        return super().step()


async def test_statistics_are_what_clients_saw(serve: Serve) -> None:
    """Where everybody stays, replies add up to the engine's own counts."""
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        served = serve(engine, api_keys=(KEY,), max_body_bytes=65_536)
        plans = [plan for plan in make_plans(150, leave=False) if b'"stream"' not in plan.body]
        seen = await act_all(served, plans)
        answered = [one for one in seen if one.status == 200]
        stats = engine.stats()
        assert stats.requests.num_ended == sum(num_searches(one.plan) for one in answered)
        assert stats.requests.num_open == 0
        costs = [document["usage"]["fasttts"] for one in answered for document in documents(one)]
        for name in ("generated_tokens", "required_tokens", "num_verifications"):
            assert sum(cost[name] for cost in costs) == getattr(stats.usage, name)


async def test_a_slow_reader_holds_nobody_up(serve: Serve) -> None:
    """One that never reads is dropped; others are answered meanwhile."""
    generator = FakeGenerator(max_model_len=200_000, mean_steps=1e9)
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        served = serve(engine, send_timeout_s=0.3)
        body = {"model": "demo", "messages": ASKED, "stream": True, "max_tokens": 190_000}
        content = json.dumps(body).encode()
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with stuck:
            stuck.connect(("127.0.0.1", served.port))
            stuck.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json"
                b"\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)
            )
            await asyncio.to_thread(until, lambda: generator.num_unfinished() > 0)
            reply = await asyncio.to_thread(
                served.post, _CHAT, json={"model": "demo", "messages": ASKED, "max_tokens": 5}
            )
            assert reply.status_code == 200
            await asyncio.to_thread(until, lambda: generator.num_unfinished() == 0, 30)
            assert engine.stats().requests.ended["cancelled"] == 1


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\r\n" * 1000,
    ],
)
def test_bytes_that_are_no_http(served: Served, content: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(100)
    assert not answer or answer.split(b" ")[1].startswith(b"4")
    assert served.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"GET /", b"x"),
        (b"GET /health HTTP/1.1\r\nX: ", b"x"),
        (b"GET /health HTTP/1.1\r\n", b"x: y\r\n"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x"),
    ],
)
def test_a_head_without_an_end_is_cut_off(served: Served, begin: bytes, part: bytes) -> None:
    """Nothing of it could be given to the application, which has limits of its own."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(begin)
        with pytest.raises(ConnectionError):
            connection.sendall(part * (10_000_000 // len(part)))
    assert served.get("/health").status_code == 200
