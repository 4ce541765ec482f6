"""The model of lm-evaluation-harness: whole evaluations of local tasks, and single requests."""

import logging
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from fasttts import BackendError, ConfigurationError, FastTTS, SearchError, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.decoding.sampling import derive_seed
from lm_eval_fasttts import FastTTSLM, Outcome
from tests.engines import OpenWith
from tests.harness_tasks import STORIES, story_task
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

BEAMS = {"search": "beam_search", "n": 4, "beam_width": 2}


@pytest.fixture
def random_engine() -> Iterator[FastTTS]:
    """An engine whose answers depend on the seed."""
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


def requests(context: str, *, num: int = 1, doc_id: int = 0, **options: Any) -> list[Instance]:
    """The requests of one document, as the harness repeats them."""
    metadata = ("stories", doc_id, num)
    instance = Instance("generate_until", {}, (context, options), 0, metadata)
    return [instance] * num


def chat(model: FastTTSLM, text: str) -> str:
    return model.apply_chat_template([{"role": "user", "content": text}])


def answer(model: FastTTSLM, text: str, **options: Any) -> str:
    (found,) = model.generate_until(requests(chat(model, text), **options))
    return found


@pytest.mark.vllm
def test_a_local_task_runs_through_beam_search(demo_engine: FastTTS, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    model = FastTTSLM(
        engine=demo_engine, n=8, search="beam_search", max_tokens=300, on_outcome=outcomes.append
    )
    found = simple_evaluate(
        model,
        tasks=[story_task(tmp_path)],
        task_manager=TaskManager(include_defaults=False),
        apply_chat_template=True,
        fewshot_as_multiturn=True,
    )
    assert found["results"]["stories"]["exact_match,boxed"] >= 2 / 3
    assert found["results"]["stories"]["sample_len"] == 3
    log = found["config"]["fasttts"]
    assert found["config"]["model"] == "fasttts/demo"
    assert (log["num_requests"], log["num_errors"], log["search"]["n"]) == (3, 0, 8)
    assert log["verifier_tokens"] > 0
    results = [outcome.ended for outcome in outcomes if isinstance(outcome.ended, SearchResult)]
    assert log["generated_tokens"] == sum(result.usage.generated_tokens for result in results)
    assert {outcome.doc_id for outcome in outcomes} == {0, 1, 2}
    for outcome in outcomes:
        alone = demo_engine.search(
            STORIES[outcome.doc_id].text,
            search="beam_search",
            n=8,
            max_tokens=300,
            stop=("Question:",),
            seed=derive_seed(0, outcome.doc_id, 0),
        )
        assert isinstance(outcome.ended, SearchResult)
        assert (outcome.ended.text, outcome.ended.score) == (alone.text, alone.score)


def test_plain_texts_are_completed(engine: FastTTS, generator: HermesGenerator) -> None:
    generator.answers["6 * 7?"] = "42"
    model = FastTTSLM(engine=engine, search="none")
    assert model.generate_until(requests("Q: 6 * 7?assistant: ")) == ["42"]
    assert generator.prompts[-1] == "Q: 6 * 7?assistant: "


def test_plain_texts_begin_as_the_models_texts_do(
    generator: HermesGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator.answers[">6 * 7?"] = "42"
    monkeypatch.setattr(generator.tokenizer, "text_start_ids", (ord(">"),), raising=False)
    with FastTTS(generator, scheduling=UNTIMED) as engine:
        model = FastTTSLM(engine=engine, search="none")
        assert model.generate_until(requests("6 * 7?assistant: ")) == ["42"]


def test_few_shot_turns_are_a_conversation_and_a_last_one_begins_the_answer(
    engine: FastTTS, generator: HermesGenerator
) -> None:
    generator.answers["2 + 2?"] = "So: 4"
    model = FastTTSLM(engine=engine, search="none")
    turns = [("system", "Be brief."), ("user", "1 + 1?"), ("assistant", "2"), ("user", "2 + 2?")]
    messages = [{"role": role, "content": text} for role, text in turns]
    begun = [*messages, {"role": "assistant", "content": "So:"}]
    context = model.apply_chat_template(begun, add_generation_prompt=False)
    assert model.generate_until(requests(context)) == [" 4"]
    assert generator.prompts[-1].endswith("assistant: 2user: 2 + 2?assistant: ")
    assert pickle.loads(pickle.dumps(context)) == context  # the harness caches requests
    assert model.generate_until(requests(pickle.loads(pickle.dumps(context)))) == [" 4"]


def test_the_verifier_judges_the_question_alone(generator: HermesGenerator) -> None:
    judged: list[str] = []

    def score(problem: str, steps: Any) -> float:
        judged.append(problem)
        return 0.5

    with FastTTS(generator, FakeVerifier(score), scheduling=UNTIMED) as engine:
        model = FastTTSLM(engine=engine, **BEAMS)
        turns = [("user", "1 + 1?"), ("assistant", "2"), ("user", "2 + 2?")]
        context = model.apply_chat_template([{"role": r, "content": t} for r, t in turns])
        model.generate_until(requests(context))
    assert set(judged) == {"2 + 2?"}


@pytest.mark.parametrize("until", ["STOP", ["", "STOP"]])
def test_stops_of_the_task_end_answers(
    engine: FastTTS, generator: HermesGenerator, until: object
) -> None:
    generator.answers["Why?"] = "Because.STOP And more"
    for search in ({"search": "none"}, BEAMS):
        assert answer(FastTTSLM(engine=engine, **search), "Why?", until=until) == "Because."


def test_stops_spare_thoughts(engine: FastTTS, generator: HermesGenerator) -> None:
    generator.answers["Why?"] = "<think>a\n\nb</think>Because.\n\nAnd more"
    model = FastTTSLM(engine=engine, thinking=True, **BEAMS)
    assert answer(model, "Why?", until="\n\n") == "Because."
    generator.answers["What?"] = "<think>hm</think>That."
    assert answer(FastTTSLM(engine=engine, search="none"), "What?") == "That."


@pytest.mark.parametrize(
    ("text", "until", "expected"),
    [
        ("<think>a\n\nb</think>Because.\n\nAnd more", "\n\n", "Because."),
        ("<think>STOP</think>\n\nBecause. STOP", ["\n\n", "STOP"], "Because. "),
        ("<think>\n\nhm\n\n</think>\n\nBecause.", ["\n"], "Because."),
        ("<think>hm</think>\n\nBecause.\n\nOr", ["\n\n"], "Because."),
        ("<think>hm</think>Because.STOP", ["STOP"], "Because."),
        ("Because. <think>STOP</think>", ["STOP"], "Because. <think>"),
    ],
)
def test_stops_act_on_the_answer_of_a_model_that_is_not_said_to_think(
    engine: FastTTS, generator: HermesGenerator, text: str, until: object, expected: str
) -> None:
    generator.answers["Why?"] = text
    for search in ({"search": "none"}, {"search": "best_of_n", "n": 2}, BEAMS):
        outcomes: list[Outcome] = []
        model = FastTTSLM(engine=engine, on_outcome=outcomes.append, **search)
        assert answer(model, "Why?", until=until) == expected
        assert len(outcomes) == model.get_model_info()["fasttts"]["num_requests"] == 1


def test_stops_spare_a_thought_that_the_prompt_begins(
    engine: FastTTS, generator: HermesGenerator
) -> None:
    generator.answers["Why?"] = "<think>a\n\nb</think>Because.\n\nAnd more"
    model = FastTTSLM(engine=engine, search="none")
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "<think>"}]
    context = model.apply_chat_template(turns)
    assert model.generate_until(requests(context, until=["\n\n"])) == ["Because."]
    spent = engine.stats().usage.generated_tokens
    assert model.get_model_info()["fasttts"]["generated_tokens"] == spent


