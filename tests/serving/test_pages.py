"""What a server shows: models, health, metrics, and the pages of searches."""

import json

import httpx
import pytest

from fasttts import FastTTS, __version__
from fasttts.backends.fake import FakeVerifier
from tests.hermes import HermesGenerator
from tests.serving.conftest import ASKED, QUESTION, Serve, Served


def test_models_have_a_context(serve: Serve) -> None:
    served = serve(names=("demo", "other"))
    listed = served.client().models.list().data
    assert [model.id for model in listed][:4] == ["demo", "other", "demo:auto", "demo:beam-16"]
    assert {(model.model_extra or {})["max_model_len"] for model in listed} == {4096}
    assert served.client().models.retrieve("other:beam-32x8").id == "other:beam-32x8"
    assert served.get("/v1/models/nobody").status_code == 404


def test_a_model_is_called_by_the_end_of_its_path(serve: Serve) -> None:
    assert serve(names=()).client().models.list().data[0].id == "fake-generator"


def test_health_version_and_metrics(serve: Serve) -> None:
    served = serve()
    assert served.get("/health").json() == {"is_healthy": True, "reason": None}
    assert served.get("/version").json() == {"version": __version__}
    served.client().chat.completions.create(model="demo", messages=ASKED, max_tokens=3)
    served.get("/nowhere/1"), served.get("/nowhere/2")
    assert served.metric('fasttts_requests_total{engine="demo"') == 1
    assert served.metric('fasttts_http_responses_total{endpoint="/v1/chat/completions"') == 1
    assert served.metric('fasttts_http_responses_total{endpoint="other",status="404"}') == 2
    served.engine.close()
    assert served.get("/health").status_code == 503


def test_a_search_has_a_page(served: Served) -> None:
    reply = served.client().chat.completions.create(model="demo:beam-4", messages=ASKED)
    page = reply.model_extra["fasttts"]["page"]
    assert page == f"/searches/{reply.id}"
    shown = served.get(page)
    assert shown.headers["content-type"].startswith("text/html")
    assert 'data-feed=""' in shown.text
    assert QUESTION in shown.text
    events = served.get(f"{page}/events").text
    (document,) = [line[6:] for line in events.splitlines() if line.startswith("data: ")]
    (result,) = json.loads(document)["results"]
    assert result["text"] == reply.choices[0].message.content
    again = served.get(f"{page}/events", headers={"Last-Event-ID": "last"})
    assert again.status_code == 204


def test_plain_replies_have_none(served: Served) -> None:
    reply = served.client().chat.completions.create(model="demo", messages=ASKED, max_tokens=3)
    assert reply.model_extra["fasttts"]["page"] is None


def test_the_newest_pages_are_kept(serve: Serve) -> None:
    served = serve(num_pages=2)
    pages = [
        served.client()
        .chat.completions.create(model="demo:vote-2", messages=ASKED)
        .model_extra["fasttts"]["page"]
        for _ in range(3)
    ]
    assert [served.get(page).status_code for page in pages] == [404, 200, 200]
    assert served.get(f"{pages[0]}/events").status_code == 404
    assert serve(num_pages=0).get("/searches/x").status_code == 404


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_page_follows_its_search(serve: Serve, hermes: HermesGenerator, is_ended: bool) -> None:
    hermes.step_s = 0.02
    hermes.answers[QUESTION] = "One.\n\nTwo.\n\nThree.\n\nFour." * 3
    with FastTTS(hermes, FakeVerifier()) as engine:
        served = serve(engine, heartbeat_s=0.05)
        body = {"model": "demo:beam-4", "messages": ASKED, "stream": True}
        url = f"{served.url}/v1/chat/completions"
        with httpx.stream("POST", url, json=body, timeout=30) as stream:
            lines = stream.iter_lines()
            first = next(line for line in lines if line.startswith("data: "))
            page = f"/searches/{json.loads(first[6:])['id']}"
            assert f'data-feed="{page}/events"' in served.get(page).text
            with httpx.stream("GET", f"{served.url}{page}/events", timeout=30) as feed:
                if is_ended:
                    list(lines)
                else:
                    stream.close()
                documents = [line for line in feed.iter_lines() if line.startswith("data: ")]
        results = [json.loads(document[6:])["results"][0] for document in documents]
        assert len(results) > 1
        assert len(results[0]["record"]["nodes"]) <= len(results[-1]["record"]["nodes"])
        assert bool(results[-1]["candidates"]) is is_ended
        assert 'data-feed=""' in served.get(page).text
