"""What a server refuses: bodies, keys, limits, hosts; always in OpenAI's form."""

import json
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from fasttts import ConfigurationError, FastTTS, OverloadedError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import SchedulingConfig
from fasttts.config.serving import serving_config
from fasttts.interfaces import GenerationOutput
from fasttts.network import LOOPBACK_NAMES, is_loopback, listening_socket
from fasttts.serving.model import limited_budget
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED
from tests.serving.conftest import ASKED, KEY, QUESTION, Serve, Served, serving, until

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


def refusal(served: Served, body: Any, status: int) -> dict[str, Any]:
    content = json.dumps({"model": "demo", "messages": ASKED, **body})
    answer = served.post(CHAT, content=content, headers=JSON)
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"mesages": []}, "mesages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, None),
        ({"messages": [{"role": "user"}]}, None),
        ({"messages": [{"role": "robot", "content": "x"}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, None),
        ({"model": 3}, "model"),
        ({"n": 0}, "n"),
        ({"n": 3, "model": "demo:auto"}, "n"),
        ({"n": 3, "model": "demo:best-2"}, "n"),
        ({"model": "demo:beam-512"}, "n"),
        ({"temperature": -1}, None),
        ({"temperature": "hot"}, "temperature"),
        ({"seed": "a"}, "seed"),
        ({"max_tokens": -5}, None),
        ({"stop": ["a"] * 17}, "stop"),
        ({"logit_bias": {"3": 1.0}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools"),
        ({"tools": [1] * 100_000}, "tools"),
        ({"tools": [tool("f", description=5)]}, "tools"),
        ({"tools": [tool("f", strict="yes")]}, "tools"),
        ({"tools": [tool("f"), tool("f")]}, "tools"),
        ({"tools": [tool("no name")]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": []},
            "tool_choice",
        ),
        ({"tool_choice": {}, "tools": [tool("f")]}, "tool_choice"),
        ({"messages": [1] * 100_000}, "messages"),
        ({f"unknown_{n}": n for n in range(20_000)}, "unknown_0"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": 5}}, "metadata"),
        ({"max_completion_tokens": 0}, None),
        ({"top_logprobs": 2}, "top_logprobs"),
        (
            {"tool_choice": "nobody", "tools": [{"type": "function", "function": {"name": "f"}}]},
            None,
        ),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"reasoning_effort": "heroic"}, "reasoning_effort"),
        ({"fasttts": {"serch": "x"}}, "fasttts.serch"),
        ({"fasttts": {"self": 1}}, "fasttts.self"),
        ({"fasttts": {"engine": 1}}, "fasttts.engine"),
        ({"fasttts": {"messages": []}}, "fasttts.messages"),
        ({"fasttts": {"policy": "os:system"}}, "fasttts.policy"),
        ({"fasttts": {"budget": {str(n): n for n in range(1000)}}}, "fasttts.budget"),
        ({"fasttts": {"search": "os:system"}}, "fasttts.search"),
        ({"fasttts": {"budget": 3}}, None),
        ({"fasttts": []}, "fasttts"),
        ({"fasttts": {"show_steps": 3}}, "fasttts.show_steps"),
    ],
)
def test_a_wrong_body_is_refused(served: Served, body: dict[str, Any], param: str | None) -> None:
    started = time.process_time()
    assert refusal(served, body, 400)["param"] == param
    # Of many faults the first is enough: the server answers nobody else meanwhile.
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "x", "text": {"format": 5}}),
        ("/v1/responses", {"input": "x", "metadata": {"a": 5}}),
        (
            "/v1/responses",
            {"input": "x", "tools": [{"type": "function", "name": "f", "strict": 1}]},
        ),
        ("/v1/responses", {"input": "x", "tool_choice": "required"}),
        ("/v1/responses", {"input": [1] * 100_000}),
        ("/v1/completions", {"prompt": "x", "max_tokens": 0}),
        ("/v1/completions", {"prompt": "x", "fasttts": {"text": "y"}}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_body_is_refused_elsewhere(
    served: Served, path: str, body: dict[str, Any], stream: bool
) -> None:
    answer = served.post(path, json={"model": "demo", "stream": stream, **body})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("budget", [{}, {"seconds": 1}, {"seconds": 9.0}])
def test_no_grace_goes_beyond_the_server_s_limit(budget: dict[str, Any]) -> None:
    limited: Any = limited_budget({**budget, "grace_seconds": 1e9}, 3.0)
    assert limited["seconds"] + limited["grace_seconds"] == 3.0
    assert limited["seconds"] == min(3.0, budget.get("seconds", 3.0))


@pytest.mark.parametrize(
    "options",
    [
        {"cors_origins": "example.org"},
        {"cors_origins": "https://example.org/path"},
        {"cors_origins": ("https://a\x1b[2J",)},
        {"allowed_hosts": "example.org:80"},
        {"allowed_hosts": ("a\u202eb",)},
        {"allowed_hosts": "-"},
    ],
)
def test_what_is_no_host_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"such as models|is like https"):
        serving_config(**options)


