"""What every generator promises."""

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fasttts.decoding.sampling import Sampling
from fasttts.decoding.structured_outputs import StructuredOutputs
from fasttts.errors import BackendError, CapacityError, ConfigurationError
from fasttts.interfaces import GenerationOutput, GenerationRequest, Generator
from fasttts.types import TokenLogprobs

WARM = Sampling(temperature=0.8)
GREEDY = Sampling()
FILTERED = Sampling(temperature=1.2, top_k=40, top_p=0.95, min_p=0.01)
PENALIZED = Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.3)
PENALIZED_GREEDY = Sampling(repetition_penalty=1.3)
NUM_TOKENS = 40

_ids = itertools.count()


def prompt(generator: Generator, text: str = "Ann has 3 apples and buys 4. How many?") -> list[int]:
    return generator.tokenizer.encode_chat([{"role": "user", "content": text}])


def request(
    prompt_token_ids: Sequence[int],
    *,
    seed: int = 0,
    sampling: Sampling = WARM,
    max_tokens: int = NUM_TOKENS,
    priority: int = 0,
) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"request-{next(_ids)}",
        prompt_token_ids=prompt_token_ids,
        seed=seed,
        sampling=sampling,
        max_tokens=max_tokens,
        priority=priority,
        draft_group=0,
    )


def collect(outputs: Iterable[GenerationOutput], into: dict[str, list[int]]) -> None:
    for output in outputs:
        into.setdefault(output.request_id, []).extend(output.token_ids)


def decode(
    generator: Generator, requests: Sequence[GenerationRequest], preempt_after: int = 0
) -> list[list[int]]:
    """Tokens of each request, decoded together."""
    for one in requests:
        generator.add(one)
    tokens: dict[str, list[int]] = {one.request_id: [] for one in requests}
    for iteration in itertools.count(1):
        collect(generator.step(), tokens)
        if not generator.num_unfinished():
            return list(tokens.values())
        if iteration == preempt_after:
            preempt(generator)
    raise AssertionError


def first_outputs(generator: Generator) -> list[GenerationOutput]:
    """Outputs of the first iteration that has any: an engine may report one iteration late."""
    while generator.num_unfinished():
        if outputs := generator.step():
            return outputs
    return []


def preempt(generator: Any) -> None:
    generator.preempt_all()


@pytest.mark.parametrize(
    "sampling",
    [WARM, FILTERED, GREEDY, PENALIZED, PENALIZED_GREEDY],
    ids=["warm", "filtered", "greedy", "penalized", "penalized-greedy"],
)
def test_company_does_not_change_tokens(generator: Generator, sampling: Sampling) -> None:
    requests = [
        request(prompt(generator, f"What is {i % 7} + 5?"), seed=100 + i, sampling=sampling)
        for i in range(64)
    ]
    together = decode(generator, requests)
    for i in (0, 31, 63):
        again = request(requests[i].prompt_token_ids, seed=100 + i, sampling=sampling)
        assert decode(generator, [again]) == [together[i]]


