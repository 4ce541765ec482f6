"""One tree with every signal, and with answers that are stopped, whatever runs beside a search."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fasttts.backends.fake import FakeGenerator
from fasttts.config import SIGNALS as NAMES
from fasttts.config import SchedulingConfig, SearchConfig, search_config
from fasttts.errors import BackendError
from fasttts.interfaces import (
    GenerationOutput,
    Generator,
    Verification,
    VerificationRequest,
    Verifier,
    fingerprint,
)
from fasttts.scheduling.loop import Loop
from fasttts.testing.faults import FaultyGenerator
from fasttts.verifiers import Gate, LowestConfidence, Mean, MeanConfidence
from fasttts.verifiers.resolve import as_verifier, joint_num_logprobs
from tests.drafters import Mixed
from tests.searches import (
    LateVerifier,
    Recorder,
    alone,
    drive,
    make_run,
    marked_generator,
    same_tree,
)
from tests.unit.test_exactness import CONFIGS, POOLS, SCHEDULING


def half(problem: str, steps: Sequence[str]) -> float:
    return 0.5


SIGNALS = st.sampled_from(
    [
        *NAMES,
        LowestConfidence(5, window=3),
        Mean("perplexity", half),
        Gate("mean_confidence", MeanConfidence(3), threshold=0.2),
    ]
)


class LateSignal(LateVerifier):
    """A signal whose scores are late."""

    def __init__(self, signal: Verifier, num_ticks: int) -> None:
        super().__init__(num_ticks, is_serial=False)
        self._signal = signal
        self.num_logprobs = joint_num_logprobs(signal)

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        return self._signal.score(requests)


def stopping(config: SearchConfig, seed: int) -> SearchConfig:
    """The same search as one that stops answers."""
    options: dict[str, Any] = {
        "search": "deepconf",
        "warmup": 1 + seed % 3,
        "keep": (0.3, 0.9, 1.0)[seed % 3],
        "stop_below": (None, None, 0.1, 0.3, 1.0)[seed % 5],
        "selection": None,
    }
    return search_config(config, **options)


SEARCHES = st.tuples(
    st.sampled_from("abc"),
    CONFIGS
    | st.builds(stopping, CONFIGS, st.integers(0, 14))
    | st.builds(
        lambda config, tokens, calls: search_config(
            config, budget={"tokens": tokens, "verifier_calls": calls, "grace_tokens": 30}
        ),
        CONFIGS,
        st.integers(20, 300),
        st.none() | st.integers(1, 20),
    ),
)


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.timeout(300)
@hypothesis_settings(max_examples=200)
@given(
    signal=SIGNALS.map(as_verifier),
    num_ticks=st.sampled_from([0, 0, 1, 5]),
    scheduling=SCHEDULING,
    is_late=st.booleans(),
    pool=POOLS,
    searches=st.lists(SEARCHES, min_size=1, max_size=3),
    preemptions=st.sets(st.integers(0, 60), max_size=5),
)
def test_a_search_with_a_signal_is_a_pure_function_of_its_inputs(
    *,
    signal: Verifier,
    num_ticks: int,
    scheduling: SchedulingConfig,
    is_late: bool,
    pool: tuple[int, int],
    searches: list[tuple[str, SearchConfig]],
    preemptions: set[int],
) -> None:
    generator = marked_generator(is_late=is_late, block_size=pool[0], num_blocks=pool[1])
    verifier = LateSignal(signal, num_ticks)
    loop = Loop(generator, verifier, scheduling, longest_wait_s=0)
    number = joint_num_logprobs(signal)
    runs = [make_run(generator, text, config, number) for text, config in searches]
    for run in runs:
        loop.submit(run, Recorder())

    def disturb(iteration: int) -> None:
        verifier.tick()
        if iteration in preemptions:
            generator.preempt_all()

    disturb(-1)
    drive(loop, disturb)
    for run, (text, config) in zip(runs, searches, strict=True):
        assert same_tree(run, alone(text, config, marked_generator(), signal))


def test_every_named_signal_has_a_fingerprint() -> None:
    """Without one no result of a search with it would be cached."""
    assert all(fingerprint(as_verifier(name)) for name in NAMES)


class Bunched(FakeGenerator):
    """Hands out the tokens of several iterations together, across the ends of steps."""

    def step(self) -> list[GenerationOutput]:
        found: dict[str, GenerationOutput] = {}
        for _ in range(3):
            for new in super().step():
                old = found.get(new.request_id)
                found[new.request_id] = new if old is None else _joined(old, new)
        return list(found.values())


def _joined(old: GenerationOutput, new: GenerationOutput) -> GenerationOutput:
    return old._replace(
        token_ids=(*old.token_ids, *new.token_ids),
        logprobs=(*old.logprobs, *new.logprobs),
        is_finished=new.is_finished,
    )


def drafting() -> FakeGenerator:
    """Drafts right and wrong tokens, where it is told to draft."""
    return FakeGenerator(max_draft_tokens=8, drafter=Mixed(0))


def failing() -> FaultyGenerator:
    """Loses its sequences now and then; they begin again with the tokens they have."""
    error = BackendError("the device was away", role="generator", retryable=True)
    return FaultyGenerator(drafting(), dict.fromkeys(range(4, 400, 9), error))


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("make_generator", [Bunched, failing])
@pytest.mark.parametrize("name", NAMES)
def test_interrupted_and_bunched_tokens_keep_their_log_probabilities(
    make_generator: Callable[[], Generator], name: str
) -> None:
    signal = as_verifier(name)
    for seed, options in enumerate(KINDS):
        config = search_config(
            **options, n=8, seed=seed, max_tokens=120, max_step_tokens=20, max_depth=8
        )
        scheduling = SchedulingConfig(slots=11, draft_rule="always")
        loop, recorder = Loop(make_generator(), signal, scheduling), Recorder()
        run = make_run(FakeGenerator(), "a", config, joint_num_logprobs(signal))
        loop.submit(run, recorder)
        drive(loop)
        assert recorder.outcomes == [None]
        assert same_tree(run, alone("a", config, verifier=signal))


KINDS: list[dict[str, Any]] = [
    {"search": "beam_search"},
    {"search": "best_of_n", "selection": "weighted"},
    {"search": "dvts", "aggregation": "model"},
    {"search": "deepconf", "aggregation": "min", "keep": 0.5},
    {"search": "lookahead", "step_tokens": 5},
]