def test_hosts_and_origins() -> None:
    hosts = ("*", "*.example.org", "a", "models.example.org", "10.0.0.1", "[::1]")
    origins = ("*", "https://example.org", "http://localhost:3000", "http://[::1]:8080")
    config = serving_config(allowed_hosts=",".join(hosts), cors_origins=origins)
    assert (config.allowed_hosts, config.cors_origins) == (hosts, origins)


def test_an_address_has_one_spelling(served: Served) -> None:
    assert served.post("/v1/chat/completions/", json={}).status_code == 404
    assert refusal(served, {"model": "demo:beam-١٦"}, 404)["code"] == "model_not_found"


@pytest.mark.parametrize(
    "model", ["gpt-4", "demo:", "demo:heavy", "demo:beam-", "demo:beam-0x", ""]
)
def test_other_models_are_not_served(served: Served, model: str) -> None:
    assert refusal(served, {"model": model}, 404)["code"] == "model_not_found"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"\xff\xfe", b"null", b"{" * 100_000, b'{"model": "demo"}'],
)
def test_what_is_no_request_is_refused(served: Served, content: bytes) -> None:
    for path in (CHAT, "/v1/completions", "/v1/responses"):
        answer = served.post(path, content=content, headers=JSON)
        assert answer.status_code == 400
        assert "message" in answer.json()["error"]


def test_a_body_is_declared_as_json(served: Served) -> None:
    """Pages of the web can send texts to any server without asking; not JSON."""
    answer = served.post(CHAT, content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_a_body_has_a_longest_length(serve: Serve) -> None:
    served = serve(max_body_bytes=2000)
    error = refusal(served, {"messages": [{"role": "user", "content": "x" * 3000}]}, 413)
    assert "max_body_bytes" in error["message"]
    parts = (b"x" * 500 for _ in range(100))
    assert served.post(CHAT, content=parts, headers=JSON).status_code == 413


def test_a_body_comes_in_time(serve: Serve) -> None:
    served = serve(read_timeout_s=0.2)
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        connection.settimeout(5)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_prompt_has_a_longest_length(serve: Serve) -> None:
    long = [{"role": "user", "content": "x" * 5000}]
    error = refusal(serve(), {"messages": long}, 400)
    assert error["code"] == "context_length_exceeded"
    error = refusal(serve(max_prompt_tokens=20), {}, 400)
    assert error["code"] == "context_length_exceeded"
    answer = serve().post("/v1/completions", json={"model": "demo", "prompt": "x" * 5000})
    assert answer.json()["error"]["code"] == "context_length_exceeded"


LONG = {"type": "object", "properties": {"x": {"type": "string", "minLength": 9000}}}
ENDLESS = [
    {"tools": [tool("f", parameters={**LONG, "required": ["x"]})], "tool_choice": "required"},
    {
        "tools": [tool("f", parameters={**LONG, "required": ["x"]}), tool("g")],
        "model": "demo:beam-4",
    }
    | {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"type": "array", "minItems": 900}},
        }
    },
]


@pytest.mark.parametrize("body", [*ENDLESS, {}])
def test_an_answer_that_its_schema_makes_too_long_names_it(body: dict[str, Any]) -> None:
    """Where nothing constrains the answer, no schema is to blame."""
    generator = HermesGenerator(num_blocks=48)
    generator.answers[QUESTION] = "on " * 2000
    with (
        FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine,
        serving(engine) as served,
    ):
        error = refusal(served, body, 400)
    assert error["code"] == "context_length_exceeded"
    named = [
        word
        for word in ("schema", "parameters of a tool", "max_tokens")
        if word in error["message"]
    ]
    assert len(named) == (3 if body else 0)


def test_too_many_requests_come_again_later(serve: Serve, hermes: HermesGenerator) -> None:
    hermes.step_s = 0.01
    with FastTTS(hermes, FakeVerifier()) as engine:
        served = serve(engine, max_requests=1)
        client = served.client()
        stream = client.chat.completions.create(model="demo", messages=ASKED, stream=True)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="demo", messages=ASKED)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        stream.close()
        until(lambda: served.metric("fasttts_http_open_requests") == 0)
        client.chat.completions.create(model="demo", messages=ASKED, max_tokens=2)


class HeldGenerator(FakeGenerator):
    """Takes no step before it may, so that nothing leaves the engine's queue."""

    def __init__(self) -> None:
        super().__init__()
        self.may_step = threading.Event()

    def step(self) -> list[GenerationOutput]:
        self.may_step.wait(30)
        return super().step()


def fill(engine: FastTTS) -> None:
    for _ in range(100):
        engine.submit(QUESTION, search="none", max_tokens=5)