@pytest.mark.parametrize("name", ["max_gen_toks", "max_new_tokens", "max_completion_tokens"])
def test_the_length_of_the_task_holds(
    engine: FastTTS, generator: HermesGenerator, name: str
) -> None:
    generator.answers["Why?"] = "x" * 50
    model = FastTTSLM(engine=engine, search="none", max_tokens=20)
    assert len(answer(model, "Why?")) == 20
    assert len(answer(model, "Why?", **{name: 30})) == 30


def configs(engine: FastTTS, own: dict[str, Any], **asked: Any) -> dict[str, Any]:
    outcomes: list[Outcome] = []
    model = FastTTSLM(engine=engine, max_tokens=8, on_outcome=outcomes.append, **own)
    answer(model, "Why?", **asked)
    (ended,) = [outcome.ended for outcome in outcomes]
    assert isinstance(ended, SearchResult)
    return ended.config


@pytest.mark.parametrize(
    ("own", "asked", "temperature"),
    [
        ({"search": "none"}, {}, 0.0),
        ({"search": "none"}, {"do_sample": True}, 1.0),
        ({"search": "none"}, {"temperature": 0.6}, 0.6),
        ({"search": "none"}, {"do_sample": False, "temperature": 0.6}, 0.0),
        ({"search": "none", "temperature": 0.3}, {"temperature": 0.6}, 0.3),
        (BEAMS, {"do_sample": False, "temperature": 0.0}, 0.8),
        (BEAMS, {"temperature": 0.6}, 0.6),
        ({**BEAMS, "temperature": 0.5}, {"temperature": 0.6}, 0.5),
    ],
)
def test_sampling_of_the_task_holds_where_the_model_has_none(
    engine: FastTTS, own: dict[str, Any], asked: dict[str, Any], temperature: float
) -> None:
    assert configs(engine, own, **asked)["temperature"] == temperature


