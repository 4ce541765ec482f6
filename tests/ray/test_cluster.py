"""Engines on a Ray cluster: replicas, streams, deaths, scale, and a dataset."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from fasttts import EngineConfig, FastTTS, SearchError, SearchResult
from fasttts.config.serving import serving_config
from fasttts.network import address, listening_socket
from fasttts.serving import make_app
from tests.ray.engines import LONG, fake, quick

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # Ray Data 2.60 sets the old names of its own options.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]

APP = "app"
OPEN = "fasttts_http_open_requests"
QUESTIONS = [f"What is {number} + {number}?" for number in range(8)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """An application of Serve, and who asks it."""

    url: str
    http: httpx.Client
    pool: ThreadPoolExecutor

    def ask(self, asked: dict[str, Any], session: str = "") -> httpx.Response:
        headers = {"x-session-id": session} if session else {}
        return self.http.post("/v1/chat/completions", json=asked, headers=headers)

    def ask_later(self, asked: dict[str, Any], session: str = "") -> "Future[httpx.Response]":
        return self.pool.submit(self.ask, asked, session)

    def hold(self, is_over: threading.Event, begun: list[str]) -> httpx.Response:
        """Reads an answer that takes minutes, until it is over; notes the replica that gives it."""
        asked = {**ENDLESS, "stream": True}
        with self.http.stream("POST", "/v1/chat/completions", json=asked) as response:
            if response.status_code == 200:
                begun.append(response.headers["x-fasttts-replica"])
            for _ in response.iter_lines():
                if is_over.is_set():
                    break
        return response

    def session_of(self, replica: str) -> str:
        """A session whose requests that replica answers."""
        names = (f"session-{number}" for number in range(100))
        return next(name for name in names if self.replica_of(name) == replica)

    def replica_of(self, session: str) -> str:
        response = self.http.get("/version", headers={"x-session-id": session})
        return response.headers["x-fasttts-replica"]

    def num_open(self, replica: str) -> float:
        """Requests in work there."""
        headers = {"x-session-id": self.session_of(replica)}
        lines = self.http.get("/metrics", headers=headers).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(OPEN))


def body(question: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": "demo:beam-4", "messages": messages, **fields}


ENDLESS: Any = body(LONG, model="demo", max_tokens=50_000)


def num_running() -> int:
    """The replicas that answer."""
    from ray import serve  # here and below: its import takes seconds, at which no collection waits

    states = serve.status().applications[APP].deployments["fasttts"].replica_states
    return sum(count for state, count in states.items() if state == "RUNNING")


def until(is_true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.05)


def content(reply: dict[str, Any]) -> dict[str, Any]:
    """What of a reply depends on no schedule."""
    told = reply["fasttts"]
    return {"choices": reply["choices"]} | {name: told[name] for name in ("answer", "scores")}


@pytest.fixture(scope="module")
def port(cluster: None) -> Iterator[int]:
    """The port of Serve."""
    from ray import serve

    with listening_socket("127.0.0.1", 0) as listener:
        number = int(address(listener).rpartition(":")[2])
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": number})
    yield number
    serve.shutdown()


@contextmanager
def deployed(port: int, **options: Any) -> Iterator[Replicas]:
    """Serves an application while the body runs."""
    from ray import serve

    from fasttts.ray import build_app

    options = {"open_engine": "tests.ray.engines:fake", "num_cpus": 0.5, **options}
    options["serving"] = {"names": ["demo"], **options.get("serving", {})}
    serve.run(build_app(options), name=APP, route_prefix="/")
    url = f"http://127.0.0.1:{port}"
    pool = ThreadPoolExecutor(16)
    try:
        with httpx.Client(base_url=url, timeout=120) as http:
            yield Replicas(url=url, http=http, pool=pool)
    finally:
        pool.shutdown(cancel_futures=True)
        serve.delete(APP)


@pytest.fixture(scope="module")
def two(port: int) -> Iterator[Replicas]:
    """Two replicas of the fake models."""
    with deployed(port, min_replicas=2, max_replicas=2, drain_s=0.5) as replicas:
        yield replicas


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, Any]]:
    """The replies to all questions of the same application over one engine, without Ray."""
    with fake(EngineConfig()) as engine:
        return asyncio.run(replies_of(engine, [body(question) for question in QUESTIONS]))


async def replies_of(engine: FastTTS, asked: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    app = make_app(engine, serving_config(names=("demo",)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        replies = [await client.post("/v1/chat/completions", json=one, timeout=60) for one in asked]
    questions = [one["messages"][0]["content"] for one in asked]
    return {q: content(one.json()) for q, one in zip(questions, replies, strict=True)}


def test_both_replicas_answer_as_one_engine_does(
    two: Replicas, expected: dict[str, dict[str, Any]]
) -> None:
    replicas: set[str] = set()

    def have_both_answered() -> bool:
        asked = {question: two.ask_later(body(question)) for question in QUESTIONS}
        replies = {question: one.result() for question, one in asked.items()}
        assert {question: content(one.json()) for question, one in replies.items()} == expected
        replicas.update(one.headers["x-fasttts-replica"] for one in replies.values())
        return len(replicas) == 2

    until(have_both_answered)


def test_a_session_stays_at_its_replica(two: Replicas) -> None:
    homes = {name: two.replica_of(name) for name in (f"session-{n}" for n in range(12))}
    assert len(set(homes.values())) == 2
    again = [two.ask_later(body(QUESTIONS[0]), name) for name in homes]
    assert [one.result().headers["x-fasttts-replica"] for one in again] == list(homes.values())


def test_the_surface_is_that_of_one_server(two: Replicas) -> None:
    assert two.http.get("/health").json() == {"is_healthy": True, "reason": None}
    assert two.http.get("/v1/models").json()["data"][0]["id"] == "demo"
    refused = two.ask(body(QUESTIONS[0], temprature=0))
    assert refused.status_code == 400
    assert "temperature" in refused.json()["error"]["message"]
    assert two.ask(body(QUESTIONS[0])).json()["fasttts"]["page"] is None


def test_streams_and_clients_that_leave(two: Replicas) -> None:
    with openai.OpenAI(base_url=f"{two.url}/v1", api_key="any", max_retries=0) as client:
        with client.chat.completions.create(**ENDLESS, stream=True) as stream:
            texts = [next(stream).choices[0].delta.content or "" for _ in range(40)]
            replica = stream.response.headers["x-fasttts-replica"]
            assert "on and on" in "".join(texts)
            assert two.num_open(replica) == 1
        until(lambda: not two.num_open(replica))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{two.url}/v1/chat/completions", json=ENDLESS, timeout=1)
    replicas = {two.replica_of(f"session-{n}") for n in range(12)}
    until(lambda: not any(map(two.num_open, replicas)))


def test_a_killed_replica(two: Replicas, expected: dict[str, dict[str, Any]]) -> None:
    """What it was answering fails and may be sent again; the others go on; another takes over."""
    import ray

    killed, other = sorted({two.replica_of(f"session-{n}") for n in range(12)})
    session, elsewhere = two.session_of(killed), two.session_of(other)
    client = openai.OpenAI(
        base_url=f"{two.url}/v1", api_key="any", default_headers={"x-session-id": session}
    )
    with client, client.with_options(max_retries=0) as impatient:
        stream = impatient.chat.completions.create(**ENDLESS, stream=True)
        next(stream)
        lost = two.ask_later(ENDLESS, session)
        spared = [two.ask_later(body(question), elsewhere) for question in QUESTIONS]
        again = two.pool.submit(client.chat.completions.create, **body(QUESTIONS[0]))
        until(lambda: two.num_open(killed) >= 2)
        ray.kill(ray.get_actor(f"SERVE_REPLICA::{APP}#fasttts#{killed}", namespace="serve"))
        with pytest.raises(httpx.RemoteProtocolError):
            list(stream)
        failed = lost.result()
        assert failed.status_code == 500
        assert "x-should-retry" not in failed.headers  # at which OpenAI's clients do
        replies = [one.result() for one in spared]
        assert {one.headers["x-fasttts-replica"] for one in replies} == {other}
        found = dict(zip(QUESTIONS, (content(one.json()) for one in replies), strict=True))
        assert found == expected
        assert again.result().choices[0].message.content == chosen(expected[QUESTIONS[0]])
    until(lambda: num_running() == 2)
    until(lambda: len({two.replica_of(f"session-{n}") for n in range(12)}) == 2)
    assert content(two.ask(body(QUESTIONS[1]), session).json()) == expected[QUESTIONS[1]]


def chosen(found: dict[str, Any]) -> str:
    text: str = found["choices"][0]["message"]["content"]
    return text


def test_replicas_come_and_go_with_the_requests(port: int) -> None:
    """One more while requests wait; what there is no room for is refused; fewer in the end."""
    # The proxy may send the last request to the replica that ends: it has to be done by then.
    options: dict[str, Any] = {"max_replicas": 2, "target_ongoing_requests": 1, "drain_s": 8}
    options |= {"upscale_delay_s": 0, "downscale_delay_s": 0.5, "look_back_period_s": 1}
    is_over = threading.Event()
    with deployed(port, **options, serving={"max_requests": 2}) as replicas:
        assert num_running() == 1
        begun: list[str] = []

        def hold(number: int) -> list[Future[httpx.Response]]:
            return [replicas.pool.submit(replicas.hold, is_over, begun) for _ in range(number)]

        held = hold(2)
        try:
            until(lambda: len(begun) == 2)  # before, the proxy counts them among those that wait
            held += hold(6)
            refused = next(as_completed(held, 60)).result()
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            until(lambda: num_running() == 2)
            until(lambda: len(set(begun)) == 2)  # those that wait, once the proxy knows of it
        finally:
            is_over.set()
        assert [one.result().status_code for one in held].count(200) >= 2
        asked: list[int] = []

        def has_shrunk() -> bool:
            asked.append(replicas.ask(body(QUESTIONS[0])).status_code)
            return num_running() == 1

        until(has_shrunk)
        asked.append(replicas.ask(body(QUESTIONS[0])).status_code)
        assert set(asked) == {200}


@pytest.mark.vllm
def test_the_demonstration_models(port: int, demo_engine: FastTTS) -> None:
    problem = "Tom has 3 boxes of 12 pencils. Tom loses 4 pencils. How many pencils does Tom have?"
    asked = [body(problem, seed=seed) for seed in range(2)]
    with deployed(port, open_engine=None, num_cpus=1) as replicas:
        for one in asked:
            found = replicas.http.post("/v1/chat/completions", json=one).json()
            assert content(found) == asyncio.run(replies_of(demo_engine, [one]))[problem]
        assert replicas.http.get("/health").json()["is_healthy"]


def same(result: SearchResult) -> dict[str, Any]:
    """What of a result depends on no schedule."""
    told = result.to_dict()
    names = ("text", "answer", "score", "candidates", "votes", "stop_reason", "seed", "config")
    return {name: told[name] for name in names}


def test_a_dataset_is_solved_once_though_an_actor_dies(cluster: None, tmp_path: Path) -> None:
    import ray.data

    from fasttts.ray import result_of, solve_dataset

    ray.data.DataContext.get_current().enable_progress_bars = False
    problems = [{"problem": f"What is {n} * 7?", "answer": n * 7, "s": n % 3} for n in range(200)]
    options: dict[str, Any] = {"search": "beam_search", "n": 4}
    died = tmp_path / "died"
    solved = solve_dataset(
        ray.data.from_items(problems, override_num_blocks=20),
        EngineConfig(generator=str(died)),
        open_engine="tests.ray.engines:mortal",
        num_actors=2,
        batch_size=10,
        num_cpus=0.5,
        seed="s",
        **options,
    )
    rows = solved.take_all()
    assert died.exists()
    found = {row["input"]["problem"]: same(result_of(row)) for row in rows}
    assert len(rows) == len(found) == 200
    with quick(EngineConfig()) as engine:
        alone = engine.search_many(
            [one["problem"] for one in problems], seeds=[one["s"] for one in problems], **options
        )
    assert found == {
        problem["problem"]: same(one)
        for problem, one in zip(problems, alone, strict=True)
        if isinstance(one, SearchResult)
    }


def test_rows_of_problems_without_a_result(cluster: None, tmp_path: Path) -> None:
    import ray.data
    from pyarrow import parquet

    from fasttts.ray import result_of, solve_dataset

    questions = ["What is 2 + 2?", "", "x" * 5000]
    solved = solve_dataset(
        ray.data.from_items([{"question": one, "id": n} for n, one in enumerate(questions)]),
        open_engine="tests.ray.engines:quick",
        problem="question",
        num_cpus=0.5,
        search="best_of_n",
        n=2,
    )
    solved.write_parquet(str(tmp_path / "rows"))
    rows = parquet.read_table(tmp_path / "rows").to_pylist()
    by_id = {row["input"]["id"]: row for row in rows}
    assert result_of(by_id[0]).answer == by_id[0]["answer"] is not None
    assert "the context 4096" in by_id[2]["error"]
    with pytest.raises(SearchError, match="shorten the prompt"):
        result_of(by_id[2])
