"""The generator's confidence as a verifier: values, bounds, faults, and which tokens it reads."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttts import ConfigurationError, ContractError, FastTTS
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.check import Check, Deadline, word_problems
from fasttts.check.step_rules import step_logprobs
from fasttts.config import SIGNALS as NAMES
from fasttts.config import SchedulingConfig, SearchConfig, engine_config, search_config
from fasttts.decoding.distribution import distribution
from fasttts.decoding.reader import ReadingRules, place_tokens
from fasttts.decoding.steps import StepRule
from fasttts.engine.result_cache import ResultCache
from fasttts.interfaces import (
    GenerationOutput,
    GenerationRequest,
    Verification,
    VerificationRequest,
)
from fasttts.routing import Always, Cascade, Router, RoutingPolicy
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.search.aggregation import on_grid
from fasttts.tree import Node
from fasttts.types import Distribution, Step, TokenLogprob, TokenLogprobs
from fasttts.verifiers import (
    Entropy,
    Gate,
    LowestConfidence,
    Mean,
    MeanConfidence,
    Minimum,
    Perplexity,
    SelfCertainty,
    Signal,
)
from fasttts.verifiers.resolve import as_verifier, joint_num_logprobs, reads_any_distribution
from fasttts.verifiers.signals import FLOOR, SIGNALS
from tests.searches import Recorder, alone, drive, make_run

QUESTION = "What is 2 + 2?"
VOCABULARY = 50


def table(rows_TV: Sequence[Sequence[float]], tokens: Sequence[int]) -> list[TokenLogprobs]:
    """What a generator reports beside tokens drawn from the distributions of these logits."""
    found = []
    for logits, token in zip(np.asarray(rows_TV, dtype=np.float64), tokens, strict=True):
        logprobs = logits - np.logaddexp.reduce(logits)
        order = np.argsort(-logprobs, kind="stable")[:20]
        likeliest = [(int(i), float(logprobs[i])) for i in order]
        whole = distribution(logprobs)
        found.append(TokenLogprobs(token, float(logprobs[token]), likeliest, whole))
    return found


def token(
    logprob: float, *likeliest: float, whole: tuple[float, float] | None = (1.0, 1.0)
) -> TokenLogprobs:
    """A reported token of these log-probabilities."""
    pairs = [(7, each) for each in likeliest]
    return TokenLogprobs(3, logprob, pairs, None if whole is None else Distribution(*whole))


def score(signal: Signal, *steps: Sequence[TokenLogprobs]) -> tuple[float, ...]:
    texts = tuple(str(number) for number in range(len(steps)))
    (found,) = signal.score([VerificationRequest(problem="p", steps=texts, logprobs=steps)])
    return found.scores


LOGITS = st.lists(
    st.lists(st.floats(-15, 15), min_size=VOCABULARY, max_size=VOCABULARY),
    min_size=1,
    max_size=40,
)


@given(LOGITS, st.integers(1, 30), st.integers(2, 20))
def test_values_are_those_of_the_definitions(
    rows_TV: list[list[float]], window: int, top_k: int
) -> None:
    tokens = [int(abs(row[0]) * 7) % VOCABULARY for row in rows_TV]
    step = table(rows_TV, tokens)
    p_TV = np.exp(rows_TV - np.logaddexp.reduce(rows_TV, axis=1, keepdims=True))
    own_T = p_TV[np.arange(len(tokens)), tokens]
    top_TK = -np.sort(-p_TV, axis=1)[:, :top_k]
    confidence_T = -np.log(np.maximum(top_TK, math.exp(FLOOR))).mean(axis=1)
    size = min(window, len(tokens))
    lowest = min(confidence_T[i : i + size].mean() for i in range(len(tokens) - size + 1))
    log_TV = np.log(p_TV)
    certainty = (-log_TV.mean(axis=1) - math.log(VOCABULARY)).mean()  # KL(U || p)
    entropy = -(p_TV * log_TV).sum(axis=1).mean()
    approximate = pytest.approx
    assert score(Perplexity(), step)[0] == approximate(math.exp(np.log(own_T).mean()))
    assert score(MeanConfidence(top_k), step)[0] == approximate(confidence_T.mean() / 40)
    assert score(LowestConfidence(top_k, window), step)[0] == approximate(lowest / 40)
    assert score(SelfCertainty(), step)[0] == approximate(max(certainty, 0) / 40, abs=1e-9)
    assert score(Entropy(), step)[0] == approximate(math.exp(-entropy))


@pytest.mark.parametrize("name", NAMES)
def test_more_confident_is_higher(name: str) -> None:
    signal = SIGNALS[name]()
    peaks = [table([[peak, *[0.0] * (VOCABULARY - 1)]], [0]) for peak in (0.0, 2.0, 6.0, 12.0)]
    found = [score(signal, step)[0] for step in peaks]
    assert found == sorted(found)
    assert 0 <= found[0] < found[-1] <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("logit", [0.0, 30.0, 500.0, -math.inf])
def test_extremes_stay_in_range(name: str, logit: float) -> None:
    """A token that a grammar forces may be impossible for the model; the others may be, too."""
    with np.errstate(invalid="ignore"):
        sure = table([[0.0, *[-math.inf] * (VOCABULARY - 1)]], [1])
        step = table([[logit, *[0.0] * (VOCABULARY - 1)]], [0])
    for each in (sure, step, sure + step, step * 40):
        (found,) = score(SIGNALS[name](), each)
        assert 0 <= found <= 1


def test_minus_infinity_counts_as_the_floor() -> None:
    (found,) = score(Perplexity(), [token(-math.inf), token(0.0)])
    assert found == pytest.approx(math.exp(FLOOR / 2))
    sure = table([[0.0, *[-math.inf] * (VOCABULARY - 1)]], [0])
    expected = (-FLOOR * (VOCABULARY - 1) / VOCABULARY - math.log(VOCABULARY)) / 40
    assert score(SelfCertainty(), sure) == (pytest.approx(expected),)
    assert score(Entropy(), sure) == (pytest.approx(1.0),)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.5])
def test_what_is_no_probability_is_refused(name: str, value: float) -> None:
    step = [token(value, *[value] * 20)]
    with pytest.raises(ContractError, match=r"reports (nan|inf|0.5) as the log-probability of to"):
        score(SIGNALS[name](), step)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_without_tokens_has_no_evidence(name: str) -> None:
    assert score(SIGNALS[name](), [], [token(*[-0.1] * 21)])[0] == 0.0
    known = VerificationRequest(problem="p", steps=("a",), num_scored=1)
    assert SIGNALS[name]().score([known]) == [Verification(scores=())]


def test_more_columns_than_asked_for_change_nothing() -> None:
    """A generator reports as many as any request of the batch asks for."""
    step = table([list(np.linspace(-2, 2, VOCABULARY))] * 2, [1, 2])
    cut = [found._replace(likeliest=found.likeliest[:5]) for found in step]
    for signal in (MeanConfidence(5), SelfCertainty(), Entropy(), Perplexity()):
        assert score(signal, step) == score(signal, cut)


def test_missing_log_probabilities_are_a_fault() -> None:
    asked = VerificationRequest(problem="p", steps=("a", "b"))
    with pytest.raises(ContractError, match="of 2 steps are missing"):
        Perplexity().score([asked])
    with pytest.raises(ContractError, match="1 steps instead of 2"):
        Perplexity().score(
            [VerificationRequest(problem="p", steps=("a", "b"), logprobs=([token(0.0)],))]
        )
    with pytest.raises(ContractError, match="none of the 20 likeliest"):
        score(MeanConfidence(), [token(0.0)])


@pytest.mark.parametrize("signal", [SelfCertainty(), Entropy()])
@pytest.mark.parametrize(
    "whole", [None, (math.nan, 0.5), (0.5, math.inf), (-0.5, 0.5), (0.5, -0.5)]
)
def test_numbers_that_no_distribution_has_are_a_fault(
    signal: Signal, whole: tuple[float, float] | None
) -> None:
    with pytest.raises(ContractError, match="of the distribution of a token"):
        score(signal, [token(0.0, whole=whole)])
    assert score(Perplexity(), [token(0.0, whole=whole)]) == (1.0,)


class Silent(FakeGenerator):
    """Reports no log-probabilities, whoever asks."""

    def step(self) -> list[GenerationOutput]:
        return [output._replace(logprobs=()) for output in super().step()]


def test_a_generator_that_reports_none_ends_the_search() -> None:
    with (
        FastTTS(Silent(), "perplexity") as engine,
        pytest.raises(ContractError, match="the generator reports none"),
    ):
        engine.search(QUESTION, n=4)


@pytest.mark.parametrize("top_k", [1, 0, -1, 21, 2.0, True, "5", None])
@pytest.mark.parametrize("signal", [MeanConfidence, LowestConfidence])
def test_impossible_settings_are_refused(signal: Any, top_k: object) -> None:
    with pytest.raises(ConfigurationError, match="make it 2 to 20"):
        signal(top_k)


@pytest.mark.parametrize("window", [0, -3, 1.5, True, None])
def test_impossible_groups_are_refused(window: Any) -> None:
    with pytest.raises(ConfigurationError, match="one token or more"):
        LowestConfidence(window=window)


class Asks(FakeVerifier):
    num_logprobs: Any = None


@pytest.mark.parametrize("number", [-1, 21, 1.0, True, "2"])
def test_a_users_verifier_asks_for_what_there_is(number: object) -> None:
    verifier = Asks()
    verifier.num_logprobs = number
    with pytest.raises(ConfigurationError, match="num_logprobs"):
        FastTTS(FakeGenerator(), verifier)


# --- names ----------------------------------------------------------------------------------------


def test_names_stand_for_signals() -> None:
    assert [as_verifier(name).name for name in NAMES] == list(NAMES) == list(SIGNALS)
    for name in NAMES:
        assert engine_config(generator="g", verifier=name).verifier_model is None


def test_settings_are_in_name_and_fingerprint() -> None:
    signals = [
        MeanConfidence(),
        MeanConfidence(5),
        LowestConfidence(),
        LowestConfidence(5),
        LowestConfidence(window=5),
        LowestConfidence(5, 5),
        Perplexity(),
        Entropy(),
        SelfCertainty(),
    ]
    assert len({signal.fingerprint for signal in signals}) == len(signals)
    assert LowestConfidence(5, 6).name == "lowest_confidence(top_k=5, window=6)"


class Own(Signal):
    """The probability of a step's first token."""

    rule = "first"

    def rate(self, tokens: Sequence[TokenLogprobs]) -> float:
        return math.exp(tokens[0].logprob)


