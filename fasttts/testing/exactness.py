"""Checks that searches with a policy have one tree under every schedule."""

from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, SchedulingConfig, SearchConfig
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRequest, SearchRun
from fasttts.testing.decisions import PolicyFactory
from fasttts.testing.searches import Recorder, drive, same_tree, snapshot

_SCHEDULES = (
    SchedulingConfig(),
    SchedulingConfig(slots=3),
    SchedulingConfig(speculation_rule="score", verification_batch_tokens=1),
    SchedulingConfig(speculation_rule="paper", slots=12),
    SchedulingConfig(speculation_rule="score", two_phase=False, early_stop=False),
    SchedulingConfig(speculation_rule="score", slots=20, speculation_depth=1, prefix_order=False),
    SchedulingConfig(speculation_rule="score", draft_rule="always"),
)
_BLOCKS = (4096, 60)
"""A KV cache that holds everything, and one in which sequences are preempted."""


def check_exactness(make_policy: PolicyFactory, *, num_searches: int = 20, seed: int = 0) -> None:
    """Checks on the fake backend that every schedule finds the tree of the plain loop.

    Args:
        make_policy: Makes a new policy, always the same one.
        num_searches: How many searches; each compares one schedule with the plain loop.
        seed: Seed of the first search; the others count up from it.

    Raises:
        AssertionError: A tree differs, or the loop's state is inconsistent.
    """
    for number in range(num_searches):
        config = SearchConfig(seed=seed + number, max_tokens=120, max_step_tokens=20, max_depth=8)
        scheduling = _SCHEDULES[number % len(_SCHEDULES)]
        num_blocks = _BLOCKS[number % len(_BLOCKS)]
        expected = snapshot(_search(make_policy, config, PLAIN, _BLOCKS[0]))
        found = _search(make_policy, config, scheduling, num_blocks)
        if not same_tree(found, expected):
            raise AssertionError(
                f"search {config.seed} has another tree under {scheduling} than alone\n"
                f"  found: {snapshot(found)}\n  expected: {expected}"
            )


def _search(
    make_policy: PolicyFactory, config: SearchConfig, scheduling: SchedulingConfig, num_blocks: int
) -> SearchRun:
    generator = FakeGenerator(num_blocks=num_blocks, block_size=8, max_draft_tokens=16)
    policy, recorder = make_policy(), Recorder()
    problem = f"problem {config.seed}"
    request = SearchRequest(
        prompt_token_ids=generator.tokenizer.encode(problem),
        problem=problem,
        config=config,
        uses_verifier=policy.needs_scores,
    )
    run = SearchRun(
        request,
        policy,
        generator.tokenizer,
        max_model_len=generator.max_model_len,
        priority=1,
    )
    loop = Loop(generator, FakeVerifier(), scheduling)
    loop.submit(run, recorder)
    drive(loop)
    (error,) = recorder.outcomes
    if error is not None:
        raise error
    return run
