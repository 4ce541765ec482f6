"""Drafts on the fake backend: streams are those of plain decoding, whatever is drafted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttts import FastTTS, Finished, SearchResult, TextDelta
from fasttts.backends.fake import EOS, Drafter, FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, search_config
from fasttts.decoding.sampling import Sampling
from fasttts.decoding.structured_outputs import StructuredOutputs
from fasttts.errors import BackendError
from fasttts.interfaces import GenerationOutput, GenerationRequest
from fasttts.scheduling.loop import Loop
from fasttts.types import TokenLogprobs
from tests.drafters import Mixed, Oracle, wrong
from tests.searches import Recorder, alone, drive, make_run, same_tree

pytestmark = pytest.mark.usefixtures("unmeasured")

ALWAYS = SchedulingConfig(draft_rule="always", draft_tokens=16, speculation_rule="score")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GRAMMAR = StructuredOutputs(json=json.dumps(SCHEMA)).decoding_grammar()
PROMPT = list(b"What is the sum?")

Stream = tuple[list[int], list[TokenLogprobs], BackendError | None]


def request(number: int, **options: Any) -> GenerationRequest:
    given_options: dict[str, Any] = {
        "request_id": str(number),
        "prompt_token_ids": PROMPT,
        "seed": number,
        "sampling": Sampling(temperature=0.8),
        "max_tokens": 50,
        "draft_group": 0,
    }
    return GenerationRequest(**given_options | options)


def decoded(
    generator: FakeGenerator, requests: Sequence[GenerationRequest], preempted: Sequence[int] = ()
) -> tuple[dict[str, Stream], list[GenerationOutput]]:
    """The stream of each request, and all outputs."""
    outputs: list[GenerationOutput] = []
    streams: dict[str, Stream] = {}
    for each in requests:
        generator.add(each)
        streams[each.request_id] = ([], [], None)
    for iteration in range(10_000):
        if not generator.num_unfinished():
            break
        if iteration in preempted:
            generator.preempt_all()
        for output in generator.step():
            token_ids, logprobs, _ = streams[output.request_id]
            token_ids += output.token_ids
            logprobs += output.logprobs
            streams[output.request_id] = (token_ids, logprobs, output.error)
            outputs.append(output)
    assert generator.pressure().kv_cache_usage == 0
    return streams, outputs


def drafting(most: int, drafter: Drafter | None = None, **options: Any) -> FakeGenerator:
    generator = FakeGenerator(max_draft_tokens=most, drafter=drafter, **options)
    generator.set_draft_tokens(most)
    return generator


SAMPLINGS = [
    Sampling(temperature=0.8),
    Sampling(temperature=0.0),
    Sampling(temperature=1.2, top_p=0.8, top_k=20, min_p=0.02),
    Sampling(temperature=0.8, repetition_penalty=1.3),
]
DRAFTERS = st.sampled_from([None, Oracle(), wrong]) | st.builds(
    Mixed, st.integers(0, 1000), st.sampled_from([0.0, 0.5, 0.9])
)


@settings(max_examples=100)
@given(
    sampling=st.sampled_from(SAMPLINGS),
    drafter=DRAFTERS,
    most=st.integers(1, 16),
    seed=st.integers(0, 1000),
    max_tokens=st.integers(1, 60),
    grammar=st.sampled_from([None, None, GRAMMAR]),
    num_logprobs=st.sampled_from([None, 0, 3]),
    pool=st.sampled_from([(16, 4096), (4, 70), (8, 20)]),
    preempted=st.lists(st.integers(0, 30), max_size=4),
    fewer=st.dictionaries(st.integers(0, 3), st.integers(0, 16)),
)
def test_streams_are_those_of_plain_decoding(
    *,
    sampling: Sampling,
    drafter: Drafter | None,
    most: int,
    seed: int,
    max_tokens: int,
    grammar: str | None,
    num_logprobs: int | None,
    pool: tuple[int, int],
    preempted: list[int],
    fewer: dict[int, int],
) -> None:
    room = {"block_size": pool[0], "num_blocks": pool[1], "mean_steps": 2.0}
    requests = [
        request(
            seed + number,
            sampling=sampling,
            max_tokens=max_tokens,
            num_logprobs=num_logprobs,
            draft_group=None if number == 3 else number % 2,
            grammar=grammar,
        )
        for number in range(4)
    ]
    expected, _ = decoded(FakeGenerator(**room), requests)
    generator = drafting(most, drafter, **room)
    limits = {str(seed + number): limit for number, limit in fewer.items()}
    generator.set_draft_tokens(most, limits)
    found, outputs = decoded(generator, requests, preempted)
    assert found == expected
    for output in outputs:
        assert output.num_drafted <= min(most, limits.get(output.request_id, most))
        assert len(output.token_ids) <= output.num_drafted + 1
        assert len(output.logprobs) == (0 if num_logprobs is None else len(output.token_ids))
    assert not any(output.num_drafted for output in outputs if output.request_id == str(seed + 3))


def test_right_drafts_save_iterations_and_wrong_ones_cost_none() -> None:
    requests = [request(number, max_tokens=100) for number in range(4)]
    options = {"mean_steps": 50.0}
    _, plain = decoded(FakeGenerator(**options), requests)
    oracle = Oracle(FakeGenerator(**options))
    _, right = decoded(drafting(4, oracle, **options), requests)
    _, other = decoded(drafting(4, wrong, **options), requests)
    num_tokens = sum(len(output.token_ids) for output in plain)
    assert len(plain) == len(other) == num_tokens
    assert {len(output.token_ids) for output in other} == {1}
    assert sum(output.num_drafted for output in other) > 3 * num_tokens
    # a prompt's iteration has no drafts, and the last one may be cut
    assert len(right) <= sum(1 + -(-(n - 1) // 5) for n in lengths(right))


def lengths(outputs: Sequence[GenerationOutput]) -> list[int]:
    found: dict[str, int] = {}
    for output in outputs:
        found[output.request_id] = found.get(output.request_id, 0) + len(output.token_ids)
    return list(found.values())


@pytest.mark.parametrize("max_model_len", [len(PROMPT) + n for n in range(1, 12)])
def test_drafts_end_where_the_context_does(max_model_len: int) -> None:
    options = {"max_model_len": max_model_len, "mean_steps": 50.0}
    expected, _ = decoded(FakeGenerator(**options), [request(1)])
    found, outputs = decoded(
        drafting(8, Oracle(FakeGenerator(mean_steps=50.0)), **options), [request(1)]
    )
    assert found == expected
    assert len(found["1"][0]) == max_model_len - len(PROMPT)
    assert all(output.num_drafted < max_model_len - len(PROMPT) for output in outputs)


def test_an_end_token_ends_a_draft() -> None:
    text = "one\n\ntwo"
    answer = [*FakeTokenizer().encode(text), EOS]
    generator = drafting(16, lambda *_: [*answer[1:], 1, 2, 3], script=lambda _: text)
    prompt = FakeTokenizer().encode_chat([{"role": "user", "content": "?"}])
    found, outputs = decoded(generator, [request(2, prompt_token_ids=prompt)])
    assert found["2"][0] == answer
    assert [len(output.token_ids) for output in outputs] == [1, len(answer) - 1]
    assert [output.is_finished for output in outputs] == [False, True]
    assert outputs[-1].num_drafted == len(answer) - 1 + 3


def test_drafts_take_free_blocks_and_preempt_nobody() -> None:
    """A sequence of low priority keeps the blocks that another could fill with drafts."""
    options = {"block_size": 4, "num_blocks": 16, "mean_steps": 50.0}
    generator = drafting(16, Oracle(FakeGenerator(mean_steps=50.0)), **options)
    prompts = [PROMPT[:8], PROMPT[8:] + PROMPT[:8]]
    for number, prompt in enumerate(prompts):
        generator.add(request(number, prompt_token_ids=prompt, priority=number))
    while len({output.request_id for output in generator.step()}) == 2:
        assert generator.pressure().num_preemptions == 0
        assert generator.pressure().kv_cache_usage <= 1
    assert generator.pressure().num_preemptions == 1


def test_what_is_said_of_sequences_replaces_what_was_said_before() -> None:
    generator = drafting(8, Oracle(FakeGenerator(mean_steps=50.0)), mean_steps=50.0)
    for number in range(2):
        generator.add(request(number, max_tokens=100))
    generator.step()
    found = []
    for fewer in ({"0": 2}, {"1": 0}, {"ended": 1}):
        generator.set_draft_tokens(8, fewer)
        found.append([output.num_drafted for output in generator.step()])
    assert found == [[2, 8], [8, 0], [8, 8]]


def test_a_number_beyond_the_most_is_refused() -> None:
    generator = FakeGenerator(max_draft_tokens=4)
    for number in (-1, 5):
        with pytest.raises(BackendError, match=f"{number} drafted tokens, of at most 4"):
            generator.set_draft_tokens(number)


SEARCHES: list[dict[str, Any]] = [
    {"search": "beam_search", "n": 8},
    {"search": "beam_search", "n": 8, "step_tokens": 3},
    {"search": "dvts", "n": 8, "stop": ["e ", "ab"]},
    {"search": "lookahead", "n": 4, "step_tokens": 5},
    {"search": "none", "temperature": 0.8},
    {"search": "best_of_n", "n": 4, "thinking_token_budget": 7, "thinking": True},
]


@pytest.mark.parametrize(
    "drafter", [None, Oracle(), wrong, Mixed(0)], ids=["lookup", "right", "wrong", "mixed"]
)
@pytest.mark.parametrize("number", range(len(SEARCHES)))
def test_trees_are_those_without_drafts(number: int, drafter: Drafter | None) -> None:
    config = search_config(**SEARCHES[number], seed=number, max_tokens=100, max_step_tokens=20)
    generator, recorder = FakeGenerator(max_draft_tokens=6, drafter=drafter), Recorder()
    loop = Loop(generator, FakeVerifier(), ALWAYS)
    run = make_run(generator, "a", config)
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert same_tree(run, alone("a", config))
    assert drafter is None or run.counts.drafted_tokens > 0
    assert run.counts.kept_draft_tokens <= run.counts.drafted_tokens
    if drafter is wrong:
        assert run.counts.kept_draft_tokens == 0
    if isinstance(drafter, Oracle):
        assert run.counts.kept_draft_tokens > run.counts.drafted_tokens / 2


def test_a_step_that_is_inside_a_draft_is_not_decoded_again() -> None:
    """What lies behind the end of a step is the next step of child 0, also at the very end."""
    text = "a\n\nb\n\nc\n\nd" + "\\boxed{1}"
    script = FakeGenerator(lambda _: text)
    generator = FakeGenerator(
        lambda _: text, max_draft_tokens=16, drafter=Oracle(script), max_num_seqs=1
    )
    loop, recorder = Loop(generator, FakeVerifier(), ALWAYS), Recorder()
    config = search_config(n=1, beam_width=1, max_tokens=100)
    run = make_run(generator, "a", config)
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert len(run.tree) == 4
    assert run.counts.num_iterations == 2  # the prompt with one token, and all that follows
    assert run.counts.generated_tokens == sum(len(node.token_ids) for node in run.tree)


def test_searches_draft_from_their_own_text_alone() -> None:
    groups: dict[str, set[int | None]] = {}

    class Grouped(FakeGenerator):
        def add(self, request: GenerationRequest) -> None:
            text = self.tokenizer.decode(request.prompt_token_ids)
            groups.setdefault(text[:8], set()).add(request.draft_group)
            super().add(request)

    with FastTTS(Grouped(max_draft_tokens=4), FakeVerifier(), scheduling=ALWAYS) as engine:
        engine.search_many(["1", "2", "3"], n=4, max_tokens=60)
    found = list(groups.values())
    assert all(len(each) == 1 for each in found)
    assert len(set.union(*found)) == 3
    groups.clear()
    with FastTTS(Grouped(), FakeVerifier(), scheduling=ALWAYS) as engine:
        engine.search("1", n=4, max_tokens=60)
    assert list(groups.values()) == [{None}]


def test_usage_tells_of_drafts() -> None:
    def search(scheduling: SchedulingConfig) -> tuple[SearchResult, Any]:
        generator = FakeGenerator(max_draft_tokens=4, drafter=Mixed(2))
        with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
            return engine.search("What is 2 + 2?", n=4, max_tokens=80), engine.usage

    result, totals = search(ALWAYS)
    plain, _ = search(PLAIN)
    assert 0 < result.usage.kept_draft_tokens < result.usage.drafted_tokens
    assert totals.drafted_tokens == result.usage.drafted_tokens
    assert totals.kept_draft_tokens == result.usage.kept_draft_tokens
    assert plain.usage.drafted_tokens == plain.usage.kept_draft_tokens == 0
    assert result.usage.required_tokens == plain.usage.required_tokens
    assert replace(result.candidates[0]) == plain.candidates[0]
    assert result.candidates == plain.candidates


@pytest.mark.parametrize("stop", [[], ["e ", "ab"]])
@pytest.mark.parametrize("num_logprobs", [None, 2])
def test_streams_of_text_tell_the_same(stop: list[str], num_logprobs: int | None) -> None:
    def told(scheduling: SchedulingConfig, seed: int) -> tuple[str, list[Any], str]:
        generator = FakeGenerator(max_draft_tokens=6, drafter=Mixed(seed, 0.9), mean_steps=9.0)
        options: dict[str, Any] = {"search": "none", "temperature": 0.9, "max_tokens": 120}
        with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
            events = list(
                engine.stream("?", seed=seed, stop=stop, num_logprobs=num_logprobs, **options)
            )
        deltas = [event for event in events if isinstance(event, TextDelta)]
        (last,) = [event for event in events if isinstance(event, Finished)]
        logprobs = [each for delta in deltas for each in delta.logprobs]
        return "".join(delta.text for delta in deltas), logprobs, last.result.text

    for seed in range(5):
        found = told(ALWAYS, seed)
        assert found == told(PLAIN, seed)
        assert found[0] == found[2]
