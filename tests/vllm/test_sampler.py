"""The sampler inside vLLM equals the NumPy reference, whatever the batch around a row does."""

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fasttts.decoding.sampling import Sampling, penalize, sample_token

pytestmark = pytest.mark.vllm

OPTIONS = [
    Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=penalty
    )
    for penalty, temperature, top_k, top_p, min_p in itertools.product(
        (1.0, 1.3),
        (0.0, 5e-324, 1e-6, 1e-5, 0.3, 1.0, 1.7),
        (0, 1, 5, 100_000),
        (1.0, 0.9, 0.2),
        (0.0, 0.02, 0.6),
    )
]


@dataclass
class Row:
    """A request as vLLM's batch holds it."""

    seed: int
    sampling: Sampling
    num_prompt_tokens: int = 10
    output: list[int] = field(default_factory=list)
    constraint: Any = None

    @property
    def prompt(self) -> list[int]:
        return [index % 5 for index in range(self.num_prompt_tokens)]

    @property
    def position(self) -> int:
        return self.num_prompt_tokens + len(self.output)

    def penalized(self, logits: Any) -> Any:
        return penalize(logits, self.prompt + self.output, self.sampling.repetition_penalty)

    def drawn(self, logits: Any) -> int:
        """The reference's token."""
        prefix = self.prompt + self.output
        return sample_token(logits, self.seed, self.position, self.sampling, prefix)


