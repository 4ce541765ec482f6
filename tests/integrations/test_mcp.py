"""The tools of `fasttts mcp` for the official client, in process and over HTTP, without models."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server.stdio import stdio_server

from fasttts import ConfigurationError, FastTTS, SearchConfig
from fasttts_agents.mcp import (
    BackgroundEngine,
    HttpOptions,
    HttpServer,
    ProtocolStreams,
    ToolService,
    http_app,
    make_server,
    serve_stdio,
)
from fasttts_agents.mcp.http import MAX_BODY_BYTES

PROBLEM = "Tom has 2 pens and buys 2 more. How many has he?"
SOLUTION = "Two and two: 2 + 2 = 4.\n\nThe answer is \\boxed{4}."
ENDLESS = "Why?"
CONFIG = SearchConfig(n=4, beam_width=2, max_tokens=10_000)
KEY, OTHER_KEY = "first-key-of-two", "second-key-of-two"
CONNECTIONS = ["in process", "http", "http, with a handshake"]

Open = Callable[..., contextlib.AbstractAsyncContextManager[Client]]


@pytest.fixture(autouse=True)
def _answers(generator: Any) -> None:
    generator.answers[PROBLEM] = SOLUTION
    generator.answers[ENDLESS] = "and so on\n\n" * 1000


def service(engine: FastTTS, **options: Any) -> ToolService:
    return ToolService(BackgroundEngine(lambda: engine), CONFIG, **options)


@contextlib.asynccontextmanager
async def served(
    engine: FastTTS, *, time_limit_s: float = 45.0, **options: Any
) -> AsyncIterator[str]:
    """The address of a server that listens for the body."""
    http = HttpOptions(port=0, **options)
    server = make_server(service(engine, time_limit_s=time_limit_s))
    web = HttpServer(http_app(server, http), http)
    serving = asyncio.create_task(web.serve())
    try:
        yield web.url
    finally:
        web.end()
        await serving


@pytest.fixture(params=CONNECTIONS)
def connect(request: pytest.FixtureRequest, engine: FastTTS, connect_here: Open) -> Open:
    """Opens a client of the engine's tools; the options are those of the service."""

    @contextlib.asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Client]:
        if request.param == "in process":
            async with connect_here(**options) as client:
                yield client
            return
        mode = "auto" if request.param == "http" else "legacy"
        async with served(engine, **options) as url, Client(url, mode=mode) as client:
            yield client

    return opened


@pytest.fixture
def connect_here(engine: FastTTS) -> Open:
    """Opens a client in process."""

    @contextlib.asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Client]:
        async with Client(make_server(service(engine, **options))) as client:
            yield client

    return opened


def text_of(result: Any) -> str:
    [content] = result.content
    return str(content.text)


async def test_tools_are_listed_with_schemas(connect: Open) -> None:
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["deliberate", "solve_many", "check_answer"]
    deliberate = tools["deliberate"]
    assert deliberate.input_schema["required"] == ["problem"]
    assert deliberate.input_schema["properties"]["effort"]["enum"] == ["low", "medium", "high"]
    assert deliberate.output_schema is not None
    assert {"answer", "solution", "score"} <= set(deliberate.output_schema["properties"])
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())


async def test_deliberate_answers_and_reports(connect: Open) -> None:
    reports: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))

    async with connect() as client:
        result = await client.call_tool(
            "deliberate", {"problem": PROBLEM, "effort": "low"}, progress_callback=hear
        )
    assert not result.is_error
    assert text_of(result) == SOLUTION
    value = result.structured_content
    assert (value["answer"], value["is_complete"], value["stop_reason"]) == ("4", True, "complete")
    assert len(reports) >= 2
    assert [total for _, total, _ in reports] == [45.0] * len(reports)
    assert [progress for progress, _, _ in reports] == sorted(p for p, _, _ in reports)
    assert "finished" in str(reports[-1][2])


async def test_solve_many_keeps_the_order_and_the_errors(connect_here: Open) -> None:
    problems = [PROBLEM, "x" * 3000, PROBLEM]
    async with connect_here() as client:
        result = await client.call_tool("solve_many", {"problems": problems})
        failed = await client.call_tool("solve_many", {"problems": [problems[1]]})
    first, second, third = result.structured_content["solutions"]
    assert first["answer"] == third["answer"] == "4"
    assert "3000 tokens, more than 2048" in second["error"]
    assert "Problem 2\n\nno solution: the problem has 3000 tokens" in text_of(result)
    assert failed.is_error
    assert "3000 tokens" in text_of(failed)