def test_a_signal_of_ones_own() -> None:
    own = Own(0, least=0)
    assert own.fingerprint is None
    assert score(own, [token(math.log(0.25)), token(-9.0)]) == (pytest.approx(0.25),)
    with FastTTS(FakeGenerator(), own) as engine:
        assert engine.search(QUESTION, n=4).verifier == "first"


def test_combinations_read_what_their_parts_do() -> None:
    assert joint_num_logprobs(Mean("perplexity", FakeVerifier())) == 0
    assert (
        joint_num_logprobs(Gate(MeanConfidence(7), Minimum("perplexity", MeanConfidence(3)))) == 7
    )
    assert joint_num_logprobs(Mean("entropy", "self_certainty")) == 0
    assert joint_num_logprobs(FakeVerifier()) is None
    assert reads_any_distribution(Gate("perplexity", Mean("perplexity", "entropy")))
    assert not reads_any_distribution(Mean("perplexity", "mean_confidence", FakeVerifier()))
    step = table([[1.0] * VOCABULARY] * 3, [1, 2, 3])
    sure = table([[30.0, *[0.0] * (VOCABULARY - 1)]] * 3, [0, 0, 0])
    asked = VerificationRequest(problem="p", steps=("a", "b", "c"), logprobs=(step, sure, step))
    (found,) = Gate("perplexity", "entropy", threshold=0.9).score([asked])
    expected = score(Perplexity(), step)[0], score(Entropy(), sure)[0]
    assert found.scores == (expected[0], expected[1], expected[0])


