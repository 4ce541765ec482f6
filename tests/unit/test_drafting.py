"""When tokens are drafted: by what iterations take and give, never by what they decide."""

import random
from collections.abc import Callable

import pytest

from fasttts import ConfigurationError, FastTTS, SchedulingConfig
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, search_config
from fasttts.interfaces import GenerationOutput
from fasttts.scheduling.drafting import Drafting
from fasttts.scheduling.loop import Loop
from tests.drafters import Oracle, wrong
from tests.searches import LateGenerator, Recorder, drive, make_run

Cost = Callable[[int, bool], tuple[float, float]]
"""Sequences, and whether they are drafted, to the seconds of an iteration and tokens of each."""


class Device:
    """Iterations that take what they take."""

    def __init__(self, drafting: Drafting, cost: Cost, most: int = 4) -> None:
        self._drafting = drafting
        self._cost = cost
        self._most = most
        self._noise = random.Random(1)
        self.number = 0
        self.seconds = 0.0
        self.num_tokens = 0.0
        self.num_drafting = 0

    def run(self, num_sequences: int, num_iterations: int, *, is_short: bool = False) -> None:
        for _ in range(num_iterations):
            number = self._drafting.choose(num_sequences, is_short=is_short)
            if number is not None:
                assert number in (0, self._most)
                assert number != self.number or not self.seconds
                self.number = number
            seconds, tokens = self._cost(num_sequences, bool(self.number))
            seconds *= self._noise.uniform(0.9, 1.1) * (20 if self._noise.random() < 0.01 else 1)
            num_tokens = round(num_sequences * self._noise.uniform(tokens - 0.5, tokens + 0.5))
            num_tokens = num_tokens if self.number else num_sequences
            self._drafting.measured(num_sequences, seconds, num_tokens)
            self.seconds += seconds
            self.num_tokens += num_tokens
            self.num_drafting += bool(self.number)


def gaining(num_sequences: int, drafts: bool) -> tuple[float, float]:
    return (1.3, 1.8) if drafts else (1.0, 1.0)


def losing(num_sequences: int, drafts: bool) -> tuple[float, float]:
    return (3.0, 1.5) if drafts else (1.0, 1.0)


def small_batches_gain(num_sequences: int, drafts: bool) -> tuple[float, float]:
    return gaining(1, drafts) if num_sequences < 16 else losing(1, drafts)


@pytest.mark.parametrize("num_sequences", [1, 16, 100])
def test_drafts_that_gain_are_used(num_sequences: int) -> None:
    device = Device(Drafting(4, "measured"), gaining)
    device.run(num_sequences, 200)
    device.num_drafting = 0
    device.run(num_sequences, 10_000)
    assert device.num_drafting > 9900


@pytest.mark.parametrize("num_sequences", [1, 16, 100])
def test_drafts_that_lose_cost_nothing_measurable(num_sequences: int) -> None:
    device = Device(Drafting(4, "measured"), losing)
    device.run(num_sequences, 20_000)
    assert 0 < device.num_drafting < 100
    lost = 2 * device.num_drafting  # seconds more than iterations without drafts
    assert lost / device.seconds < 0.01


def test_each_power_of_two_of_the_sequences_has_its_own_way() -> None:
    device = Device(Drafting(4, "measured"), small_batches_gain)
    for _ in range(300):
        device.run(4, 15)
        device.run(40, 15)
    device.num_drafting = 0
    device.run(4, 100)
    assert device.num_drafting >= 85
    device.num_drafting = 0
    device.run(40, 100)
    assert device.num_drafting <= 14


def test_a_trial_that_is_always_interrupted_ends() -> None:
    """The number of sequences crosses a power of two in each iteration: little can be measured."""
    device = Device(Drafting(4, "measured"), losing)
    for _ in range(10_000):
        device.run(7, 1)
        device.run(8, 1)
    assert 0 < device.num_drafting < 1000


def test_text_that_repeats_itself_no_more_is_noticed() -> None:
    is_repeated = True

    def cost(num_sequences: int, drafts: bool) -> tuple[float, float]:
        return (gaining if is_repeated else losing)(num_sequences, drafts)

    device = Device(Drafting(4, "measured"), cost)
    device.run(8, 1000)
    is_repeated, device.num_drafting = False, 0
    device.run(8, 400)
    assert device.num_drafting < 150
    is_repeated, device.num_drafting = True, 0
    device.run(8, 3000)
    assert device.num_drafting > 1500


def test_nothing_is_drafted_while_memory_is_short() -> None:
    for rule in ("measured", "always"):
        device = Device(Drafting(4, rule), gaining)
        device.run(8, 500)
        device.num_drafting = 0
        device.run(8, 100, is_short=True)
        assert device.num_drafting == 0
        device.run(8, 100)
        assert device.num_drafting > 85


def test_always_drafts_always_and_zero_never() -> None:
    device = Device(Drafting(4, "always"), losing)
    device.run(8, 100)
    assert device.num_drafting == 100
    never = Drafting(0, "measured")
    numbers = {never.choose(8, is_short=False) for _ in range(100)}
    assert numbers == {0, None}


