"""What is speculated: predictions are kept while nothing is known that could change them."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fasttts.answers.extraction import Extractor
from fasttts.config import SchedulingConfig, SearchConfig, search_config
from fasttts.scheduling import beams
from fasttts.scheduling import run as run_module
from fasttts.scheduling.groups import Group
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.scheduling.speculation import Guess, predict
from fasttts.search.beam import BeamSearch
from fasttts.types import Path
from tests.searches import LateVerifier, Recorder, drive, make_run, marked_generator

SEARCHES: list[dict[str, Any]] = [
    {"search": "beam_search", "n": 12, "beam_width": 3},
    {"search": "beam_search", "n": 8, "beam_width": 2, "aggregation": "mean"},
    {"search": "dvts", "n": 8, "beam_width": 4},
    {"search": "dynamic_branching", "n": 8},
    {"search": "varying_granularity", "n": 6, "beam_width": 2, "granularity": (2, 1)},
    {"search": "particle_filtering", "n": 6},
    {"search": "lookahead", "n": 4, "beam_width": 2},
    {"search": "best_of_n", "n": 6},
    {"search": "self_consistency", "n": 6},
    {"search": "deepconf", "n": 8},
    {"search": "dynasor", "n": 4, "thinking": True, "probe_interval": 6, "probe_tokens": 4},
]
"""Policies with one group and several, with answers and without."""

SCHEDULING = st.builds(
    SchedulingConfig,
    slots=st.integers(2, 30),
    speculation_rule=st.sampled_from(["score", "likely", "measured"]),
    speculation_depth=st.sampled_from([None, 1, 2]),
    verification_batch_tokens=st.sampled_from([1, 40, 200]),
    early_stop=st.booleans(),
    two_phase=st.booleans(),
)


def schedule(
    config: SearchConfig,
    scheduling: SchedulingConfig,
    late: int,
    extract: Extractor | None = None,
) -> list[Any]:
    """The steps that decode in each iteration of a search, in the order of their starts."""
    generator, verifier = marked_generator(), LateVerifier(late, is_serial=True)
    ticks = itertools.count()
    loop = Loop(generator, verifier, scheduling, clock=lambda: next(ticks) / 100, longest_wait_s=0)
    recorder, run = Recorder(), make_run(generator, "a", config, extract=extract)
    loop.submit(run, recorder)
    found: list[list[Path]] = []

    def note(_: int) -> None:
        verifier.tick()
        running = sorted((n.request_id, n.path) for n in run.nodes() if n.request_id is not None)
        found.append([path for _, path in running])

    drive(loop, note)
    assert recorder.outcomes == [None]
    return [*found, run.counts.num_iterations, run.counts.generated_tokens]


def anew(group: Group, *others: Any) -> Iterator[Guess]:
    """Predicts as if nothing had been predicted before."""
    group.prediction = None
    return predict(group, *others)


@pytest.mark.parametrize("options", SEARCHES, ids=[each["search"] for each in SEARCHES])
@hypothesis_settings(max_examples=12)
@given(scheduling=SCHEDULING, seed=st.integers(0, 9), late=st.integers(0, 4))
def test_a_kept_prediction_is_what_would_be_predicted_now(
    options: dict[str, Any], scheduling: SchedulingConfig, seed: int, late: int
) -> None:
    config = search_config(**options, seed=seed, max_tokens=100, max_step_tokens=20)
    kept = schedule(config, scheduling, late)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "predict", anew)
        assert schedule(config, scheduling, late) == kept


class Late(Future[Any]):
    """A call that has returned once it was looked at some times."""

    num_looks = 0

    def done(self) -> bool:
        self.num_looks += 1
        return self.num_looks > 3


class LatePool:
    """In place of the pool of users' functions."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, function: Callable[[], Any]) -> Late:
        call = Late()
        call.set_result(function())
        return call

    def close(self) -> None:
        pass


def test_answers_that_a_function_finds_are_news(monkeypatch: pytest.MonkeyPatch) -> None:
    config = search_config(search="self_consistency", n=16, wave_size=8, seed=1, max_tokens=200)
    take, forgotten = SearchRun.take_answers, []

    def taking(run: SearchRun) -> bool:
        (group,) = run._groups
        before = group.prediction
        if found := take(run):
            forgotten.append((before is not None, group.prediction is None))
        return found

    monkeypatch.setattr(beams, "DaemonPool", LatePool)
    monkeypatch.setattr(SearchRun, "take_answers", taking)
    schedule(config, SchedulingConfig(speculation_rule="score", slots=24), 0, lambda text: "7")
    assert (True, True) in forgotten
    assert all(is_forgotten for _, is_forgotten in forgotten)


def test_a_step_that_ends_asks_the_policy_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy is asked when scores arrive, however many steps end before."""
    config = search_config(search="beam_search", n=16, seed=1, max_tokens=200, max_step_tokens=20)
    scheduling = SchedulingConfig(speculation_rule="score", slots=16, early_stop=False)
    expand, asked = BeamSearch.expand, []

    def counting(self: BeamSearch, *given: Any) -> Any:
        asked.append(given)
        return expand(self, *given)

    monkeypatch.setattr(BeamSearch, "expand", counting)
    kept = schedule(config, scheduling, 3)
    num_kept = len(asked)
    monkeypatch.setattr(run_module, "predict", anew)
    assert schedule(config, scheduling, 3) == kept
    assert num_kept < (len(asked) - num_kept) / 2