async def test_check_answer(connect_here: Open) -> None:
    async with connect_here() as client:

        async def verdict(**arguments: str) -> dict[str, Any]:
            result = await client.call_tool("check_answer", arguments)
            assert not result.is_error, text_of(result)
            return dict(result.structured_content)

        right = await verdict(answer="So it is \\boxed{4.0}.", problem=PROBLEM)
        wrong = await verdict(answer="5", problem=PROBLEM)
        by_meaning = await verdict(answer="0.50", expected="The answer is 1/2.")
    assert (right["verdict"], right["answer"], right["compared_with"]) == ("agrees", "4.0", "4")
    assert right["share"] == 1.0
    assert right["score"] == right["solution"]["score"]
    assert (wrong["verdict"], wrong["share"], wrong["score"]) == ("differs", 0.0, None)
    assert (by_meaning["verdict"], by_meaning["compared_with"]) == ("agrees", "1/2")
    assert by_meaning["solution"] is None


async def test_an_answer_that_nothing_is_found_for_is_unknown(
    connect_here: Open, generator: Any
) -> None:
    generator.answers["Who?"] = "Nobody knows."
    async with connect_here() as client:
        result = await client.call_tool("check_answer", {"answer": "Tom", "problem": "Who?"})
    assert (result.structured_content["verdict"], result.is_error) == ("unknown", False)
    assert text_of(result) == "unknown: the search found no answer to compare Tom with"


BAD_CALLS = {
    "no problem": ("deliberate", {}, "problem={}: Field required"),
    "another option": ("deliberate", {"problem": "a", "efort": "low"}, "did you mean 'effort'?"),
    "a number": ("deliberate", {"problem": 4}, "problem=4: Input should be a valid string"),
    "an effort": ("deliberate", {"problem": "a", "effort": "huge"}, "effort='huge'"),
    "no problems": ("solve_many", {"problems": []}, "at least 1 item"),
    "too many": ("solve_many", {"problems": ["a"] * 65}, "at most 64 items"),
    "no measure": ("check_answer", {"answer": "4"}, "pass the problem, or the expected answer"),
    "too long": ("deliberate", {"problem": "x" * 3000}, "pass the problem alone"),
    "unknown": ("deliberat", {"problem": "a"}, "did you mean 'deliberate'?"),
}


async def test_bad_arguments_are_errors_for_the_model(connect_here: Open) -> None:
    async with connect_here() as client:
        for name, arguments, message in BAD_CALLS.values():
            result = await client.call_tool(name, arguments)
            assert result.is_error
            assert text_of(result).startswith(f"{name} failed: ")
            assert message in text_of(result)


async def test_the_best_answer_so_far_at_the_limit(connect: Open, generator: Any) -> None:
    generator.step_s = 0.002
    async with connect(time_limit_s=0.5) as client:
        calls = asyncio.gather(
            client.call_tool("deliberate", {"problem": ENDLESS}),
            client.call_tool("solve_many", {"problems": [ENDLESS, ENDLESS]}),
        )
        most_running = 0
        while not calls.done():
            most_running = max(most_running, generator.num_unfinished())
            await asyncio.sleep(0.01)
        one, many = (result.structured_content for result in await calls)
    assert most_running > 2 * CONFIG.n  # three searches at once
    for cut in (one, *many["solutions"]):
        assert (cut["stop_reason"], cut["is_complete"]) == ("seconds", False)
        assert cut["solution"].startswith("and so on\n\nand so on")
        assert cut["seconds"] < 5


@pytest.fixture
def until_busy(generator: Any) -> Callable[[], Awaitable[None]]:
    """Waits for the generator, slowed down, to have work."""
    generator.step_s = 0.002

    async def wait() -> None:
        for _ in range(2000):
            if generator.num_unfinished():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("waited in vain")

    return wait


async def test_cancelling_a_call_ends_its_work(
    connect: Open, until_busy: Callable[[], Awaitable[None]], is_idle: Callable[[], bool]
) -> None:
    async with connect() as client:
        call = asyncio.create_task(client.call_tool("deliberate", {"problem": ENDLESS}))
        await until_busy()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(is_idle)
        result = await client.call_tool("deliberate", {"problem": PROBLEM})
    assert text_of(result) == SOLUTION


async def test_a_client_that_leaves_ends_its_work(
    engine: FastTTS, until_busy: Callable[[], Awaitable[None]], is_idle: Callable[[], bool]
) -> None:
    async with served(engine) as url:
        client = Client(url)
        async with client:
            call = asyncio.create_task(client.call_tool("deliberate", {"problem": ENDLESS}))
            await until_busy()
        assert await asyncio.to_thread(is_idle)
        with pytest.raises(MCPError):
            await call


@contextlib.contextmanager
def standard_pipes() -> Iterator[tuple[int, int]]:
    """Puts pipes in the place of standard input and output; their other ends."""
    usual = os.dup(0), os.dup(1)
    (read_0, write_0), (read_1, write_1) = os.pipe(), os.pipe()
    for ours, number in ((read_0, 0), (write_1, 1)):
        os.dup2(ours, number)
        os.close(ours)
    try:
        yield read_1, write_0
    finally:
        for ours, number in zip(usual, (0, 1), strict=True):
            os.dup2(ours, number)
            os.close(ours)