@pytest.mark.parametrize(
    "sampling", [WARM, PENALIZED, PENALIZED_GREEDY], ids=["warm", "penalized", "penalized-greedy"]
)
def test_a_continued_request_continues_the_same_stream(
    generator: Generator, sampling: Sampling
) -> None:
    start = prompt(generator)
    whole = decode(generator, [request(start, seed=seed, sampling=sampling) for seed in range(8)])
    cuts = [len(tokens) // 2 for tokens in whole]
    rest = decode(
        generator,
        [
            request(start + tokens[:cut], seed=seed, sampling=sampling, max_tokens=NUM_TOKENS - cut)
            for seed, (tokens, cut) in enumerate(zip(whole, cuts, strict=True))
        ],
    )
    joined = [tokens[:cut] + new for tokens, cut, new in zip(whole, cuts, rest, strict=True)]
    assert joined == whole


@pytest.mark.parametrize("sampling", [WARM, GREEDY], ids=["warm", "greedy"])
@pytest.mark.parametrize("preempt_after", [0, 4])
def test_a_grammar_holds_across_requests(
    generator: Generator, sampling: Sampling, preempt_after: int
) -> None:
    """Whole answers, and the same ones as a beginning and a rest, preempted or not."""
    outputs = StructuredOutputs(regex="[a-f]{2,5}(-[0-9]{1,3}){3}")
    start = prompt(generator)

    def constrained(seed: int, begun: Sequence[int] = ()) -> GenerationRequest:
        return replace(
            request([*start, *begun], seed=seed, sampling=sampling),
            grammar=outputs.decoding_grammar(),
            num_answer_tokens=len(begun),
        )

    whole = decode(generator, [constrained(seed) for seed in range(6)], preempt_after)
    texts = [generator.tokenizer.decode(tokens) for tokens in whole]
    assert all(re.fullmatch(str(outputs.regex), text) for text in texts)
    begun = [tokens[: len(tokens) // 2] for tokens in whole]
    rest = decode(generator, [constrained(seed, begun[seed]) for seed in range(6)])
    assert [tokens + new for tokens, new in zip(begun, rest, strict=True)] == whole


def test_a_request_whose_grammar_fails_ends_alone(generator: Generator) -> None:
    grammar = StructuredOutputs(grammar='start: "abc" /[^\\s\\S]/\n').decoding_grammar()
    compiled = generator.compile_grammar(grammar)
    assert generator.compile_grammar(grammar) is compiled
    expected = decode(generator, [request(prompt(generator), seed=seed) for seed in range(3)])
    others = [request(prompt(generator), seed=seed) for seed in range(3)]
    doomed = replace(request(prompt(generator)), grammar=grammar)
    for one in (*others, doomed):
        generator.add(one)
    outputs = []
    while generator.num_unfinished():
        outputs += generator.step()
    last = [output for output in outputs if output.request_id == doomed.request_id][-1]
    assert last.is_finished
    assert list(last.token_ids) == []
    assert isinstance(last.error, BackendError)
    tokens: dict[str, list[int]] = {one.request_id: [] for one in (*others, doomed)}
    collect(outputs, tokens)
    text = generator.tokenizer.decode(tokens[doomed.request_id])
    assert text in {"ab", "abc"}  # its last token may be lost with it
    assert [tokens[one.request_id] for one in others] == expected
    assert all(output.error is None for output in outputs if output is not last)
    missing = StructuredOutputs(grammar="start: <|no_such_token|>\n")
    with pytest.raises(ConfigurationError, match="vocabulary"):
        generator.compile_grammar(missing.decoding_grammar())


@pytest.mark.parametrize("sampling", [WARM, PENALIZED], ids=["warm", "penalized"])
@pytest.mark.parametrize("preempt_after", [1, 7, 20])
def test_preemption_does_not_change_tokens(
    generator: Generator, sampling: Sampling, preempt_after: int
) -> None:
    def requests() -> list[GenerationRequest]:
        return [request(prompt(generator), seed=seed, sampling=sampling) for seed in range(32)]

    assert decode(generator, requests(), preempt_after) == decode(generator, requests())


def test_seeds_matter(generator: Generator) -> None:
    hot = Sampling(temperature=2.0)
    requests = [request(prompt(generator), seed=seed, sampling=hot) for seed in range(16)]
    answers = decode(generator, requests)
    assert len({tuple(answer) for answer in answers}) > 8


@pytest.mark.parametrize("sampling", [WARM, GREEDY], ids=["warm", "greedy"])
def test_a_penalty_matters(generator: Generator, sampling: Sampling) -> None:
    start = prompt(generator)
    penalized = replace(sampling, repetition_penalty=3.0)
    free, held = (
        decode(generator, [request(start, seed=seed, sampling=each) for seed in range(8)])
        for each in (sampling, penalized)
    )
    assert free != held
    assert _repeated_share(held) < _repeated_share(free)


def _repeated_share(answers: Sequence[Sequence[int]]) -> float:
    return sum(1 - len(set(answer)) / len(answer) for answer in answers)


def test_temperature_zero_ignores_the_seed(generator: Generator) -> None:
    start = prompt(generator)
    greedy = decode(generator, [request(start, seed=seed, sampling=GREEDY) for seed in range(8)])
    assert len({tuple(answer) for answer in greedy}) == 1


def test_temperature_zero_is_the_limit_of_low_temperatures(generator: Generator) -> None:
    start = prompt(generator)
    cold = Sampling(temperature=1e-6)
    assert decode(generator, [request(start, sampling=cold)]) == decode(
        generator, [request(start, sampling=GREEDY)]
    )


def test_an_answer_ends_with_its_end_token_or_at_max_tokens(generator: Generator) -> None:
    eos = generator.tokenizer.eos_token_ids
    assert eos
    longest = 200
    requests = [request(prompt(generator), seed=seed, max_tokens=longest) for seed in range(32)]
    answers = decode(generator, requests)
    assert all(answer[-1] in eos or len(answer) == longest for answer in answers)
    assert not any(eos.intersection(answer[:-1]) for answer in answers)
    assert any(answer[-1] in eos for answer in answers)


@pytest.mark.parametrize("max_tokens", [1, 2, 5])
def test_max_tokens(generator: Generator, max_tokens: int) -> None:
    short = decode(generator, [request(prompt(generator), seed=3, max_tokens=max_tokens)])
    long = decode(generator, [request(prompt(generator), seed=3)])
    assert short == [long[0][:max_tokens]]


def test_outputs_carry_new_tokens_only_and_say_when_they_end(generator: Generator) -> None:
    one = request(prompt(generator), max_tokens=6)
    generator.add(one)
    seen: list[GenerationOutput] = []
    while generator.num_unfinished():
        seen += generator.step()
    assert {output.request_id for output in seen} == {one.request_id}
    assert [output.is_finished for output in seen] == [False] * (len(seen) - 1) + [True]
    assert sum(len(output.token_ids) for output in seen) <= 6
    assert generator.step() == []


def test_num_unfinished_counts_requests_in_flight(generator: Generator) -> None:
    requests = [request(prompt(generator), seed=seed, max_tokens=3) for seed in range(3)]
    for count, one in enumerate(requests, start=1):
        generator.add(one)
        assert generator.num_unfinished() == count
    generator.abort([requests[0].request_id])
    assert generator.num_unfinished() == 2
    while generator.num_unfinished():
        generator.step()


def test_an_aborted_request_is_never_heard_of_again(generator: Generator) -> None:
    kept, lost = (request(prompt(generator), seed=seed, max_tokens=12) for seed in (1, 2))
    waiting = request(prompt(generator), seed=3)
    for one in (kept, lost, waiting):
        generator.add(one)
    generator.abort([waiting.request_id])
    tokens: dict[str, list[int]] = {}
    collect(first_outputs(generator), tokens)
    assert set(tokens) == {kept.request_id, lost.request_id}
    generator.abort([lost.request_id, "never-heard-of"])
    generator.abort([lost.request_id])
    later: dict[str, list[int]] = {}
    while generator.num_unfinished():
        collect(generator.step(), later)
    assert set(later) <= {kept.request_id}


def test_an_aborted_id_may_be_used_again(generator: Generator) -> None:
    first = request(prompt(generator), seed=5)
    expected = decode(generator, [request(prompt(generator), seed=5)])
    generator.add(first)
    first_outputs(generator)
    generator.abort([first.request_id])
    assert decode(generator, [first]) == expected


def test_an_abort_frees_its_slot(generator: Generator) -> None:
    slots = generator.max_num_seqs
    requests = [request(prompt(generator), seed=seed) for seed in range(slots + 1)]
    for one in requests:
        generator.add(one)
    running = {output.request_id for output in first_outputs(generator)}
    assert running == {one.request_id for one in requests[:slots]}, "ties run in order of arrival"
    generator.abort([requests[0].request_id])
    next_ones = [*generator.step(), *generator.step(), *generator.step()]
    assert requests[-1].request_id in {output.request_id for output in next_ones}
    generator.abort([one.request_id for one in requests])


def test_lower_priorities_run_first(generator: Generator) -> None:
    slots = generator.max_num_seqs
    later = [request(prompt(generator), seed=seed, priority=1) for seed in range(slots)]
    first = [request(prompt(generator), seed=seed, priority=0) for seed in range(slots - 4)]
    for one in (*later, *first):
        generator.add(one)
    running = {output.request_id for output in first_outputs(generator)}
    assert running == {one.request_id for one in (*first, *later[:4])}
    generator.abort([one.request_id for one in (*later, *first)])


def test_an_id_in_flight_is_refused(generator: Generator) -> None:
    one = request(prompt(generator))
    generator.add(one)
    with pytest.raises(BackendError, match=one.request_id):
        generator.add(one)
    generator.abort([one.request_id])


def test_a_prompt_without_room_for_one_token_is_refused(generator: Generator) -> None:
    longest = generator.max_model_len
    filler = generator.tokenizer.encode("x")[:1]
    for length in (longest, longest + 1):
        with pytest.raises(CapacityError, match="max_model_len") as caught:
            generator.add(request(filler * length))
        assert caught.value.role == "generator"
    assert generator.num_unfinished() == 0
    (last,) = decode(generator, [request(filler * (longest - 1))])
    assert len(last) == 1


def test_a_repeated_prompt_comes_from_the_prefix_cache(generator: Generator) -> None:
    start = prompt(generator, "Tom sells pears, plums and figs at the market each day. " * 3)

    def num_cached() -> int:
        generator.add(request(start, max_tokens=1))
        (output,) = first_outputs(generator)
        return output.num_cached_tokens

    first, second = num_cached(), num_cached()
    assert first <= second < len(start)
    assert second > 0


def test_pressure_tells_blocks_held_and_preemptions(generator: Generator) -> None:
    idle = generator.pressure()
    requests = [request(prompt(generator), seed=seed) for seed in range(16)]
    for one in requests:
        generator.add(one)
    first_outputs(generator)
    running = generator.pressure()
    assert 0 <= idle.kv_cache_usage < running.kv_cache_usage <= 1
    assert running.num_preemptions == idle.num_preemptions
    preempt(generator)
    num_preempted = generator.pressure().num_preemptions - idle.num_preemptions
    assert 0 < num_preempted <= len(requests)  # answers that ended at once are not among them
    generator.abort([one.request_id for one in requests])
    assert generator.pressure().kv_cache_usage == pytest.approx(idle.kv_cache_usage)


def logprobs_of(generator: Generator, asked: GenerationRequest) -> tuple[list[int], list[Any]]:
    """Tokens of one request, and what is reported beside each."""
    generator.add(asked)
    token_ids: list[int] = []
    logprobs: list[Any] = []
    while generator.num_unfinished():
        for output in generator.step():
            token_ids += output.token_ids
            logprobs += output.logprobs
    return token_ids, logprobs


@pytest.mark.parametrize("sampling", [GREEDY, WARM, FILTERED])
def test_logprobs_are_reported_and_change_nothing(generator: Generator, sampling: Sampling) -> None:
    start, num = prompt(generator), 3
    asked = request(start, sampling=sampling)
    token_ids, none = logprobs_of(generator, asked)
    assert none == []
    again = replace(asked, request_id="with logprobs", num_logprobs=num)
    found_ids, logprobs = logprobs_of(generator, again)
    assert found_ids == token_ids
    assert len(logprobs) == len(token_ids)
    for token_id, found in zip(token_ids, logprobs, strict=True):
        assert found.token_id == token_id
        values = [value for _, value in found.likeliest]
        assert values == sorted(values, reverse=True)
        assert len(values) >= num
        assert found.logprob <= values[0] <= 0.0 + 1e-6
        if sampling is GREEDY:
            assert found.logprob == values[0]


def test_logprobs_are_those_of_the_model(generator: Generator) -> None:
    """They are of the model's own distribution, whatever the temperature."""
    start = prompt(generator)
    _, cold = logprobs_of(generator, replace(request(start, sampling=GREEDY), num_logprobs=5))
    hot = replace(request(start, sampling=FILTERED, max_tokens=1), num_logprobs=5)
    _, warm = logprobs_of(generator, hot)
    assert warm[0].likeliest[:5] == cold[0].likeliest[:5]
    assert warm[0].distribution == pytest.approx(cold[0].distribution, abs=1e-4)


def test_distributions_are_of_all_tokens(generator: Generator) -> None:
    """Not of those alone that are reported beside a token, and within what these allow."""
    start = prompt(generator)
    found: dict[int, list[TokenLogprobs]] = {}
    for num in (0, 5):
        found[num] = logprobs_of(generator, replace(request(start), num_logprobs=num))[1]
    for alone, one in zip(found[0], found[5], strict=True):
        assert alone.distribution == pytest.approx(one.distribution, abs=1e-4)
        known = -sum(math.exp(value) * value for _, value in one.likeliest)
        assert one.distribution.entropy >= known - 1e-4
        assert 0 <= one.distribution.self_certainty < 40


def test_requests_with_and_without_logprobs_share_a_batch(generator: Generator) -> None:
    start = prompt(generator)
    nums = (None, 0, 2, 5)
    asked = [replace(request(start, seed=n), num_logprobs=num) for n, num in enumerate(nums)]
    for one in asked:
        generator.add(one)
    found: dict[str, list[Any]] = {one.request_id: [] for one in asked}
    tokens: dict[str, list[int]] = {}
    while generator.num_unfinished():
        outputs = generator.step()
        collect(outputs, tokens)
        for output in outputs:
            found[output.request_id] += output.logprobs
    for one in asked:
        reported = found[one.request_id]
        if one.num_logprobs is None:
            assert reported == []
        else:
            assert [row.token_id for row in reported] == tokens[one.request_id]
            assert all(len(row.likeliest) >= one.num_logprobs for row in reported)


def test_after_close_everything_is_refused(generator: Generator) -> None:
    """Last in this file: the generator is of no use afterwards."""
    generator.add(request(prompt(generator)))
    generator.close()
    generator.close()
    assert generator.num_unfinished() == 0
    with pytest.raises(BackendError, match="closed"):
        generator.step()
    with pytest.raises(BackendError, match="closed"):
        generator.add(request([1, 2, 3]))
    generator.abort(["request-0"])