def test_iterations_behind_a_change_count_for_nothing() -> None:
    drafting = Drafting(4, "measured")
    assert drafting.choose(4, is_short=False) == 4
    found = [True]
    for _ in range(60):
        is_drafting = found[-1]
        # two iterations behind each change are long, and would decide for the other way
        since = next((n for n, one in enumerate(reversed(found)) if one != is_drafting), 99)
        seconds = 1.0 if is_drafting else 0.5
        drafting.measured(4, 100.0 if since < 2 else seconds, 4)
        number = drafting.choose(4, is_short=False)
        found.append(is_drafting if number is None else bool(number))
    assert not found[-1]


@pytest.mark.parametrize("late", [False, True])
def test_drafts_that_lose_end_also_where_steps_begin_all_the_time(late: bool) -> None:
    """Several searches at once, so that a sequence begins in nearly every iteration."""
    now, iterations = 0.0, [0, 0]
    base: type[FakeGenerator] = LateGenerator if late else FakeGenerator

    class Losing(base):  # type: ignore[misc, valid-type]  # one of two
        def step(self) -> list[GenerationOutput]:
            nonlocal now
            drafts = self._num_draft_tokens > 0
            iterations[drafts] += 1
            now += 3.0 if drafts else 1.0
            return super().step()  # type: ignore[no-any-return]  # the base is found at run time

    generator = Losing(
        max_draft_tokens=4,
        drafter=wrong,
        mean_step_tokens=6.0,
        mean_steps=12.0,
    )
    loop = Loop(generator, FakeVerifier(), clock=lambda: now)
    for seed in range(4):
        config = search_config(n=16, max_tokens=2000, seed=seed)
        loop.submit(make_run(generator, str(seed), config), Recorder())
    drive(loop)
    assert iterations[True] < min(90, iterations[False])


def test_the_tokens_of_an_iteration_are_known() -> None:
    device = Device(drafting := Drafting(4, "always"), gaining)
    assert drafting.mean_tokens(8) == 1
    device.run(8, 100)
    assert 1.7 < drafting.mean_tokens(8) < 1.9
    device.run(8, 1, is_short=True)
    assert drafting.mean_tokens(8) == 1


class Told(FakeGenerator):
    """Records what it is told to draft."""

    def __init__(self, **options: object) -> None:
        super().__init__(max_draft_tokens=4, **options)  # type: ignore[arg-type]  # any of its own
        self.numbers: list[int] = []

    def set_draft_tokens(self, number: int) -> None:
        self.numbers.append(number)
        super().set_draft_tokens(number)


@pytest.mark.parametrize(
    ("scheduling", "numbers"),
    [
        (PLAIN, [0]),
        (SchedulingConfig(draft_tokens=0), [0]),
        (SchedulingConfig(draft_rule="always"), [4]),
        (SchedulingConfig(draft_rule="always", draft_tokens=3), [3]),
        (SchedulingConfig(draft_rule="always", draft_tokens=16), [4]),
    ],
)
def test_a_generator_is_told_what_changes(scheduling: SchedulingConfig, numbers: list[int]) -> None:
    generator = Told()
    with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
        result = engine.search("What is 2 + 2?", n=4, max_tokens=60)
    assert generator.numbers == numbers
    assert (result.usage.drafted_tokens > 0) == (numbers != [0])


def test_a_generator_whose_memory_is_short_is_told_to_draft_nothing() -> None:
    generator = Told(num_blocks=40, block_size=8)
    loop = Loop(generator, FakeVerifier(), SchedulingConfig(draft_rule="always"))
    recorder = Recorder()
    loop.submit(make_run(generator, "a", search_config(n=16, max_tokens=120)), recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert {0, 4} == set(generator.numbers)


def test_the_measured_rule_goes_by_the_clock() -> None:
    now = 0.0

    class Timed(Told):
        def step(self) -> list[GenerationOutput]:
            nonlocal now
            now += 2.0 if self.numbers[-1] else 1.0
            return super().step()

    numbers = {}
    for drafter in (Oracle(), wrong):
        generator = Timed(drafter=drafter, mean_step_tokens=200.0)
        loop = Loop(generator, FakeVerifier(), clock=lambda: now)
        recorder = Recorder()
        config = search_config(search="none", max_tokens=400, seed=3, temperature=0.9)
        loop.submit(make_run(generator, "a", config), recorder)
        drive(loop)
        assert recorder.outcomes == [None]
        numbers[drafter] = generator.numbers
    kept, lost = numbers.values()
    assert kept == [4, 0, 4]
    assert lost == [4, 0]


def test_wrong_numbers_of_drafts_are_refused() -> None:
    generator = FakeGenerator()
    generator.max_draft_tokens = -1
    with pytest.raises(ConfigurationError, match="max_draft_tokens=-1: make it 0 or more"):
        Loop(generator, FakeVerifier())