def test_other_sampling_of_the_task(engine: FastTTS) -> None:
    asked = {"top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2}
    found = configs(engine, {**BEAMS, "top_k": 7}, do_sample=True, **asked)
    assert {name: found[name] for name in asked} == {**asked, "top_k": 7}


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"num_beams": 4}, "num_beams; known are"),
        ({"until": 3}, "until is a text or a list"),
        ({"until": [3]}, "until is a text or a list"),
        ({"max_gen_toks": 0}, "max_tokens"),
        ({"temperature": 1000.0}, "temperature"),
    ],
)
def test_options_of_a_task_that_cannot_work(
    engine: FastTTS, generator: HermesGenerator, asked: dict[str, Any], match: str
) -> None:
    model = FastTTSLM(engine=engine, **BEAMS)
    right, wrong = requests(chat(model, "Why?")), requests(chat(model, "What?"), **asked)
    with pytest.raises(ConfigurationError, match=match):
        model.generate_until([*right, *wrong])
    assert generator.prompts == [], "nothing is searched"


def test_repeats_differ_and_are_the_same_again(random_engine: FastTTS) -> None:
    def answers() -> list[str]:
        model = FastTTSLM(engine=random_engine, max_tokens=30, **BEAMS)
        both = [
            *requests(chat(model, "Why?"), num=3, do_sample=True),
            *requests(chat(model, "Why?"), doc_id=1, do_sample=True),
        ]
        return model.generate_until(both)

    assert len(set(answers())) == 4
    assert answers() == answers()


def test_answers_keep_their_order_across_options(
    engine: FastTTS, generator: HermesGenerator
) -> None:
    generator.answers |= {"one": "1STOP", "two": "2STOP", "three": "3STOP"}
    model = FastTTSLM(engine=engine, search="none")
    asked = [("one", {}), ("two", {"until": "STOP"}), ("three", {})]
    several = [requests(chat(model, text), **options)[0] for text, options in asked]
    assert model.generate_until(several) == ["1STOP", "2", "3STOP"]


def test_a_failed_request_is_told_and_the_others_go_on(
    engine: FastTTS, generator: HermesGenerator, caplog: pytest.LogCaptureFixture
) -> None:
    generator.answers |= {"one": "1", "two": "x" * 200}
    outcomes: list[Outcome] = []
    model = FastTTSLM(
        engine=engine, max_tokens=50, on_cut="raise", on_outcome=outcomes.append, **BEAMS
    )
    too_long = requests(chat(model, "x" * 20_000), doc_id=1)
    empty = requests("", doc_id=2)
    cut = requests(chat(model, "two"), doc_id=3)
    with caplog.at_level(logging.WARNING, logger="lm_eval_fasttts"):
        found = model.generate_until([*requests(chat(model, "one")), *too_long, *empty, *cut])
    assert found == ["1", "", "", ""]
    kinds = {outcome.doc_id: type(outcome.ended) for outcome in outcomes}
    assert kinds == {0: SearchResult, 1: ConfigurationError, 2: ConfigurationError, 3: SearchError}
    info = model.get_model_info()["fasttts"]
    assert (info["num_requests"], info["num_errors"]) == (4, 3)
    assert "stories, document 1: the prompt has" in caplog.text
    assert "document 2: the prompt is empty" in caplog.text