class Batch:
    """The updates vLLM sends, for requests at given places."""

    def __init__(self) -> None:
        import torch

        from fasttts.backends.vllm.sampler import CounterSampler

        self.sampler = CounterSampler(None, torch.device("cpu"), False)
        self.rows: dict[int, Row | None] = {}

    def update(
        self,
        removed: list[int] | None = None,
        added: dict[int, Row | None] | None = None,
        moved: list[tuple[int, int, bool]] | None = None,
    ) -> None:
        from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

        directions = (MoveDirectionality.UNIDIRECTIONAL, MoveDirectionality.SWAP)
        for index in removed or []:
            del self.rows[index]
        self.rows |= added or {}
        for source, target, is_swap in moved or []:
            first, second = self.rows.pop(source), self.rows.pop(target, None)
            self.rows[target] = first
            if is_swap:
                self.rows[source] = second
        self.sampler.update_state(
            BatchUpdate(
                batch_size=len(self.rows),
                removed=removed or [],
                added=[_added(index, row) for index, row in (added or {}).items()],
                moved=[(a, b, directions[is_swap]) for a, b, is_swap in moved or []],
            )
        )

    def check(self, logits: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        """Compares the greedy choice after the sampler with the reference, for every row."""
        import torch

        applied = self.sampler.apply(torch.from_numpy(logits.copy())).numpy()
        for index in range(len(logits)):
            row = self.rows.get(index)
            if row is None or row.sampling.temperature == 0:
                kept = logits[index] if row is None else row.penalized(logits[index])
                np.testing.assert_array_equal(applied[index], kept)
                continue
            assert int(applied[index].argmax()) == row.drawn(logits[index]), (index, row)


def _added(index: int, row: Row | None) -> Any:
    from vllm import SamplingParams

    from fasttts.backends.vllm.sampler import sampler_arguments

    if row is None:
        return index, SamplingParams(), [1] * 5, []
    arguments = sampler_arguments(row.seed, row.sampling, row.constraint)
    return index, SamplingParams(extra_args=arguments), row.prompt, row.output


def random_logits(num_rows: int, vocab_size: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(scale=3.0, size=(num_rows, vocab_size)).astype(np.float32)


@pytest.mark.parametrize("vocab_size", [7, 1000, 40_000])
@pytest.mark.parametrize("sampling", [OPTIONS[36], OPTIONS[-1]], ids=str)
def test_one_row(vocab_size: int, sampling: Sampling) -> None:
    batch = Batch()
    batch.update(added={0: Row(3, sampling)})
    for seed in range(20):
        batch.check(random_logits(1, vocab_size, seed))


@pytest.mark.parametrize("seed", range(4))
def test_all_options_in_one_batch(seed: int) -> None:
    rng = random.Random(seed)
    batch = Batch()
    rows = [Row(rng.getrandbits(63), option, rng.randrange(1, 2000)) for option in OPTIONS]
    batch.update(added=dict(enumerate(rows)))
    for trial in range(3):
        batch.check(random_logits(len(rows), 600, 10 * seed + trial))
        for row in rows:
            row.output.append(rng.randrange(600))


@pytest.mark.parametrize("option", ["temperature", "top_k", "top_p", "min_p", "repetition_penalty"])
def test_one_option_alone(option: str) -> None:
    values = {
        "temperature": 0.4,
        "top_k": 3,
        "top_p": 0.5,
        "min_p": 0.3,
        "repetition_penalty": 1.5,
    }
    sampling = Sampling(**{"temperature": 1.0, option: values[option]})
    batch = Batch()
    batch.update(added={i: Row(i, sampling) for i in range(32)})
    batch.check(random_logits(32, 500))


def test_ties_and_forbidden_tokens() -> None:
    logits = np.round(random_logits(len(OPTIONS), 64))
    logits[:, ::3] = -np.inf
    batch = Batch()
    batch.update(added={i: Row(i, option) for i, option in enumerate(OPTIONS)})
    batch.check(logits)


def test_rows_of_others_are_left_alone() -> None:
    batch = Batch()
    batch.update(added={0: None, 1: Row(1, Sampling(temperature=1.0)), 2: None, 3: None})
    batch.check(random_logits(4, 50))
    batch.update(removed=[1])
    batch.check(random_logits(4, 50))


def test_more_logits_than_rows() -> None:
    """vLLM may hand over rows of requests that carry none of our arguments behind ours."""
    batch = Batch()
    batch.update(added={0: Row(1, Sampling(temperature=1.0)), 1: Row(2, Sampling(temperature=1.0))})
    batch.check(random_logits(5, 50))


def test_random_batch_histories() -> None:
    rng = random.Random(5)
    batch = Batch()
    sampled = [option for option in OPTIONS if option.temperature > 0]
    for trial in range(150):
        added = rng.sample(range(12), rng.randrange(4))
        removed = [i for i in batch.rows if i in added or rng.random() < 0.2]
        news = {
            index: rng.choice(
                [None, Row(rng.getrandbits(63), rng.choice(sampled), rng.randrange(1, 99))]
            )
            for index in added
        }
        present = sorted((set(batch.rows) - set(removed)) | set(added))
        moved = []
        if present and rng.random() < 0.7:
            source, target = rng.choice(present), rng.randrange(12)
            is_swap = target in present and rng.random() < 0.7
            moved = [(source, target, is_swap)] if source != target else []
        batch.update(removed, news, moved)
        for row in batch.rows.values():
            if row is not None:
                row.output.append(rng.randrange(40))
        batch.check(random_logits(12, 40, trial))


def test_no_update_keeps_the_rows() -> None:
    batch = Batch()
    row = Row(1, Sampling(temperature=1.0))
    batch.update(added={0: row})
    batch.sampler.update_state(None)
    row.output += [4, 4]
    batch.check(random_logits(1, 50))


class Even:
    """Stands for a constraint: even tokens, below the sequence's last one."""

    def copy(self) -> "Even":
        return Even()

    def allowed(self, token_ids: list[int]) -> Any:
        tokens = np.arange(50)
        return (tokens % 2 == 0) & (tokens < (token_ids[-1] if token_ids else 50))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("penalty", [1.0, 2.0])
def test_a_constraint_masks_its_rows_alone(temperature: float, penalty: float) -> None:
    import torch

    sampling = Sampling(temperature=temperature, repetition_penalty=penalty)
    batch, row = Batch(), Row(5, sampling, constraint=Even())
    batch.update(added={0: None, 1: row, 2: Row(6, Sampling())})
    for last in (30, 12):
        logits = random_logits(3, 50, last)
        applied = batch.sampler.apply(torch.from_numpy(logits.copy())).numpy()
        masked = np.where(Even().allowed(row.output), logits[1], -np.inf)
        assert int(applied[1].argmax()) == row.drawn(masked)
        np.testing.assert_array_equal(applied[[0, 2]], logits[[0, 2]])
        row.output.append(last)


@pytest.mark.parametrize(
    "value", [3, (1,), (1.5, Sampling(), None), (1, "x", None), (-1, Sampling(), None)]
)
def test_bad_arguments_are_refused(value: object) -> None:
    from vllm import SamplingParams

    from fasttts.backends.vllm.sampler import ARGUMENT, CounterSampler

    with pytest.raises(ValueError, match=r"extra_args|outside"):
        CounterSampler.validate_params(SamplingParams(extra_args={ARGUMENT: value}))
    CounterSampler.validate_params(SamplingParams(extra_args={ARGUMENT: (1, Sampling(), None)}))
    CounterSampler.validate_params(SamplingParams())


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_prompt_and_output_are_penalized_alike(temperature: float) -> None:
    """A request that is stopped and goes on with a longer prompt draws the same tokens."""
    sampling = Sampling(temperature=temperature, repetition_penalty=1.4)
    whole = Row(7, sampling, num_prompt_tokens=6, output=[9, 9, 30, 2])
    logits = np.repeat(random_logits(1, 50), 2, axis=0)
    restarted = Row(7, sampling, num_prompt_tokens=6, output=[9, 9])
    batch = Batch()
    batch.update(added={0: whole, 1: restarted})
    restarted.output += [30, 2]
    batch.check(logits)


def test_a_penalty_waits_for_tokens_that_are_not_on_the_host() -> None:
    batch = Batch()
    row = Row(1, Sampling(temperature=1.0, repetition_penalty=3.0), output=[7, -1])
    batch.update(added={0: row})
    batch.sampler.apply(_tensor(random_logits(1, 50)))
    row.output[-1] = 8
    batch.check(random_logits(1, 50))


def _tensor(logits: Any) -> Any:
    import torch

    return torch.from_numpy(logits)


def test_vllm_penalizes_alike() -> None:
    import torch
    from vllm.model_executor.layers.utils import apply_penalties

    row = Row(0, Sampling(repetition_penalty=1.3), num_prompt_tokens=4, output=[11, 7, 11])
    logits = random_logits(1, 50)
    nothing, penalty = torch.zeros(1), torch.tensor([row.sampling.repetition_penalty])
    theirs = apply_penalties(
        _tensor(logits.copy()),
        torch.tensor([row.prompt]),
        torch.tensor([row.output]),
        nothing,
        nothing,
        penalty,
    )
    np.testing.assert_allclose(theirs.numpy()[0], row.penalized(logits[0]), rtol=1e-6)


def test_the_sampler_takes_part_in_greedy_decoding() -> None:
    assert not Batch().sampler.is_argmax_invariant()
