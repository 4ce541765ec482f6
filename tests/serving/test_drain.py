"""Requests that are cut when a server must stop, at every moment of theirs."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator

import pytest

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.serving.api_errors import ApiError
from fasttts.serving.drain import Drain
from fasttts.serving.streams import with_failure
from tests.serving.conftest import ASKED, Serve, until


async def test_a_wait_is_cut_and_its_task_goes_on() -> None:
    drain = Drain()
    asyncio.get_running_loop().call_later(0.01, drain.end)
    with pytest.raises(ApiError, match="the server stops"), drain.wait():
        await asyncio.sleep(5)
    await asyncio.sleep(0)  # nothing of the cancellation is left
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # it is in a task
    with pytest.raises(ApiError), drain.wait():
        pytest.fail("nothing is waited for any more")


async def test_another_cancellation_stays_one() -> None:
    drain = Drain()

    async def wait() -> None:
        with drain.wait():
            await asyncio.sleep(5)

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    drain.end()  # which no ended wait hears


async def test_a_wait_that_has_just_got_its_value_is_cut_too() -> None:
    drain = Drain()
    value = asyncio.get_running_loop().create_future()

    async def wait() -> object:
        try:
            with drain.wait():
                return await asyncio.shield(value)
        except ApiError as error:
            return error

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    value.set_result(4)
    drain.end()
    assert isinstance(await task, ApiError)
    assert not task.cancelling()


@pytest.mark.parametrize("num_sent", [0, 1, 3])
async def test_a_stream_that_is_cut_says_so_after_any_event(num_sent: int) -> None:
    drain = Drain()
    is_closed = False

    async def events() -> AsyncGenerator[bytes, None]:
        nonlocal is_closed
        try:
            for number in range(num_sent):
                yield b"%d" % number
            asyncio.get_running_loop().call_soon(drain.end)
            await asyncio.sleep(5)
        finally:
            is_closed = True

    def failure(error: Exception, sent: int) -> list[bytes]:
        return [f"{type(error).__name__} after {sent}".encode()]

    found = [event.decode() async for event in with_failure(events(), failure, drain.wait())]
    assert found == [*map(str, range(num_sent)), f"ApiError after {num_sent}"]
    assert is_closed


def test_a_client_that_reads_late_is_told_too(serve: Serve) -> None:
    """The server waits for the client at the end of draining, not for the engine."""
    generator = FakeGenerator(max_model_len=200_000, mean_steps=1e9)
    with FastTTS(generator) as engine:
        served = serve(engine)
        body = {"model": "demo", "messages": ASKED, "stream": True, "max_tokens": 190_000}
        content = json.dumps(body).encode()
        with socket.socket() as late:
            late.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            late.settimeout(20)
            late.connect(("127.0.0.1", served.port))
            late.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
            )
            until(lambda: engine.stats().usage.generated_tokens > 2000)
            served.loop.call_soon_threadsafe(served.drain.end)
            time.sleep(0.2)
            received = b""
            while part := late.recv(100_000):
                received += part
    assert b"server_stops" in received
    assert b"data: [DONE]" in received
    assert received.endswith(b"0\r\n\r\n")  # HTTP's own end of a body
