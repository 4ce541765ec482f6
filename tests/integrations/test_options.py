"""The options every chat class shares."""

import asyncio
import re

import pytest
from pydantic import ValidationError

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.chat import offered_tools
from fasttts.config import engine_config
from fasttts.types import Message
from tests.chat_model import ChatModel

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"title": "Add"}}}


def test_defaults_are_plain_decoding_on_the_demo_models() -> None:
    options = ChatModel()
    assert (options.model, options.search) == ("demo", "none")
    assert options.search_config().search == "none"
    assert options.engine_config().verifier == "demo"


def test_a_verifier_is_named_beside_the_model() -> None:
    options = ChatModel(model="some/model", verifier="some/prm", search="beam_search")
    assert options.engine_config() == engine_config(generator="some/model", verifier="some/prm")


def test_the_environment_names_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTTTS_GENERATOR", "some/model")
    assert ChatModel().model == "some/model"
    assert ChatModel(model="other").engine_config().generator == "other"


def test_a_call_overrides_the_object_which_overrides_the_defaults() -> None:
    options = ChatModel(n=8, stop=["END"], search_args={"top_p": 0.9})
    config = options.search_config(n=4, beam_width=2, stop=None)
    assert (config.n, config.beam_width, config.stop, config.top_p) == (4, 2, ("END",), 0.9)


def test_thoughts_are_bounded_and_switched_by_the_object_or_by_a_call() -> None:
    switches = {"enable_thinking": True}
    engine = FastTTS(FakeGenerator(mean_steps=1e6))
    options = ChatModel(
        engine=engine,
        max_tokens=30,
        search_args={"thinking_token_budget": 5, "chat_template_kwargs": switches},
    )
    messages: list[Message] = [{"role": "user", "content": "a"}]
    request = options.request(engine, messages)
    assert engine.tokenizer.decode(request.prompt.token_ids).endswith("<think>")
    reply = request.reply_format.read(request.search().text, "length")
    assert len(engine.tokenizer.encode(reply.reasoning)) <= 5
    off = options.request(engine, messages, chat_template_kwargs={"enable_thinking": False})
    assert off.prompt == engine.render(messages)


@pytest.mark.parametrize(
    "options",
    [
        {"n": 0},
        {"search": "guess"},
        {"search": "beam_search", "n": 6, "beam_width": 4},
        {"search_args": {"top_q": 1}},
        {"search_args": {"n": 4}},
        {"engine_args": {"max_modellen": 1}},
        {"engine_args": {"generator": "demo"}},
        {"model": "some/model", "search": "beam_search"},
    ],
)
def test_what_cannot_work_is_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ChatModel(**options)


def test_unknown_options_of_a_call_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'temperature'"):
        ChatModel().search_config(temprature=1)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", ": did you mean 'temperature'?"),
        ("top_p", ": put it into search_args"),
        ("max_model_len", ": put it into engine_args"),
        ("logprobs", ""),
    ],
)
def test_unknown_options_warn(name: str, hint: str) -> None:
    with pytest.warns(UserWarning, match=re.escape(f"no option '{name}'{hint}") + "$"):
        ChatModel(**{name: 1})


def test_what_hosted_models_take_is_accepted() -> None:
    ChatModel(api_key="x", timeout=3, max_retries=1)


def test_a_given_engine_brings_its_names(engine: FastTTS) -> None:
    options = ChatModel(engine=engine)
    assert (options.model, options.verifier) == ("fake-hermes", "fake-verifier")
    assert options.resolve_engine() is engine
    copy = ChatModel(**{name: getattr(options, name) for name in ChatModel.model_fields})
    assert copy.engine is engine


@pytest.mark.parametrize(
    "options", [{"model": "demo"}, {"verifier": "demo"}, {"engine_args": {"dtype": "float32"}}]
)
def test_a_given_engine_excludes_other_ones(engine: FastTTS, options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ChatModel(engine=engine, **options)


async def test_the_engine_is_loaded_away_from_the_event_loop(engine: FastTTS) -> None:
    assert await asyncio.wait_for(ChatModel(engine=engine).aresolve_engine(), 5) is engine


def test_identity_tells_apart_what_answers_differently() -> None:
    variants = [{}, {"seed": 1}, {"n": 8}, {"search_args": {"top_k": 3}}, {"model": "m"}]
    variants += [{"engine_args": {"dtype": "float32"}}, {"stop": ["a"]}, {"temperature": 1.0}]
    assert len({str(ChatModel(**options).identity()) for options in variants}) == len(variants)


def test_offered_tools() -> None:
    (tool,) = offered_tools([TOOL], "auto")
    assert tool["function"] == {"name": "add", "parameters": {}}
    assert offered_tools([TOOL], "none") == offered_tools(None) == ()


def test_a_property_called_title_is_kept() -> None:
    schema = {"properties": {"title": {"title": "Title", "type": "string"}}, "required": ["title"]}
    tool = {"function": {"name": "add", "parameters": schema}}
    (kept,) = offered_tools([tool])
    assert kept["function"]["parameters"]["properties"] == {"title": {"type": "string"}}
    assert kept["function"]["parameters"]["required"] == ["title"]
