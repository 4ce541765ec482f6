"""The loop on the fake backend: who goes first, whose fault a failure is, and what it cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import pytest

from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, search_config
from fasttts.errors import BackendError, ContractError
from fasttts.interfaces import GenerationOutput, Verification, VerificationRequest
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.usage import Account, plain_occupancy
from fasttts.scheduling.verifier_batching import early_batch_tokens
from tests.searches import LateVerifier, Recorder, alone, drive, make_run, same_tree, snapshot


def test_a_cancelled_search_frees_its_slots_and_changes_nobody() -> None:
    config = search_config(n=8, max_tokens=100)
    generator = FakeGenerator(max_num_seqs=12)
    loop = Loop(generator, FakeVerifier())
    kept, dropped = (make_run(generator, text, config) for text in "ab")
    recorders = [Recorder(), Recorder()]
    loop.submit(kept, recorders[0])
    loop.submit(dropped, recorders[1])
    reason = RuntimeError("no longer wanted")

    def cancel(iteration: int) -> None:
        if iteration == 5:
            loop.cancel(dropped, reason)
            loop.check_integrity()
            loop.cancel(dropped, reason)  # a second time has no effect

    drive(loop, cancel)
    assert recorders[0].outcomes == [None]
    assert recorders[1].outcomes == [reason]
    assert same_tree(kept, alone("a", config))


def test_plain_decodings_go_before_searches() -> None:
    generator = FakeGenerator(max_num_seqs=4)
    loop = Loop(generator, FakeVerifier())
    for text in "abc":
        loop.submit(make_run(generator, text, search_config(n=8, max_tokens=200)), Recorder())
    loop.step()
    recorder = Recorder()
    loop.submit(make_run(generator, "x", search_config(search="none", max_tokens=5)), recorder)
    iterations = 0
    while not recorder.outcomes:
        loop.step()
        iterations += 1
    assert iterations < 60  # it waits for one step of one beam to end, not for three searches


class FaultyVerifier(FakeVerifier):
    """Fails for one problem, in one of several ways."""

    def __init__(self, problem: str, fault: str) -> None:
        super().__init__()
        self.problem, self.fault, self.num_calls = problem, fault, 0

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        self.num_calls += 1
        answers = super().score(requests)
        if all(request.problem != self.problem for request in requests):
            return answers
        if self.fault == "raises":
            raise ZeroDivisionError("by the user's function")
        if self.fault == "few":
            return answers[:-1]
        bad = {"nan": (float("nan"),), "count": (), "range": (1.5,)}[self.fault]
        return [
            replace(a, scores=bad) if r.problem == self.problem else a
            for a, r in zip(answers, requests, strict=True)
        ]


@pytest.mark.parametrize("fault", ["raises", "few", "nan", "count", "range"])
def test_a_verifier_fault_ends_only_the_search_it_concerns(fault: str) -> None:
    config = search_config(n=4, max_tokens=60)
    generator = FakeGenerator()
    loop = Loop(generator, FaultyVerifier("b", fault))
    runs = [make_run(generator, text, config) for text in "abc"]
    recorders = [Recorder() for _ in runs]
    for run, recorder in zip(runs, recorders, strict=True):
        loop.submit(run, recorder)
    drive(loop)
    assert recorders[0].outcomes == recorders[2].outcomes == [None]
    (error,) = recorders[1].outcomes
    assert isinstance(error, BackendError)
    assert error.role == "verifier"
    assert isinstance(error, ContractError) == (fault != "raises")
    assert same_tree(runs[0], alone("a", config))


class RetryableVerifier(FakeVerifier):
    """Fails a number of times before it works."""

    def __init__(self, num_failures: int) -> None:
        super().__init__()
        self.num_failures = num_failures

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        self.num_failures -= 1
        if self.num_failures >= 0:
            raise BackendError("busy", role="verifier", retryable=True)
        return super().score(requests)


@pytest.mark.parametrize(("num_failures", "is_ok"), [(2, True), (1000, False)])
def test_a_retryable_failure_is_tried_three_times(num_failures: int, is_ok: bool) -> None:
    generator = FakeGenerator()
    loop, recorder = Loop(generator, RetryableVerifier(num_failures)), Recorder()
    loop.submit(make_run(generator, "a", search_config(n=4, max_tokens=60)), recorder)
    drive(loop)
    assert (recorder.outcomes == [None]) == is_ok


class DyingGenerator(FakeGenerator):
    """Fails at a given iteration and loses what it held."""

    def __init__(self, dies_at: int) -> None:
        super().__init__(max_num_seqs=4)
        self.dies_at = dies_at

    def step(self) -> list[GenerationOutput]:
        self.dies_at -= 1
        if self.dies_at == 0:
            self.abort(list(self._sequences))
            raise BackendError("out of memory", role="generator")
        return super().step()


def test_a_generator_failure_ends_the_searches_it_was_running() -> None:
    generator = DyingGenerator(dies_at=2)
    loop = Loop(generator, FakeVerifier())
    config = search_config(n=4, max_tokens=60)
    recorders = [Recorder(), Recorder()]
    runs = [make_run(generator, text, config) for text in "ab"]
    for run, recorder in zip(runs, recorders, strict=True):
        loop.submit(run, recorder)
    drive(loop)
    (error,) = recorders[0].outcomes
    assert isinstance(error, BackendError)
    assert error.role == "generator"
    assert recorders[1].outcomes == [None]  # it was still waiting for slots
    assert same_tree(runs[1], alone("b", config))


@pytest.mark.parametrize("scheduling", [PLAIN, SchedulingConfig()])
def test_counts_add_up(scheduling: SchedulingConfig) -> None:
    generator = FakeGenerator()
    loop = Loop(generator, FakeVerifier(), scheduling)
    run = make_run(generator, "abc", search_config(n=8, max_tokens=100))
    recorder = Recorder()
    loop.submit(run, recorder)
    iterations = drive(loop)
    needed = sum(len(node.token_ids) for node in run.tree)
    assert run.counts.num_iterations == iterations
    assert run.counts.generated_tokens - needed >= 0
    assert (run.counts.generated_tokens > needed) == scheduling.speculation
    assert any(node.num_speculated_tokens for node in run.tree) == scheduling.speculation
    assert recorder.num_commits == max(node.depth for node in run.tree)


@pytest.mark.parametrize("slots", [3, 8, 40])
def test_the_plain_loops_iterations_follow_from_the_tree(slots: int) -> None:
    config = search_config(n=16, seed=2, max_tokens=100)
    found = []
    for scheduling in (PLAIN, SchedulingConfig()):
        loop = Loop(FakeGenerator(), FakeVerifier(), scheduling.model_copy(update={"slots": slots}))
        run = make_run(FakeGenerator(), "abc", config)
        loop.submit(run, Recorder())
        drive(loop)
        found.append(run)
    plain, fast = found
    assert plain_occupancy(fast.tree, slots) == tuple(plain.counts.num_required)
    assert sum(plain.counts.num_speculative) == 0
    if slots > 3:
        assert fast.counts.num_iterations < plain.counts.num_iterations


@pytest.mark.parametrize("rule", ["score", "likely", "measured"])
def test_a_large_frontier_gives_the_tree_of_the_plain_loop(
    rule: Literal["score", "likely", "measured"],
) -> None:
    """With so many slots, what runs ahead is not chosen anew at every batch of scores."""
    config = search_config(n=192, seed=5, max_tokens=60)
    fast = SchedulingConfig(speculation_rule=rule, verification_batch_tokens=200)
    found = []
    for scheduling in (PLAIN, fast):
        generator = FakeGenerator(max_num_seqs=192)
        loop = Loop(generator, FakeVerifier(), scheduling)
        found.append(make_run(generator, "abc", config))
        loop.submit(found[-1], Recorder())
        drive(loop)
    plain, ahead = found
    assert same_tree(ahead, snapshot(plain))
    assert ahead.counts.num_iterations < plain.counts.num_iterations


def test_early_batches_follow_the_beams_unless_they_hold_nobody_up() -> None:
    assert [early_batch_tokens(beams) for beams in (8, 32, 64, 512)] == [256, 512, 1024, 1024]
    assert early_batch_tokens(512, is_beside=True) == 256


def test_a_verifier_beside_the_generator_costs_only_what_is_waited_for() -> None:
    now = [0.0]

    class Slow(FakeGenerator):
        def step(self) -> list[GenerationOutput]:
            now[0] += 1.0
            return super().step()

    verifier = LateVerifier(2, is_serial=True)
    scheduling = SchedulingConfig(verification_batch_tokens=1)
    generator = Slow()
    account = Account()
    loop = Loop(generator, verifier, scheduling, clock=lambda: now[0], account=account)
    run = make_run(generator, "a", search_config(n=8, max_tokens=100))
    loop.submit(run, Recorder())
    drive(loop, lambda _: verifier.tick())
    usage = account.snapshot()
    assert run.counts.num_verifications
    assert run.counts.generation_s == usage.generation_s == run.counts.num_iterations
    assert run.counts.verification_s == usage.verification_s == 0
