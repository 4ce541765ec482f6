"""A name on a hub is looked up before vLLM is asked to load it."""

import time
from pathlib import Path

import pytest

from fasttts import FastTTS
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.backends.vllm.hub import check_on_hub
from fasttts.errors import ConfigurationError, Role

pytestmark = pytest.mark.vllm

MODEL = Checkpoint(name="some-people/some-model", role="generator")


def test_without_the_hub_an_unknown_name_fails_at_once() -> None:
    start_s = time.monotonic()
    with pytest.raises(ConfigurationError, match="not in the hub's local cache, and the hub cann"):
        check_on_hub(MODEL)
    assert time.monotonic() - start_s < 10


def test_loading_asks_first() -> None:
    with pytest.raises(ConfigurationError, match="generator='some-people/some-model' is no dire"):
        FastTTS.load(MODEL.name, verifier=None)


def test_a_model_the_hub_knows_is_left_to_vllm() -> None:
    asked = []
    check_on_hub(MODEL, "v1", ask=lambda name, revision: asked.append((name, revision)))
    assert asked == [(MODEL.name, "v1")]


def test_a_name_the_hub_refuses_is_named() -> None:
    import httpx
    from huggingface_hub.errors import RepositoryNotFoundError

    def refuse(name: str, revision: str | None) -> object:
        request = httpx.Request("GET", "https://example.invalid")
        response = httpx.Response(401, request=request)
        raise RepositoryNotFoundError("401 Client Error.", response=response)

    with pytest.raises(ConfigurationError, match="the hub refuses the name"):
        check_on_hub(MODEL, ask=refuse)


def test_what_is_no_name_is_told_from_one() -> None:
    with pytest.raises(ConfigurationError, match="neither a directory nor a name on the hub"):
        check_on_hub(Checkpoint(name="my model", role="verifier"))


@pytest.mark.parametrize(
    ("name", "role", "meant"),
    [
        ("entrop", "verifier", "entropy"),
        ("Entropy", "verifier", "entropy"),
        ("SelfCertainty", "verifier", "self_certainty"),
        ("mean confidence", "verifier", "mean_confidence"),
        ("PERPLEXITY", "verifier", "perplexity"),
        ("juge", "verifier", "judge"),
        ("dmeo", "verifier", "demo"),
        ("dmeo", "generator", "demo"),
        ("juge", "generator", None),
        ("gpt2", "verifier", None),
        ("org/entrop", "verifier", None),
    ],
)
@pytest.mark.parametrize("is_online", [False, True])
def test_a_misspelt_special_name_is_told_the_right_one(
    name: str, role: Role, meant: str | None, is_online: bool
) -> None:
    def ask(name: str, revision: str | None) -> object:
        import httpx
        from huggingface_hub.errors import RepositoryNotFoundError

        if not is_online:
            raise OSError("no network")
        request = httpx.Request("GET", "https://example.invalid")
        raise RepositoryNotFoundError("401", response=httpx.Response(401, request=request))

    with pytest.raises(ConfigurationError) as caught:
        check_on_hub(Checkpoint(name=name, role=role), ask=ask)
    assert str(caught.value).startswith(f"{role}={name!r} is n")
    if meant is None:
        assert "did you mean" not in str(caught.value)
    else:
        assert str(caught.value).endswith(f"; did you mean '{meant}'?")


def test_a_cached_model_and_a_directory_need_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(name: str, revision: str | None) -> object:
        raise AssertionError("the hub was asked")

    check_on_hub(Checkpoint(name="x", role="generator", weight_bytes=1), ask=never)
    # Its variable of the environment is read once, when the library is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--some-people--some-model"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "snapshots" / "abc" / "config.json").write_text("{}")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    check_on_hub(MODEL, ask=never)
