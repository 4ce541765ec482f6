"""The provider of inspect-ai: whole evaluations, and single calls."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
    get_model,
)
from inspect_ai.scorer import match
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, ToolCall, ToolCallError, ToolFunction, tool
from inspect_ai.util import JSONSchema

from fasttts import (
    BackendError,
    ConfigurationError,
    FastTTS,
    OverloadedError,
    SearchError,
    SearchResult,
)
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.decoding.sampling import derive_seed
from inspect_fasttts import FastTTSAPI
from tests.engines import OpenWith
from tests.harness_tasks import STORIES
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

BEAMS = {"search": "beam_search", "n": 4, "beam_width": 2}


@pytest.fixture(autouse=True)
def _no_files_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSPECT_TRACE_FILE", str(tmp_path / "trace.log"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def random_engine() -> Iterator[FastTTS]:
    """An engine whose answers depend on the seed."""
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


@tool
def get_weather() -> Tool:
    async def execute(city: str) -> str:
        """Tells the weather.

        Args:
            city: The city.
        """
        return f"sunny in {city}"

    return execute


def model(engine: FastTTS, **options: Any) -> Model:
    return get_model("fasttts/any", engine=engine, memoize=False, **options)


async def ask(engine: FastTTS, config: GenerateConfig | None = None, **options: Any) -> ModelOutput:
    return await model(engine, **options).generate("Why?", config=config or GenerateConfig())


def evaluated(task: Task, asked: Model | str, **options: Any) -> EvalLog:
    (log,) = eval(task, model=asked, log_dir="logs", display="none", **options)
    assert log.status == "success", log.error
    return log


@pytest.mark.vllm
@pytest.mark.usefixtures("main_thread_loop")
def test_a_local_task_runs_through_beam_search(demo_engine: FastTTS) -> None:
    samples = [Sample(input=each.text, target=str(each.answer)) for each in STORIES]
    task = Task(dataset=samples, solver=generate(), scorer=match(numeric=True))
    options = {"search": "beam_search", "n": 8, "max_tokens": 300}
    log = evaluated(task, "fasttts/demo", model_args=options, temperature=0.0)
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value >= 2 / 3
    found = read_eval_log(log.location, resolve_attachments=True).samples
    assert found is not None
    results = [SearchResult.from_dict((s.output.metadata or {})["fasttts"]) for s in found]
    alone = demo_engine.search(STORIES[0].text, **options)
    assert (results[0].text, results[0].score) == (alone.text, alone.score)
    assert results[0].record == alone.record
    assert "<html" in results[0].to_html()
    usage = log.stats.model_usage["fasttts/demo"]
    assert usage.output_tokens == sum(each.usage.generated_tokens for each in results)
    assert usage.input_tokens == sum(each.usage.prompt_tokens for each in results)


@pytest.mark.usefixtures("main_thread_loop")
def test_an_agent_calls_tools(
    engine: FastTTS, generator: HermesGenerator, weather_call: str
) -> None:
    generator.answers |= {"Rain?": f"Let me look.\n{weather_call}", "sunny in Paris": "No."}
    solver = [use_tools(get_weather()), generate()]
    task = Task(dataset=[Sample(input="Rain?", target="No.")], solver=solver, scorer=match())
    log = evaluated(task, model(engine, **BEAMS))
    assert log.samples is not None
    messages = log.samples[0].messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1].text == "Let me look."
    assert messages[-1].text == "No."
    assert generator.prompts[0].startswith("tools: ({'type': 'function', 'function': {'name'")
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1.0


@pytest.mark.usefixtures("main_thread_loop")
def test_epochs_have_seeds_of_their_own(random_engine: FastTTS) -> None:
    task = Task(dataset=[Sample(input="Why?", target="-")], solver=generate(), scorer=match())
    log = evaluated(task, model(random_engine, seed=5, max_tokens=30, **BEAMS), epochs=3)
    assert log.samples is not None
    seeds = {s.epoch: (s.output.metadata or {})["fasttts"]["seed"] for s in log.samples}
    assert seeds == {1: 5, 2: derive_seed(5, 2), 3: derive_seed(5, 3)}
    assert len({s.output.completion for s in log.samples}) == 3


async def test_conversations_reach_the_model(engine: FastTTS, generator: HermesGenerator) -> None:
    call = ToolCall(id="1", function="get_weather", arguments={"city": "Paris"})
    failed = ToolCallError("timeout", "took too long")
    parts: list[Content] = [ContentReasoning(reasoning="hm"), ContentText(text="Looking.")]
    messages: list[ChatMessage] = [
        ChatMessageSystem(content="Be brief."),
        ChatMessageUser(content=[ContentText(text="Rain"), ContentText(text="today?")]),
        ChatMessageAssistant(content=parts, tool_calls=[call]),
        ChatMessageTool(content="", tool_call_id="1", function="get_weather", error=failed),
        ChatMessageAssistant(content="Again?"),
        ChatMessageUser(content="Yes."),
    ]
    await model(engine, search="none", max_tokens=4).generate(messages)
    assert generator.prompts[-1] == (
        "system: Be brief.user: Rain\ntoday?assistant: Looking.tool: took too long"
        "assistant: Again?user: Yes.assistant: "
    )


async def test_pictures_are_refused(engine: FastTTS) -> None:
    picture = ContentImage(image="data:image/png;base64,iVBORw0KGgo=")
    with pytest.raises(ConfigurationError, match="user message holds 'image'"):
        await model(engine, search="none").generate([ChatMessageUser(content=[picture])])


async def test_thoughts_are_reasoning(engine: FastTTS, generator: HermesGenerator) -> None:
    generator.answers["Why?"] = "<think>hm</think>Because."
    message = (await ask(engine, **BEAMS)).message
    assert message.text == "Because."
    assert isinstance(message.content, list)
    assert isinstance(message.content[0], ContentReasoning)
    assert message.content[0].reasoning == "hm"


@pytest.mark.parametrize("choice", ["any", ToolFunction("get_weather")])
async def test_calls_are_forced(engine: FastTTS, choice: Any) -> None:
    asked = model(engine, max_tokens=300, **BEAMS)
    output = await asked.generate("Rain?", tools=[get_weather()], tool_choice=choice)
    assert output.stop_reason == "tool_calls"
    assert output.message.tool_calls is not None
    assert output.message.tool_calls[0].function == "get_weather"
    assert set(output.message.tool_calls[0].arguments) == {"city"}


async def test_one_call_where_calls_are_not_parallel(
    engine: FastTTS, generator: HermesGenerator, weather_call: str
) -> None:
    generator.answers["Why?"] = weather_call * 2
    for parallel, num in ((None, 2), (False, 1)):
        config = GenerateConfig(parallel_tool_calls=parallel)
        asked = model(engine, search="none")
        output = await asked.generate("Why?", tools=[get_weather()], config=config)
        assert len(output.message.tool_calls or ()) == num
    output = await asked.generate("Why?", tools=[get_weather()], tool_choice="none")
    assert not output.message.tool_calls


async def test_answers_follow_a_schema(engine: FastTTS) -> None:
    schema = ResponseSchema(
        name="age", json_schema=JSONSchema(type="object", properties={"age": JSONSchema(enum=[7])})
    )
    output = await ask(engine, GenerateConfig(response_schema=schema), max_tokens=300, **BEAMS)
    assert output.completion.startswith("{")


async def test_options_of_a_call(engine: FastTTS, generator: HermesGenerator) -> None:
    generator.answers["Why?"] = "Because.STOP"
    config = GenerateConfig(
        max_tokens=30, temperature=0.6, top_p=0.9, top_k=5, seed=3, stop_seqs=["STOP"]
    )
    output = await ask(engine, config, stop=["end"], top_k=7, **BEAMS)
    assert output.completion == "Because."
    found = (output.metadata or {})["fasttts"]["config"]
    assert {name: found[name] for name in ("max_tokens", "temperature", "top_p", "top_k")} == {
        "max_tokens": 30,
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 7,
    }
    assert (found["seed"], list(found["stop"])) == (3, ["end", "STOP"])


@pytest.mark.parametrize(("search", "temperature"), [("none", 0.0), ("best_of_n", 0.8)])
async def test_a_search_is_never_greedy(engine: FastTTS, search: str, temperature: float) -> None:
    output = await ask(engine, GenerateConfig(temperature=0.0), search=search, max_tokens=4)
    assert (output.metadata or {})["fasttts"]["config"]["temperature"] == temperature


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty=0.5 has no counterpart"),
        ({"logprobs": True}, "logprobs"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"num_choices": 5}, "num_choices=5 of 4 candidates"),
        ({"temperature": 1000.0}, "temperature"),
    ],
)
async def test_options_of_a_call_that_cannot_work(
    engine: FastTTS, generator: HermesGenerator, config: dict[str, Any], match: str
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        await ask(engine, GenerateConfig(**config), **BEAMS)
    assert generator.prompts == []


async def test_choices_are_the_best_candidates(random_engine: FastTTS) -> None:
    output = await ask(
        random_engine, GenerateConfig(num_choices=3), search="best_of_n", n=4, max_tokens=30
    )
    result = SearchResult.from_dict((output.metadata or {})["fasttts"])
    assert [choice.message.text for choice in output.choices] == [
        candidate.text for candidate in result.candidates[:3]
    ]


async def test_usage_counts_every_candidate(engine: FastTTS, generator: HermesGenerator) -> None:
    generator.answers["Why?"] = "Because."
    output = await ask(engine, search="best_of_n", n=4, trace=False)
    report = (output.metadata or {})["fasttts"]
    assert output.usage is not None
    assert output.usage.output_tokens == report["usage"]["generated_tokens"] == 4 * 9
    assert output.input_context_tokens == output.usage.input_tokens
    assert (report["num_candidates"], "record" in report) == (4, False)


async def test_an_answer_that_is_cut(engine: FastTTS, generator: HermesGenerator) -> None:
    generator.answers["Why?"] = "x" * 50
    assert (await ask(engine, search="none", max_tokens=8)).stop_reason == "max_tokens"
    with pytest.raises(SearchError):
        await ask(engine, max_tokens=8, on_cut="raise", **BEAMS)


async def test_a_conversation_that_is_too_long(engine: FastTTS) -> None:
    output = await model(engine, search="none").generate("x" * 20_000)
    assert output.stop_reason == "model_length"
    assert "max_model_len" in (output.error or "")
    cut = [ChatMessageUser(content="x" * 20_000), ChatMessageUser(content="Why?")]
    short = model(engine, search="none", on_overflow="truncate", max_tokens=4)
    assert (await short.generate(cut)).stop_reason != "model_length"


async def test_a_cancelled_call_stops_the_work(
    engine: FastTTS, generator: HermesGenerator, is_idle: Callable[[], bool]
) -> None:
    generator.step_s = 0.002
    generator.answers["Why?"] = "and so on\n\n" * 1000
    waiting = asyncio.create_task(ask(engine, max_tokens=10_000, **BEAMS))
    while not generator.num_unfinished():  # noqa: ASYNC110, the generator has no event
        await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(is_idle)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"serch": "none"}, "unknown option 'serch'"),
        ({"generator": "demo"}, "named by the model"),
        ({"n": "many"}, "n"),
        ({"n": 5, "beam_width": 2, "search": "beam_search"}, "n=5"),
        ({"max_num_seqs": 0}, "max_num_seqs"),
    ],
)
def test_options_are_checked_before_anything_is_loaded(
    open_with: OpenWith, options: dict[str, Any], match: str
) -> None:
    open_with(lambda config: pytest.fail("loaded"))
    with pytest.raises(ConfigurationError, match=match):
        FastTTSAPI("demo", **options)


def test_a_hosted_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="in this process"):
        get_model("fasttts/demo", base_url="http://127.0.0.1:1", memoize=False)


async def test_options_of_the_engine_and_its_end(open_with: OpenWith) -> None:
    engines: list[FastTTS] = []

    def open_engine(config: Any) -> FastTTS:
        assert (config.generator, config.max_model_len) == ("some/model", 512)
        engines.append(FastTTS(HermesGenerator(), FakeVerifier(), scheduling=UNTIMED))
        return engines[-1]

    open_with(open_engine)
    async with get_model(
        "fasttts/some/model", search="none", stop="end", max_model_len=512, memoize=False
    ) as asked:
        assert engines == []
        assert await asked.api.count_text_tokens("four") == 4
        assert await asked.api.tokenize("ab") == [97, 98]
        assert not engines[0].is_closed
    assert engines[0].is_closed


def test_what_is_tried_again(engine: FastTTS) -> None:
    api = model(engine).api
    full = OverloadedError("full", num_waiting=3, retry_after_s=2.0)
    decision = api.should_retry(full)
    assert not isinstance(decision, bool)
    assert (decision.retry, decision.kind, decision.retry_after) == (True, "rate_limit", 2.0)
    lost = BackendError("lost", role="generator", retryable=True)
    assert api.should_retry(lost)
    assert not api.should_retry(BackendError("dead", role="generator"))
    assert not api.should_retry(ConfigurationError("wrong"))


def test_models_of_one_engine_share_its_connections(engine: FastTTS) -> None:
    keys = [FastTTSAPI("demo", n=n, dtype=dtype).connection_key() for n, dtype in SETTINGS]
    assert keys[0] == keys[1] != keys[2]
    assert FastTTSAPI("demo").max_connections() == 256


SETTINGS = [(4, "float32"), (8, "float32"), (4, "bfloat16")]


def test_the_package_has_one_name() -> None:
    import inspect_fasttts

    assert dir(inspect_fasttts) == ["FastTTSAPI"]
    with pytest.raises(AttributeError, match="no attribute 'Model'"):
        _ = inspect_fasttts.Model
