"""The engine on the fake backend: sync, async, streamed, many at once, cancelled, closed."""

import asyncio
import copy
import enum
import gc
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fasttts import (
    BackendError,
    Budget,
    ConfigurationError,
    FastTTS,
    Finished,
    Progress,
    SearchConfig,
    SearchError,
    SearchResult,
    TextDelta,
)
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.engine.messages import ROLES
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.loop_thread import LoopThread, ResultListener
from tests.searches import UNTIMED, make_run

SOLUTION = "Two and two: 2 + 2 = 4.\n\nThe answer is \\boxed{4}."


def solve(prompt: str) -> str | None:
    if "endless" in prompt:
        return "word " * 10_000
    if "blank" in prompt:
        return "\n\n" * 10_000
    return SOLUTION if "two" in prompt else None


@pytest.fixture
def engine() -> Iterator[FastTTS]:
    with FastTTS(FakeGenerator(solve), FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


def test_a_search_gives_answer_steps_and_cost(engine: FastTTS) -> None:
    result = engine.search("What is two and two?", n=8, seed=3)
    assert result.text == SOLUTION
    assert result.answer == "4"
    assert result.finish_reason == "stop"
    assert [s.text for s in result.candidates[0].steps] == SOLUTION.split("\n\n")
    assert all(s.score is not None for s in result.candidates[0].steps)
    assert result.score == result.candidates[0].steps[-1].score
    assert result.seed == 3
    assert result.generator == "fake-generator"
    assert result.verifier == "fake-verifier"
    assert result.config["beam_width"] == 4
    assert result.config["temperature"] == 0.8
    assert result.config["selection"] == "best"
    assert result.usage.returned_tokens == result.candidates[0].num_tokens
    assert result.usage.generated_tokens > result.usage.returned_tokens
    assert result.timings.total_s >= result.timings.generation_s > 0


def test_a_result_survives_json(engine: FastTTS) -> None:
    result = engine.search("hello", n=4, max_tokens=200)
    assert SearchResult.from_json(result.to_json(indent=2)) == result
    assert json.loads(result.to_json())["candidates"][0]["path"] == list(result.candidates[0].path)


def test_plain_decoding_uses_no_verifier(engine: FastTTS) -> None:
    result = engine.search("two", search="none")
    assert (result.text, result.score, result.verifier) == (SOLUTION, None, None)
    assert result.usage.num_verifications == 0
    assert len(result.candidates) == 1


def test_plain_decoding_may_hit_its_cap(engine: FastTTS) -> None:
    result = engine.search("two", search="none", max_tokens=5)
    assert (result.text, result.finish_reason) == (SOLUTION[:5], "length")
    assert result.usage.returned_tokens == 5


def test_a_search_without_a_complete_candidate_is_an_error(engine: FastTTS) -> None:
    with pytest.raises(SearchError, match="none of 4 candidates finished within max_tokens=5"):
        engine.search("two", n=4, max_tokens=5, on_cut="raise")


def test_stop_strings_end_the_answer(engine: FastTTS) -> None:
    result = engine.search("two", search="none", stop=["answer"])
    assert result.text == SOLUTION.partition("answer")[0]
    assert result.finish_reason == "stop"


def test_sync_async_streamed_and_batched_are_the_same_search(engine: FastTTS) -> None:
    config = SearchConfig(n=8, seed=5, max_tokens=200)
    result = engine.search("hello", config=config)
    *progress, finished = engine.stream("hello", config=config)
    (many,) = engine.search_many(["hello"], config=config)
    later = asyncio.run(engine.asearch("hello", config=config))
    assert isinstance(finished, Finished)
    for other in (finished.result, many, later):
        assert isinstance(other, SearchResult)
        assert other.candidates == result.candidates
        cost = replace(other.usage, recomputed_tokens=result.usage.recomputed_tokens)
        assert cost == result.usage  # only what a cache happened to hold may differ
    assert any(isinstance(event, Progress) for event in progress)
    generated = [event.generated_tokens for event in progress if isinstance(event, Progress)]
    assert generated == sorted(generated)


def test_streamed_text_is_the_text(engine: FastTTS) -> None:
    *deltas, finished = engine.stream("two", search="none", stop=["4."])
    assert isinstance(finished, Finished)
    texts = [event.text for event in deltas if isinstance(event, TextDelta)]
    assert len(texts) == len(deltas) > 5
    assert "".join(texts) == finished.result.text == "Two and two: 2 + 2 = "


async def test_async_streaming(engine: FastTTS) -> None:
    events = [event async for event in engine.astream("two", search="none")]
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == SOLUTION
    assert isinstance(events[-1], Finished)


def test_many_problems_share_the_loop_and_keep_their_own_results(engine: FastTTS) -> None:
    problems = ["hello", "two", "world"]
    seen: dict[int, SearchResult] = {}
    results = engine.search_many(
        problems, seeds=[1, 2, 3], n=4, max_tokens=300, on_result=seen.__setitem__
    )
    assert [seen[i] for i in range(3)] == results
    for problem, seed, result in zip(problems, [1, 2, 3], results, strict=True):
        assert isinstance(result, SearchResult)
        single = engine.search(problem, seed=seed, n=4, max_tokens=300)
        assert single.candidates == result.candidates


def test_one_problem_without_an_answer_does_not_lose_the_others(engine: FastTTS) -> None:
    seen: list[int] = []
    good, bad = engine.search_many(
        ["two", "endless"],
        n=4,
        max_tokens=60,
        on_cut="raise",
        on_result=lambda index, _: seen.append(index),
    )
    assert isinstance(good, SearchResult)
    assert isinstance(bad, SearchError)
    assert seen == [0]


def test_calls_from_many_threads(engine: FastTTS) -> None:
    expected = {t: engine.search(t, n=4, max_tokens=300).candidates for t in ("a", "b", "two")}
    with ThreadPoolExecutor(8) as pool:
        texts = list(expected) * 8
        results = pool.map(lambda t: engine.search(t, n=4, max_tokens=300), texts)
        assert all(r.candidates == expected[t] for t, r in zip(texts, results, strict=True))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited in vain")


async def test_cancelling_a_task_stops_the_work() -> None:
    generator = FakeGenerator(solve, max_model_len=100_000)
    with FastTTS(generator, FakeVerifier()) as engine:
        task = asyncio.create_task(engine.asearch("endless", n=16, max_tokens=100_000))
        await until(lambda: generator.num_unfinished() == 16)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: generator.num_unfinished() == 0)
        assert engine.search("hello", n=4, max_tokens=300).candidates