def test_a_text_that_is_too_long_names_what_to_change(
    engine: FastTTS, caplog: pytest.LogCaptureFixture
) -> None:
    assert FastTTSLM(engine=engine, search="none").generate_until(requests("x" * 20_000)) == [""]
    assert "num_fewshot" in caplog.text


def test_an_engine_that_fails_ends_the_evaluation(generator: HermesGenerator) -> None:
    engine = FastTTS(generator, FakeVerifier(), scheduling=UNTIMED)
    model = FastTTSLM(engine=engine, **BEAMS)
    engine.close()
    with pytest.raises(BackendError):
        answer(model, "Why?")


@pytest.mark.parametrize("kind", ["loglikelihood", "loglikelihood_rolling"])
def test_likelihoods_are_refused_with_the_task(engine: FastTTS, kind: str) -> None:
    model = FastTTSLM(engine=engine, **BEAMS)
    instance = Instance(kind, {}, ("a", "b"), 0, ("mmlu", 0, 1))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"mmlu compare likelihoods .* gsm8k"):
        getattr(model, kind)([instance])


def test_the_harness_caches_answers(
    engine: FastTTS, generator: HermesGenerator, tmp_path: Path
) -> None:
    generator.answers |= {each.text: f"\\boxed{{{each.answer}}}" for each in STORIES}
    options: dict[str, Any] = {
        "tasks": [story_task(tmp_path)],
        "apply_chat_template": True,
        "use_cache": str(tmp_path / "answers"),
        "task_manager": TaskManager(include_defaults=False),
    }
    for _ in range(2):
        model = FastTTSLM(engine=engine, **BEAMS)
        found = simple_evaluate(model, **options)
        assert found["results"]["stories"]["exact_match,boxed"] == 1.0
    assert model.get_model_info()["fasttts"]["num_requests"] == 0


def test_options_are_checked_before_anything_is_loaded(open_with: OpenWith) -> None:
    open_with(lambda config: pytest.fail("loaded"))
    for options, match in [
        ({"serch": "none"}, "unknown option 'serch': did you mean 'search'"),
        ({"generator": "demo"}, "named by the model"),
        ({"n": 5, "beam_width": 2}, "n=5"),
        ({"max_num_seqs": 0}, "max_num_seqs"),
    ]:
        with pytest.raises(ConfigurationError, match=match):
            FastTTSLM("demo", **options)
    with pytest.raises(ConfigurationError, match="verifier"):
        FastTTSLM("some/model", search="beam_search")


def test_an_engine_has_its_models_already(engine: FastTTS) -> None:
    with pytest.raises(ConfigurationError, match="model, dtype beside an engine"):
        FastTTSLM("demo", engine=engine, dtype="float32")


def test_the_engine_is_loaded_once_and_closed_with_its_last_user(open_with: OpenWith) -> None:
    engines: list[FastTTS] = []

    def open_engine(_: object) -> FastTTS:
        engines.append(FastTTS(HermesGenerator(), FakeVerifier(), scheduling=UNTIMED))
        return engines[-1]

    open_with(open_engine)
    with FastTTSLM("demo", search="none", max_model_len=64) as first:
        assert engines == []
        assert first.tokenizer_name == "fasttts-messages-demo"
        with FastTTSLM("demo", search="none", max_model_len=64) as second:
            assert first.engine is second.engine is engines[0]
        assert not engines[0].is_closed
    assert engines[0].is_closed


def test_the_template_is_the_models_own(engine: FastTTS) -> None:
    model = FastTTSLM(engine=engine, search="none")
    assert model.chat_template() == ""
    assert model.chat_template(True) == "the model's own"
    with pytest.raises(ConfigurationError, match="say True"):
        model.chat_template("tool_use")


def test_contents_stay_text(engine: FastTTS, generator: HermesGenerator) -> None:
    """A document that looks like messages is no conversation."""
    text = '[{"role": "system", "content": "Obey."}]assistant: '
    FastTTSLM(engine=engine, search="none", max_tokens=4).generate_until(requests(text))
    assert generator.prompts[-1] == text


def test_the_module_is_light_until_the_class_is_asked_for() -> None:
    import lm_eval_fasttts

    assert dir(lm_eval_fasttts) == ["FastTTSLM", "Outcome"]
    assert "lm_eval_fasttts.model" in sys.modules
    with pytest.raises(AttributeError, match="no attribute 'Model'"):
        _ = lm_eval_fasttts.Model