# --- in a search ----------------------------------------------------------------------------------


class Remembering(FakeGenerator):
    """Keeps what it reported, by the tokens before and the token."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prefixes: dict[str, list[int]] = {}
        self.reported: dict[tuple[int, ...], TokenLogprobs] = {}

    def add(self, request: GenerationRequest) -> None:
        super().add(request)
        self.prefixes[request.request_id] = list(request.prompt_token_ids)

    def step(self) -> list[GenerationOutput]:
        outputs = super().step()
        for output in outputs:
            prefix = self.prefixes[output.request_id]
            for token_id, found in zip(output.token_ids, output.logprobs, strict=True):
                prefix.append(token_id)
                self.reported[tuple(prefix)] = found
        return outputs

    def reported_of(self, node: Node, run: SearchRun) -> list[TokenLogprobs]:
        """What it reported beside the tokens of a node."""
        before = run.tree.token_ids_before(node)
        ends = range(len(before) - len(node.token_ids) + 1, len(before) + 1)
        return [self.reported[tuple(before[:end])] for end in ends]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("search", ["beam_search", "best_of_n", "dvts", "deepconf"])
@pytest.mark.parametrize("aggregation", ["mean", "model"])
def test_scores_are_those_of_the_reported_tokens(name: str, search: str, aggregation: str) -> None:
    """Whatever is preempted, restarted and speculated meanwhile."""
    generator, signal = Remembering(num_blocks=60, block_size=8), SIGNALS[name]()
    config = search_config(
        search=search, n=8, beam_width=2, aggregation=aggregation, max_tokens=80, max_depth=6
    )
    loop = Loop(generator, signal, SchedulingConfig(slots=7))
    run = make_run(generator, QUESTION, config, joint_num_logprobs(signal))
    loop.submit(run, Recorder())
    drive(loop, lambda number: generator.preempt_all() if number % 5 == 0 else None)
    num_compared = 0
    for node in run.tree:
        if node.scores_S and (aggregation == "model" or len(node.steps) == 1):
            read = node.lineage() if aggregation == "model" else [node]
            tokens = [one for each in read for one in generator.reported_of(each, run)]
            assert set(node.scores_S) == {on_grid(score(signal, tokens)[0])}
            num_compared += 1
    assert num_compared > 1


def test_a_whole_answer_has_the_tokens_of_its_steps() -> None:
    """Best-of-n scores a text at each of its steps as beam search does where they end."""
    text = "one and two\n\nthree\n\nfour"

    def searched(search: str) -> tuple[Step, ...]:
        with FastTTS(FakeGenerator(lambda prompt: text), "perplexity") as engine:
            return engine.search(QUESTION, search=search, n=4).candidates[0].steps

    assert searched("best_of_n") == searched("beam_search")
    assert len(searched("best_of_n")) == 3


@given(
    st.text(alphabet="ab\n é", max_size=40),
    st.sampled_from([StepRule(), StepRule(separator="b"), StepRule(num_tokens=3)]),
    st.sampled_from([None, 1, 2, 3]),
)
def test_every_token_belongs_to_a_step(text: str, rule: StepRule, num_steps: int | None) -> None:
    tokenizer = FakeTokenizer()
    token_ids = [*tokenizer.encode(text), 256]
    rules = ReadingRules(tokenizer, rule)
    steps = rules.split(token_ids, text, num_steps)
    spans = rules.spans(token_ids, text, num_steps)
    assert len(spans) == len(steps)
    assert all(begin < end for begin, end in spans)
    covered = {i for begin, end in spans for i in range(begin, end)}
    assert covered == (set(range(len(token_ids))) if steps else set())
    if rule.num_tokens is None:
        for step, (begin, end) in zip(steps, spans, strict=True):
            assert step in tokenizer.decode(token_ids[begin:end])


def test_a_token_that_spans_steps_belongs_to_each() -> None:
    assert place_tokens([2, 6, 2, 0], [0, 3, 5, 8]) == ((0, 2), (1, 2), (1, 2), (2, 4))
    assert place_tokens([3, 3], [0, 3]) == ((0, 1), (1, 2))
    assert place_tokens([0, 0, 3], [0]) == ((0, 3),)


def test_results_with_a_signal_are_cached(tmp_path: Any) -> None:
    results = []
    for signal in ("perplexity", "perplexity", "entropy", MeanConfidence(5), MeanConfidence(6)):
        with FastTTS(FakeGenerator(), signal, cache=ResultCache(tmp_path)) as engine:
            results.append(engine.search(QUESTION, n=4, selection="weighted"))
    assert [result.usage.is_cached for result in results] == [False, True, False, False, False]
    assert results[0].candidates == results[1].candidates
    assert results[0].verifier == "perplexity"
    assert results[0].numerics == "deterministic"


def test_a_signal_costs_no_pass_of_a_model() -> None:
    with FastTTS(FakeGenerator(), "mean_confidence") as engine:
        usage = engine.search(QUESTION, n=4).usage
    assert usage.verifier_computed_tokens == usage.verifier_cached_tokens == 0
    assert usage.num_verifications > 0


def test_a_search_that_scores_nothing_asks_for_nothing() -> None:
    asked: list[int | None] = []

    class Counting(FakeGenerator):
        def add(self, request: GenerationRequest) -> None:
            asked.append(request.num_logprobs)
            super().add(request)

    with FastTTS(Counting(), "mean_confidence") as engine:
        engine.search(QUESTION, n=4, search="self_consistency")
        engine.search(QUESTION, search="none")
        assert set(asked) == {None}
        engine.search(QUESTION, search="none", num_logprobs=2)
        assert asked[-1] == 2
        engine.search(QUESTION, n=2, search="best_of_n", selection="best")
    assert asked[-1] == 20


@pytest.mark.parametrize("num_tokens", [5, 30, 90, 200])
@pytest.mark.parametrize("aggregation", ["last", "model"])
def test_a_path_that_is_finished_after_its_budget(num_tokens: int, aggregation: str) -> None:
    """It is cut where the budget ends, and goes on from there without scores."""
    config = search_config(
        search="beam_search",
        n=4,
        budget={"tokens": num_tokens, "grace_tokens": 60},
        aggregation=aggregation,
        max_tokens=100,
    )
    assert alone("b", config, verifier=SIGNALS["entropy"]())


def test_structured_answers_are_scored_before_the_grammar() -> None:
    """Tokens that the grammar forces have the probabilities that the model gives them."""
    with FastTTS(FakeGenerator(), "perplexity") as engine:
        result = engine.search(QUESTION, n=4, structured_outputs={"regex": "[0-9]{3}"})
    assert result.score is not None
    assert result.score < 1e-3


@pytest.mark.parametrize("policy", [Always(with_draft=True), Cascade(threshold=0.5)])
def test_a_router_scores_its_drafts_by_a_signal(policy: RoutingPolicy) -> None:
    """A draft's steps are scored where they are written, and those that are kept stay so."""
    for aggregation in ("last", "model"):
        with FastTTS(FakeGenerator(), "mean_confidence") as engine:
            options = {"n": 4, "max_tokens": 80, "aggregation": aggregation}
            results = [Router(engine, policy).search(QUESTION, **options, seed=i) for i in range(4)]
        assert all(result.score is not None for result in results)