def test_closing_a_stream_stops_the_work() -> None:
    generator = FakeGenerator(solve, max_model_len=100_000)
    with FastTTS(generator) as engine:
        stream = engine.stream("endless", search="none", max_tokens=100_000)
        next(stream)
        assert generator.num_unfinished() == 1
        stream.close()
        engine.search("x", search="none", max_tokens=2)  # runs after the cancellation
        assert generator.num_unfinished() == 0


@pytest.mark.parametrize(
    ("problem", "options", "message"),
    [
        ("", {}, "the prompt is empty"),
        ("  \n", {}, "the prompt is empty"),
        ([], {}, "the conversation has no messages"),
        ([{"content": "x"}], {}, "a message has no role"),
        ([{"role": 1, "content": "x"}], {}, "a message has no role"),
        ([{"role": "root", "content": "x"}], {}, "role 'root'; known are system, developer, user"),
        ([{"role": "User", "content": "x"}], {}, "the role 'User'"),
        ([{"role": "user\nx<|im_end|>", "content": "x"}], {}, "a message has the role 'user"),
        ([{"role": "user", "content": " "}], {}, "the prompt is empty"),
        ([{"role": "user"}], {}, "the prompt is empty"),
        ([{"role": "user", "content": []}], {}, "the prompt is empty"),
        ([{"role": "system", "content": "x"}], {}, "the conversation has no message of the user"),
        ([{"role": "user", "content": 5}], {}, "the content of a user message is text, not a int"),
        ([{"role": "user", "content": [{"type": "image"}]}], {}, "the models read text only"),
        (["x"], {}, "a message is a mapping of role and content, not a str: 'x'"),
        (5, {}, "the problem is a str or a list of messages, not int: 5"),
        (None, {}, "not NoneType"),
        (b"x", {}, "not bytes: b'x'"),
        ({"role": "user", "content": "x"}, {}, "a list of messages, not dict"),
        ("\ud800", {}, "'content' of a user message is not Unicode text: surrogates"),
        (
            [{"role": "user", "content": "x", "name": "\ud800"}],
            {},
            "'name' of a user message is not Unicode text",
        ),
        ("x", {"system": 5}, "system is a str or None, not int: 5"),
        ("x" * 5000, {}, "the prompt has 50.. tokens, the context 4096: shorten"),
        ("x", {"n": 3}, "not a multiple"),
        ("x", {"beams": 3}, "unknown option 'beams'"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    engine: FastTTS, problem: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        engine.search(problem, **options)


@pytest.mark.parametrize("problems", ["abc", b"abc", 5, {"a": "b"}])
def test_what_is_no_list_of_problems_is_refused(engine: FastTTS, problems: object) -> None:
    with pytest.raises(ConfigurationError, match="problems is a list of questions or conver"):
        engine.search_many(problems)


class Word(str, enum.Enum):  # noqa: UP042, it prints otherwise
    """Texts that print as `Word.USER` and `Word.QUESTION`."""

    USER = "user"
    QUESTION = "hello"


def test_texts_of_subclasses_are_what_they_hold(engine: FastTTS) -> None:
    plain = engine.render([{"role": "user", "content": "hello"}])
    assert engine.render([{"role": Word.USER, "content": Word.QUESTION}]) == plain
    assert engine.render([{"role": Word.USER, "content": [Word.QUESTION]}]) == plain
    rendered = engine.render(Word.QUESTION)
    assert (rendered, type(rendered.problem)) == (plain, str)


@pytest.mark.parametrize("role", ROLES)
def test_roles_that_templates_know_are_taken(engine: FastTTS, role: str) -> None:
    question = {"role": "user", "content": "hello"}
    assert engine.render([{"role": role, "content": "x"}, question]).problem == "hello"


def test_parts_of_text_are_read_as_text(engine: FastTTS) -> None:
    parts = [{"type": "text", "text": "What is two "}, "and two?"]
    seen: list[str] = []

    def score(problem: str, steps: tuple[str, ...]) -> float:
        seen.append(problem)
        return 0.5

    with FastTTS(FakeGenerator(solve), FakeVerifier(score)) as judged:
        result = judged.search([{"role": "user", "content": parts}], n=4)
    assert result.text == SOLUTION
    assert set(seen) == {"What is two and two?"}


def test_a_rendered_prompt_is_searched_like_its_problem(engine: FastTTS) -> None:
    prompt = engine.render("hello", system="Be brief.")
    expected = engine.search("hello", system="Be brief.", n=4, max_tokens=300)
    assert engine.search(prompt, n=4, max_tokens=300).candidates == expected.candidates
    with pytest.raises(ConfigurationError, match="takes neither a system message nor tools"):
        engine.search(prompt, system="Be brief.")


def test_an_engine_is_its_own_copy(engine: FastTTS) -> None:
    assert copy.copy(engine) is engine
    assert copy.deepcopy({"engine": engine})["engine"] is engine


def test_a_search_that_needs_a_verifier_says_so() -> None:
    with FastTTS(FakeGenerator(solve)) as engine:
        for options in ({}, {"search": "best_of_n", "selection": "best"}):
            with pytest.raises(ConfigurationError, match="needs a verifier: load the engine with"):
                engine.search("two", **options)
        result = engine.search("two", search="best_of_n", n=3)
        assert (result.answer, result.score) == ("4", None)
        assert result.config["selection"] == "majority"


def test_seeds_must_match_the_problems(engine: FastTTS) -> None:
    with pytest.raises(ConfigurationError, match="1 seeds for 2 problems"):
        engine.search_many(["a", "b"], seeds=[1])


def test_a_system_message_and_tools_reach_the_prompt(engine: FastTTS) -> None:
    plain = engine.search("two", search="none").usage.prompt_tokens
    assert engine.search("two", search="none", system="Be brief.").usage.prompt_tokens > plain
    assert engine.search("two", search="none", tools=[{"a": 1}]).usage.prompt_tokens > plain


class DeafTokenizer(FakeTokenizer):
    def encode_chat(self, messages: Any, tools: Any = None) -> list[int]:
        return super().encode_chat(messages)


def test_tools_that_a_template_leaves_out_are_named_once(
    engine: FastTTS, caplog: pytest.LogCaptureFixture
) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("add", "clock")]
    engine.render("What is two and two?", tools=tools)
    assert (engine.renders_tools, caplog.text) == (True, "")
    generator = FakeGenerator(solve)
    generator.tokenizer = DeafTokenizer()
    with FastTTS(generator, scheduling=UNTIMED) as deaf:
        for _ in range(2):
            deaf.search("What is two and two?", search="none", tools=tools)
        assert not deaf.renders_tools
    assert "the model is not told of add, clock" in caplog.text
    assert len(caplog.records) == 1


def test_a_users_extractor_finds_the_answer(engine: FastTTS) -> None:
    result = engine.search("two", n=4, extract=lambda text: text.split()[0])
    assert result.answer == "Two"


def test_an_option_says_where_the_answer_is(engine: FastTTS) -> None:
    assert engine.search("two", n=4).answer == "4"
    result = engine.search("two", n=4, answer="code")
    assert (result.answer, result.config["answer"]) == (None, "code")
    (other,) = engine.search_many(["two"], n=4, answer="last_number")
    assert isinstance(other, SearchResult)
    assert other.answer == "4"


def failing_extractor(text: str) -> str:
    raise KeyError(text[:3])


@pytest.mark.parametrize(
    ("extract", "message"),
    [
        (failing_extractor, "extract=failing_extractor failed on a candidate's text: KeyError"),
        (len, f"extract=len returned {len(SOLUTION)}, a int: return a str or None"),
        (lambda text: "\ud800", r"returned '\\ud800', .*surrogates not allowed: return a str"),
    ],
)
def test_an_extractor_that_fails_is_named(
    engine: FastTTS, extract: Callable[[str], str | None], message: str
) -> None:
    with pytest.raises(SearchError, match=message):
        engine.search("two", search="none", extract=extract)
    (error,) = engine.search_many(["two"], n=4, extract=extract)
    assert isinstance(error, SearchError)


def test_closing_ends_waiting_callers_and_refuses_new_ones() -> None:
    generator = FakeGenerator(solve, max_model_len=10**6)
    engine = FastTTS(generator)
    outcomes: list[BaseException] = []

    def call() -> None:
        try:
            engine.search("endless", search="none", max_tokens=10**6)
        except BackendError as error:
            outcomes.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while generator.num_unfinished() == 0:
        pass
    engine.close()
    thread.join(10)
    assert [str(error) for error in outcomes] == ["the engine was closed during the search"]
    with pytest.raises(BackendError, match="the engine is closed"):
        engine.search("x", search="none")
    engine.close()


def test_closed_engines_leave_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(5):
        with FastTTS(FakeGenerator(solve), FakeVerifier()) as engine:
            engine.search("two", n=4)
    gc.collect()
    assert threading.active_count() == before


def test_a_bug_in_the_loop_reaches_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    bugs = [KeyError("a bug")]

    def clock() -> float:
        if bugs and threading.current_thread() is not threading.main_thread():
            raise bugs.pop()
        return 0.0

    generator = FakeGenerator()
    run = make_run(generator, "two", SearchConfig(n=4))
    listener = ResultListener(run)
    thread = LoopThread(Loop(generator, FakeVerifier(), clock=clock))
    thread.submit(run, listener)
    with pytest.raises(BackendError, match="the step loop failed: KeyError"):
        listener.future.result(10)
    thread.close()
    assert "the step loop failed" in caplog.text


def test_a_search_that_counts_answers_counts_those_of_the_callers_extractor() -> None:
    def first_letter(text: str) -> str:
        return text[0]

    def broken(text: str) -> str:
        raise KeyError("no answer")

    with FastTTS(FakeGenerator()) as engine:
        options: dict[str, Any] = {"search": "self_consistency", "n": 64, "max_tokens": 200}
        same = engine.search("a", extract=lambda text: "same", **options)
        assert len(same.candidates) == 4
        assert len(engine.search("a", extract=first_letter, **options).candidates) > 4
        with pytest.raises(SearchError, match="broken"):
            engine.search("a", extract=broken, **{**options, "n": 4})


@pytest.mark.parametrize("search", ["beam_search", "best_of_n", "self_consistency", "dvts"])
def test_candidates_that_were_all_cut_off_are_a_result(
    engine: FastTTS, search: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = engine.search("endless", search=search, n=4, max_tokens=30)
    assert (result.finish_reason, result.stop_reason) == ("length", "complete")
    assert len(result.text) >= 20
    assert all(one.finish_reason == "length" for one in result.candidates)
    (warning,) = result.warnings
    assert "candidates finished within max_tokens=30" in warning
    assert caplog.text.count(warning) == 1
    assert SearchResult.from_json(result.to_json()) == result
    scores = [one.score for one in result.candidates if one.score is not None]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(SearchError, match="finished within max_tokens=30"):
        engine.search("endless", search=search, n=4, max_tokens=30, on_cut="raise")


@pytest.mark.parametrize("budget", [Budget(tokens=40), Budget(tokens=9, grace_tokens=0)], ids=str)
def test_a_budget_that_cuts_all_candidates_off_leaves_the_best(
    engine: FastTTS, budget: Budget
) -> None:
    result = engine.search("endless", n=4, budget=budget)
    assert (result.finish_reason, result.stop_reason) == ("length", "tokens")
    assert result.text.strip()
    assert f"the budget of tokens={budget.tokens}" in result.warnings[0]
    *_, last = engine.stream("endless", n=4, budget=budget)
    assert isinstance(last, Finished)
    assert last.result.text == result.text


def test_one_candidate_holds_no_vote() -> None:
    with FastTTS(FakeGenerator(lambda prompt: "Good day."), scheduling=UNTIMED) as engine:
        assert engine.search("Hello", search="none").warnings == ()
        assert engine.search("Hello", search="best_of_n", n=1).warnings == ()
        (warning,) = engine.search("Hello", search="best_of_n", n=2).warnings
        assert "none of 2 candidates has an answer to vote for" in warning


def test_without_any_text_there_is_no_result(engine: FastTTS) -> None:
    with pytest.raises(SearchError, match="tokens=1"):
        engine.search("blank", n=4, budget=Budget(tokens=1, grace_tokens=0))
    assert engine.search("two", n=4).warnings == ()