def test_the_queue_of_the_engine_has_an_end(serve: Serve) -> None:
    generator = HeldGenerator()
    with FastTTS(generator, scheduling=SchedulingConfig(max_waiting=1)) as engine:
        served = serve(engine)
        engine.submit(QUESTION, search="none", max_tokens=5)
        until(lambda: generator.num_unfinished() == 1)  # from then on the loop is held
        with pytest.raises(OverloadedError):
            fill(engine)
        for is_streamed in (False, True):
            body = {"model": "demo", "messages": ASKED, "stream": is_streamed}
            answer = served.post(CHAT, json=body)
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
        generator.may_step.set()


def test_a_request_has_a_longest_time(serve: Serve, hermes: HermesGenerator) -> None:
    hermes.step_s = 0.01
    hermes.answers[QUESTION] = "x" * 5000
    with FastTTS(hermes, FakeVerifier()) as engine:
        served = serve(engine, max_seconds=0.2)
        body: dict[str, Any] = {"max_tokens": 5000}
        for budget in (None, {"seconds": 100}, {"tokens": 3000}):
            own = None if budget is None else {"budget": budget}
            answer = served.post(
                CHAT, json={"model": "demo", "messages": ASKED, **body, "fasttts": own}
            )
            assert answer.status_code == 200
            assert answer.json()["fasttts"]["stop_reason"] == "seconds"


def test_a_key_opens(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    served = serve(api_keys=("another-key", KEY))
    assert served.client().models.list().data
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer \xff".encode("latin-1")},
    ):
        for path in ("/v1/models", "/metrics", "/version"):
            answer = served.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        assert served.post(CHAT, content=b"x", headers=headers).status_code == 401
    assert served.get("/health").status_code == 200
    assert served.get("/version", headers={"authorization": f"bearer {KEY}"}).status_code == 200
    own = [record for record in caplog.records if record.name.partition(".")[0] in OURS]
    assert not any(KEY in record.getMessage() for record in own)


OURS = ("fasttts", "uvicorn")
"""Loggers of the server; clients in the same process have theirs."""


def test_keys_come_from_a_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text("# the team's\nfirst-key\n\n second-key \n")
    monkeypatch.setenv("FASTTTS_SERVE_API_KEYS", "third-key, fourth-key")
    config = serving_config(api_key_file=str(file))
    assert config.keys() == ("third-key", "fourth-key", "first-key", "second-key")
    assert "third-key" not in repr(config)
    FastTTS(FakeGenerator()).close()  # whose own variables are others


@pytest.mark.parametrize("keys", ["short", "ä-key-of-letters", ("a blank key",)])
def test_a_bad_key_is_refused_and_not_shown(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match="API key 1 of 1") as caught:
        serving_config(api_keys=keys).keys()
    assert str(keys) not in str(caught.value)


def test_a_key_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        serving_config(api_key_file=str(tmp_path / "none")).keys()
    (tmp_path / "empty").write_text("# nothing\n")
    with pytest.raises(ConfigurationError, match="has no key"):
        serving_config(api_key_file=str(tmp_path / "empty")).keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_request": 1}, "did you mean 'max_requests'"),
        ({"max_requests": 0}, "max_requests=0"),
        ({"names": "a\x00b"}, "no control characters"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        serving_config(**options)


def test_variables_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTTTS_SERVE_PORTS", "3")
    with pytest.raises(ConfigurationError, match="unknown variable FASTTTS_SERVE_PORTS"):
        serving_config()


def test_a_search_of_the_server_is_checked_before_it_serves(serve: Serve) -> None:
    with FastTTS(FakeGenerator()) as engine, pytest.raises(ConfigurationError, match="verifier"):
        serve(engine, search="beam_search")


def test_pages_of_the_web_are_kept_out(serve: Serve) -> None:
    served = serve(allowed_hosts=LOOPBACK_NAMES)
    assert served.get("/health").status_code == 200
    assert served.get("/health", headers={"Host": "evil.example"}).status_code == 400
    cross = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    for cors, allowed in (((), None), (("http://page.example",), "http://page.example")):
        answer = serve(cors_origins=cors).get("/health", headers=cross)
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_unknown_paths_and_methods(served: Served) -> None:
    assert served.get("/v1/nothing").status_code == 404
    answer = served.get(CHAT)
    assert answer.status_code == 405
    assert answer.json()["error"]["message"].startswith("GET")


def test_addresses() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "::1", "127.8.8.8")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "example.org", "10.0.0.1")))
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="cannot listen on"):
            listening_socket("127.0.0.1", port)
    with pytest.raises(ConfigurationError, match="below 65,536"):
        listening_socket("127.0.0.1", 70_000)


def test_a_wrong_search_is_told_apart_from_a_wrong_model(served: Served) -> None:
    """The right name of a search is no name of a model: it is said where it belongs."""
    message = refusal(served, {"model": "demo:bem-4"}, 404)["message"]
    assert message.endswith("is not served here: behind 'demo:', did you mean 'beam'?")
    assert "known: demo, demo:auto" in refusal(served, {"model": "gpt-4"}, 404)["message"]