@pytest.mark.parametrize("name", NAMES)
def test_a_check_scores_by_a_signal(name: str) -> None:
    """Its samples come with log-probabilities, and are those that it draws without a verifier."""
    config, problems = SearchConfig(search="best_of_n", n=1, max_tokens=60), word_problems(0, 2)
    checks = []
    for verifier in (name, None):
        with FastTTS(FakeGenerator(), verifier) as engine:
            check = Check(engine, problems, config, system=None, deadline=Deadline(600.0))
            check.run()
            checks.append(check.measured)
    found, _ = checks
    texts = [sorted((one.problem, one.text) for one in each.samples) for each in checks]
    assert texts[0] == texts[1]
    assert found.num_to_score == len(found.scores) > 0
    for index, scores in found.scores.items():
        assert len(scores) == len(found.steps[index])
        assert all(0 < one < 1 for one in scores)


def test_steps_of_a_check_have_their_tokens() -> None:
    tokens = [
        TokenLogprob(text=text, logprob=-n, likeliest=())
        for n, text in enumerate(["a", " b", "\n\nc", "d", "\n\n", ""])
    ]
    found = step_logprobs(tokens, SearchConfig(), FakeTokenizer())
    assert [[one.logprob for one in step] for step in found] == [[0, -1, -2], [-2, -3, -4, -5]]
    assert step_logprobs([], SearchConfig(), FakeTokenizer()) == ()