async def test_standard_streams_belong_to_the_protocol(engine: FastTTS) -> None:
    with (
        standard_pipes() as (reading, writing),
        os.fdopen(reading) as read,
        os.fdopen(writing, "w") as write,
        contextlib.ExitStack() as stack,
    ):
        streams = stack.enter_context(ProtocolStreams())
        serving = asyncio.create_task(serve_stdio(make_server(service(engine)), streams))
        ends = stdio_server(anyio.wrap_file(read), anyio.wrap_file(write))  # frames as clients do
        async with Client(ends) as client:
            os.write(1, b"to standard error")
            assert os.read(0, 1) == b""
            result = await client.call_tool("deliberate", {"problem": PROBLEM})
            streams.end()
            await serving
            stack.close()
            os.dup2(2, 1)  # the last of its writers, so that the client can leave
    assert text_of(result) == SOLUTION


async def test_calls_wait_for_the_models_within_their_time(engine: FastTTS) -> None:
    def load() -> FastTTS:
        time.sleep(0.9)
        return engine

    heard: list[str] = []

    async def hear(_: float, __: float | None, message: str | None) -> None:
        heard.append(str(message))

    loading = BackgroundEngine(load)
    hurried = make_server(ToolService(loading, CONFIG, time_limit_s=0.1))
    patient = make_server(ToolService(loading, CONFIG))
    async with Client(hurried) as client:
        early = await client.call_tool("deliberate", {"problem": PROBLEM})
    async with Client(patient) as client:
        late = await client.call_tool("deliberate", {"problem": PROBLEM}, progress_callback=hear)
    assert early.is_error
    assert "the models are still being loaded: call again" in text_of(early)
    assert text_of(late) == SOLUTION
    assert "the models are being loaded" in heard


async def test_models_that_cannot_be_loaded_are_an_error_of_each_call() -> None:
    def load() -> FastTTS:
        raise ConfigurationError("there is no such model")

    loading = BackgroundEngine(load)
    async with Client(make_server(ToolService(loading, CONFIG))) as client:
        for _ in range(2):
            result = await client.call_tool("deliberate", {"problem": PROBLEM})
            assert text_of(result) == "deliberate failed: there is no such model"
    loading.close()


async def status(url: str, **headers: str) -> int:
    """The status of a request with these headers."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    sent = {"Accept": "application/json, text/event-stream", **headers}
    raw = {name: value.encode("latin-1") for name, value in sent.items()}
    async with httpx2.AsyncClient() as client:
        return (await client.post(url, json=body, headers=raw)).status_code


async def test_only_who_has_a_key_is_answered(
    engine: FastTTS, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(engine, keys=(KEY, OTHER_KEY)) as url:
        for wrong in ("", "Bearer", "Bearer x", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"):
            headers = {"Authorization": wrong} if wrong else {}
            assert await status(url, **headers) == 401
        for key in (KEY, OTHER_KEY):
            http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"})
            async with http, Client(streamable_http_client(url, http_client=http)) as client:
                assert len((await client.list_tools()).tools) == 3
    assert KEY not in caplog.text


async def test_requests_of_other_names_and_pages_are_refused(engine: FastTTS) -> None:
    async with served(engine, allowed_origins=("https://example.org",)) as url:
        assert await status(url, Host="rebound.example.com") == 421
        assert await status(url, Origin="https://example.com") == 403
        assert await status(url, Origin="https://example.org") not in (403, 421)
        assert await status(url, Origin="http://localhost:5173") not in (403, 421)
        modern = {"Mcp-Protocol-Version": "2026-07-28"}
        assert await status(url, Origin="https://example.com", **modern) == 403
        async with httpx2.AsyncClient() as client:
            answer = await client.post(url, content=b"x" * (MAX_BODY_BYTES + 1))
        assert answer.status_code == 413


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "give --api-key-file"),
        ({"host": "192.0.2.1"}, "give --api-key-file"),
        ({"host": "0.0.0.0", "keys": (KEY,)}, "--allowed-host"),
        ({"keys": (" ",)}, "API key 1 of 1 has 1 characters"),
    ],
)
def test_an_address_that_anybody_may_use_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        HttpOptions(**options)


def test_an_address_is_answered_by_its_name_on_any_port() -> None:
    options = HttpOptions(host="192.0.2.1", keys=(KEY,), allowed_hosts=("models.example.org",))
    names = ["192.0.2.1", "models.example.org"]
    security = options.security
    assert security.allowed_hosts == [*names, *(f"{name}:*" for name in names)]
    assert security.allowed_origins == []


def test_limits_that_cannot_work_are_refused(engine: FastTTS) -> None:
    for seconds in (0, -1.0, float("inf"), "soon"):
        with pytest.raises(ConfigurationError, match="time_limit_s"):
            service(engine, time_limit_s=seconds)
    with pytest.raises(ConfigurationError, match="search='none'"):
        ToolService(BackgroundEngine(lambda: engine), SearchConfig(search="none"))
