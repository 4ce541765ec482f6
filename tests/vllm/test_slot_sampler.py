"""The sampler of vLLM's second model runner equals the NumPy reference, whatever its slots did."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fasttts.decoding.sampling import Sampling, sample_token
from tests.vllm.test_sampler import OPTIONS, random_logits

pytestmark = pytest.mark.vllm

NUM_SLOTS, CONTEXT, VOCAB_SIZE = 16, 64, 97
UNPENALIZED = [sampling for sampling in OPTIONS if not sampling.has_penalty]


class Runner:
    """Slots as the second runner keeps them, and the sampler that it calls in every iteration."""

    def __init__(self) -> None:
        import torch

        from fasttts.backends.vllm.slot_sampler import SlotSampler

        self._prompt_len = np.zeros(NUM_SLOTS, dtype=np.int32)
        self._total_len = torch.zeros(NUM_SLOTS, dtype=torch.int32)
        self._token_ids = torch.zeros((NUM_SLOTS, CONTEXT), dtype=torch.int32)
        states = SimpleNamespace(
            device=torch.device("cpu"),
            max_num_reqs=NUM_SLOTS,
            prompt_len=SimpleNamespace(np=self._prompt_len),
            total_len=SimpleNamespace(gpu=self._total_len),
            all_token_ids=SimpleNamespace(gpu=self._token_ids),
        )
        self.sampler = SlotSampler(states, compiles=False)

    def add(self, slot: int, arguments: Any, prompt: list[int], output: list[int]) -> bool:
        """A new request, or one that was preempted behind `output`."""
        from vllm import SamplingParams

        tokens = [*prompt, *output]
        self._prompt_len[slot], self._total_len[slot] = len(prompt), len(tokens)
        self._token_ids[slot, : len(tokens)] = self._token_ids.new_tensor(tokens)
        return self.sampler.add_request(slot, SamplingParams(extra_args=arguments))

    def sampled(self, slot: int, token_id: int) -> None:
        self._token_ids[slot, self._total_len[slot]] = token_id
        self._total_len[slot] += 1

    def position(self, slot: int) -> int:
        return int(self._total_len[slot])

    def prefix(self, slot: int) -> list[int]:
        return self._token_ids[slot, : self.position(slot)].tolist()

    def iterate(self, slots: list[int], logits: Any) -> Any:
        import torch

        from fasttts.backends.vllm.slot_sampler import RowPlaces

        self.sampler.begin_iteration()
        places = RowPlaces(
            slots_B=torch.tensor(slots, dtype=torch.int32),
            host_slots_B=np.array(slots, dtype=np.int32),
            positions_B=self._total_len[torch.tensor(slots)] - 1,
        )
        return self.sampler.apply(torch.from_numpy(logits.copy()), places).numpy()


def sampler_arguments(seed: int, sampling: Sampling, constraint: Any = None) -> dict[str, Any]:
    from fasttts.backends.vllm import sampler

    return sampler.sampler_arguments(seed, sampling, constraint)


def test_rows_equal_the_reference_in_any_company() -> None:
    """Slots are used again, in any order, beside requests of others and greedy ones."""
    runner = Runner()
    logits = random_logits(NUM_SLOTS, VOCAB_SIZE)
    options = itertools.cycle(UNPENALIZED)
    rng = np.random.default_rng(0)
    held: dict[int, tuple[int, Sampling] | None] = {}
    for round_ in range(len(UNPENALIZED) // 5):
        for slot in rng.permutation(NUM_SLOTS)[:5].tolist():
            is_ours = rng.random() < 0.8
            seed, sampling = int(rng.integers(1 << 62)), next(options)
            held[slot] = (seed, sampling) if is_ours else None
            arguments = sampler_arguments(seed, sampling) if is_ours else None
            prompt = rng.integers(VOCAB_SIZE, size=int(rng.integers(1, 20))).tolist()
            is_changed = runner.add(slot, arguments, prompt, [])
            assert is_changed is (is_ours and not sampling.is_greedy)
        slots = rng.permutation(list(held))[: 1 + round_ % len(held)].tolist()
        rows = logits[: len(slots)]
        applied = runner.iterate(slots, rows)
        for row, slot in enumerate(slots):
            one = held[slot]
            if one is None or one[1].is_greedy:
                np.testing.assert_array_equal(applied[row], rows[row])
                continue
            seed, sampling = one
            position = runner.position(slot)
            drawn = sample_token(rows[row], seed, position, sampling, runner.prefix(slot))
            assert int(applied[row].argmax()) == drawn, sampling
            assert applied[row].sum() == 1.0
        for slot in slots:
            if runner.position(slot) < CONTEXT - 1:
                runner.sampled(slot, int(rng.integers(VOCAB_SIZE)))


class Sums:
    """Stands for a constraint: which tokens it allows depends on all tokens so far."""

    is_received = False

    def copy(self) -> "Sums":
        return Sums()

    def allowed(self, token_ids: list[int]) -> Any:
        return (np.arange(VOCAB_SIZE) + sum(token_ids)) % 3 != 0


def test_grammars_mask_their_rows_and_read_the_newest_tokens() -> None:
    runner, constraint = Runner(), Sums()
    sampling = Sampling(temperature=1.0)
    for slot, arguments in {
        2: sampler_arguments(5, sampling, constraint),
        7: sampler_arguments(6, Sampling(), constraint),
        9: sampler_arguments(7, sampling),
    }.items():
        runner.add(slot, arguments, prompt=[3, 1], output=[])
    for number in range(12):
        rows = random_logits(3, VOCAB_SIZE, number)
        applied = runner.iterate([7, 9, 2], rows)
        allowed = constraint.allowed(runner.prefix(2)[2:])
        masked = np.where(allowed, rows[2], -np.inf)
        drawn = sample_token(masked, 5, runner.position(2), sampling, runner.prefix(2))
        assert int(applied[2].argmax()) == drawn
        allowed = constraint.allowed(runner.prefix(7)[2:])
        np.testing.assert_array_equal(applied[0], np.where(allowed, rows[0], -np.inf))
        for row, slot in enumerate([7, 9, 2]):
            runner.sampled(slot, int(applied[row].argmax()))


@pytest.mark.parametrize("num_steps", [0, 1, 5])
def test_a_preempted_request_goes_on_in_another_slot(num_steps: int) -> None:
    sampling, constraint = Sampling(temperature=1.0), Sums()
    arguments = sampler_arguments(5, sampling, constraint)
    straight, preempted = Runner(), Runner()
    straight.add(0, arguments, prompt=[3, 1], output=[])
    preempted.add(4, arguments, prompt=[3, 1], output=[])
    slot = 4
    for number in range(10):
        if number == num_steps:
            tokens, slot = preempted.prefix(slot), 11
            preempted.add(slot, arguments, prompt=tokens[:2], output=tokens[2:])
        rows = random_logits(1, VOCAB_SIZE, number)
        expected, found = straight.iterate([0], rows), preempted.iterate([slot], rows)
        np.testing.assert_array_equal(found, expected)
        straight.sampled(0, int(expected[0].argmax()))
        preempted.sampled(slot, int(found[0].argmax()))


def test_the_grammar_of_an_ended_request_is_dropped() -> None:
    runner, constraint = Runner(), Sums()
    runner.add(0, sampler_arguments(5, Sampling(), constraint), prompt=[1], output=[])
    rows = random_logits(1, VOCAB_SIZE)
    assert not np.array_equal(runner.iterate([0], rows)[0], rows[0])
    del constraint  # as its owner does
    np.testing.assert_array_equal(runner.iterate([0], rows)[0], rows[0])
