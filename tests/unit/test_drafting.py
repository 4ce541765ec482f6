"""When tokens are drafted: by what iterations take and give, never by what they decide."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from fasttts import BackendError, ConfigurationError, FastTTS, SchedulingConfig
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import PLAIN, search_config
from fasttts.interfaces import NOBODY, GenerationOutput
from fasttts.scheduling.drafting import Drafting, DraftRule, Way, _ways
from fasttts.scheduling.loop import Loop
from tests.drafters import Oracle, wrong
from tests.searches import LateGenerator, Recorder, drive, make_run

Cost = Callable[[int, int], tuple[float, float]]
"""Sequences, and most drafts of each, to the seconds of an iteration and tokens of each."""


def running(num_sequences: int, num_speculative: int = 0) -> dict[str, bool]:
    """Sequences, the last of which are speculative."""
    return {str(n): n < num_sequences - num_speculative for n in range(num_sequences)}


class Device:
    """Iterations that take what they take."""

    def __init__(self, drafting: Drafting, cost: Cost, most: int = 4) -> None:
        self._drafting = drafting
        self._cost = cost
        self._most = most
        self._noise = random.Random(1)
        self.number = 0
        self.seconds = 0.0
        self.num_drafting = 0
        self.numbers: Counter[int] = Counter()

    def run(
        self,
        num_sequences: int,
        num_iterations: int,
        *,
        num_speculative: int = 0,
        is_short: Callable[[int], bool] = lambda iteration: False,
    ) -> None:
        sequences = running(num_sequences, num_speculative)
        for iteration in range(num_iterations):
            chosen = self._drafting.choose(sequences, is_short=is_short(iteration))
            assert chosen.number in (0, 1, 2, self._most)
            self.number = chosen.number
            seconds, tokens = self._cost(num_sequences, self.number)
            seconds *= self._noise.uniform(0.9, 1.1) * (20 if self._noise.random() < 0.01 else 1)
            share = (tokens - 1) / max(1, self.number)
            given = [1 + self.number * (self._noise.random() < share) for _ in range(num_sequences)]
            self._drafting.measured(num_sequences, seconds, given)
            self.seconds += seconds
            self.num_drafting += bool(self.number)
            self.numbers[self.number] += 1


def gaining(num_sequences: int, number: int) -> tuple[float, float]:
    return 1 + 0.075 * number, 1 + 0.2 * number


def losing(num_sequences: int, number: int) -> tuple[float, float]:
    return 1 + 0.5 * number, 1 + 0.125 * number


def short_ones_gain(num_sequences: int, number: int) -> tuple[float, float]:
    return 1 + 0.1 * max(0, number - 2) ** 2, 1 + 0.2 * number


def small_batches_gain(num_sequences: int, number: int) -> tuple[float, float]:
    return gaining(1, number) if num_sequences < 16 else losing(1, number)


@pytest.mark.parametrize("num_sequences", [1, 16, 100])
def test_drafts_that_gain_are_used(num_sequences: int) -> None:
    device = Device(Drafting(4, "measured"), gaining)
    device.run(num_sequences, 200)
    device.num_drafting = 0
    device.run(num_sequences, 10_000)
    assert device.num_drafting > 9850


@pytest.mark.parametrize("num_sequences", [1, 16, 100])
def test_drafts_that_lose_cost_nothing_measurable(num_sequences: int) -> None:
    device = Device(Drafting(4, "measured"), losing)
    device.run(num_sequences, 20_000)
    assert 0 < device.num_drafting < 150
    lost = 2 * device.num_drafting  # seconds more than iterations without drafts
    assert lost / device.seconds < 0.015


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

    def cost(num_sequences: int, number: int) -> tuple[float, float]:
        return (gaining if is_repeated else losing)(num_sequences, number)

    device = Device(Drafting(4, "measured"), cost)
    device.run(8, 1000)
    is_repeated, device.num_drafting = False, 0
    device.run(8, 400)
    assert device.num_drafting < 150
    is_repeated, device.num_drafting = True, 0
    device.run(8, 3000)
    assert device.num_drafting > 1500


@pytest.mark.parametrize("rule", ["measured", "always"])
def test_speculative_steps_have_no_drafts_while_memory_is_short(rule: DraftRule) -> None:
    drafting = Drafting(4, rule)
    for _ in range(2):
        assert drafting.choose(running(8, 3), is_short=False) == (4, {})
        assert drafting.choose(running(8, 3), is_short=True) == (4, {"5": 0, "6": 0, "7": 0})
        assert drafting.choose(running(8), is_short=True) == (4, {})


def test_shorter_drafts_are_found_where_they_are_better() -> None:
    device = Device(Drafting(4, "measured"), short_ones_gain)
    device.run(32, 2000)
    device.numbers.clear()
    device.run(32, 2000)
    assert device.numbers[2] > 1900


def test_ways_are_tried_from_the_longest_on() -> None:
    assert _ways(1) == [Way(1), Way(0), Way(1, is_even=False)]
    assert _ways(4) == [Way(4), Way(0), Way(2), Way(4, is_even=False), Way(1)]
    assert [way.number for way in _ways(12)] == [12, 0, 8, 12, 4, 2, 1]


def test_drafts_of_each_sequence_are_tried_where_they_cost_something() -> None:
    """Half of the sequences keep all of their drafts and the others none: rows are saved."""
    drafting, numbers = Drafting(4, "measured"), Counter[tuple[int, int]]()
    sequences = running(64)
    for iteration in range(6000):
        number, fewer = drafting.choose(sequences, is_short=False)
        lengths = {i: min(number, fewer.get(i, number)) for i in sequences}
        kept = {i: length if int(i) % 2 else 0 for i, length in lengths.items()}
        for i, length in lengths.items():
            if length:
                drafting.took(i, length, kept[i])
        seconds = 1 + sum(lengths.values()) / 200
        drafting.measured(64, seconds, [1 + number for number in kept.values()])
        if iteration > 3000:
            numbers[number, round(sum(lengths.values()) / 64)] += 1
    assert numbers[4, 2] > 0.9 * numbers.total()


def test_iterations_that_gave_nothing_count_for_nothing() -> None:
    """An engine that is late gives no tokens at first, nor do sequences that all fail."""
    drafting = Drafting(4, "always")
    for num_tokens in ([], [0, 0], []):
        drafting.choose(running(2), is_short=False)
        drafting.measured(2, 1.0, num_tokens)
    assert drafting.mean_tokens(2) == 1


@pytest.mark.parametrize("cost", [gaining, losing])
@pytest.mark.parametrize(
    "is_short",
    [lambda _: True, lambda n: n % 3 == 0, lambda n: n >= 45],
    ids=["always", "now and then", "within a trial"],
)
def test_what_pays_is_found_while_memory_is_short(
    cost: Cost, is_short: Callable[[int], bool]
) -> None:
    device = Device(Drafting(4, "measured"), cost)
    device.run(16, 4000, num_speculative=2, is_short=is_short)
    assert device.num_drafting > 3500 if cost is gaining else device.num_drafting < 250


def test_a_size_that_is_new_tries_soon_what_another_knows() -> None:
    device = Device(Drafting(4, "measured"), small_batches_gain)
    device.run(64, 3000)
    device.num_drafting = 0
    device.run(1, 1000)
    assert device.num_drafting > 600


def test_drafts_are_taken_up_again_as_text_begins_to_repeat_itself() -> None:
    share = 0.05

    def cost(num_sequences: int, number: int) -> tuple[float, float]:
        return 1 + 0.15 * number, 1 + share * number

    device = Device(Drafting(4, "measured"), cost)
    device.run(8, 500)
    share, device.num_drafting = 0.6, 0
    device.run(8, 2000)
    assert device.num_drafting > 1500


def test_a_way_is_gone_for_as_long_as_it_takes_to_measure_it() -> None:
    """Sizes that alternate, of which each has a way of its own."""
    device = Device(Drafting(4, "measured"), small_batches_gain)
    for _ in range(200):
        device.run(4, 15)
        device.run(40, 15)
    changes, number = [], device.number
    for iteration in range(600):
        device.run(4 if iteration % 2 else 40, 1)
        if device.number != number:
            changes.append(iteration)
            number = device.number
    assert all(later - one >= 3 for one, later in itertools.pairwise(changes))


def test_always_drafts_always_and_zero_never() -> None:
    device = Device(Drafting(4, "always"), losing)
    device.run(8, 100)
    assert device.num_drafting == 100
    never = Drafting(0, "measured")
    assert {never.choose(running(8, 2), is_short=True).number for _ in range(100)} == {0}


def test_iterations_behind_a_change_count_for_nothing() -> None:
    drafting = Drafting(1, "measured")
    found = [drafting.choose(running(4), is_short=False).number > 0]
    for _ in range(60):
        is_drafting = found[-1]
        # two iterations behind each change are long, and would decide for the other way
        since = next((n for n, one in enumerate(reversed(found)) if one != is_drafting), 99)
        seconds = 1.0 if is_drafting else 0.5
        drafting.measured(4, 100.0 if since < 2 else seconds, [1] * 4)
        found.append(drafting.choose(running(4), is_short=False).number > 0)
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
    assert 1.5 < drafting.mean_tokens(8) < 2.1
    Device(never := Drafting(0, "always"), gaining).run(8, 100)
    assert never.mean_tokens(8) == 1


class Told(FakeGenerator):
    """Records what it is told to draft."""

    def __init__(self, **options: object) -> None:
        super().__init__(max_draft_tokens=4, **options)  # type: ignore[arg-type]  # any of its own
        self.numbers: list[int] = []
        self.fewer: list[Mapping[str, int]] = []

    def set_draft_tokens(self, number: int, fewer: Mapping[str, int] = NOBODY) -> None:
        self.numbers.append(number)
        self.fewer.append(dict(fewer))
        super().set_draft_tokens(number, fewer)


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


def test_a_generator_whose_memory_is_short_drafts_for_needed_steps_alone() -> None:
    class Checked(Told):
        def step(self) -> list[GenerationOutput]:
            told = self.fewer[-1] if self.fewer else {}
            outputs = super().step()
            for output in outputs:
                if told.get(output.request_id) == 0:
                    assert output.num_drafted == 0
                    skipped.append(output.request_id)
            return outputs

    skipped: list[str] = []
    generator = Checked(num_blocks=40, block_size=8)
    scheduling = SchedulingConfig(draft_rule="always", kv_usage_threshold=0.5)
    loop = Loop(generator, FakeVerifier(), scheduling)
    recorder = Recorder()
    loop.submit(make_run(generator, "a", search_config(n=16, max_tokens=120)), recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert set(generator.numbers) == {4}
    assert skipped
    assert {0} == {number for fewer in generator.fewer for number in fewer.values()}


def test_a_generator_that_began_anew_is_told_again() -> None:
    class Restarting(Told):
        def step(self) -> list[GenerationOutput]:
            nonlocal num_steps
            num_steps += 1
            if num_steps == 5:
                self.abort(list(self._sequences))
                self._num_draft_tokens = 0
                raise BackendError("it restarts", role="generator", retryable=True)
            return super().step()

    num_steps = 0
    generator = Restarting()
    loop = Loop(generator, FakeVerifier(), SchedulingConfig(draft_rule="always"))
    recorder = Recorder()
    run = make_run(generator, "a", search_config(n=8, max_tokens=120))
    loop.submit(run, recorder)
    drive(loop)
    assert recorder.outcomes == [None]
    assert generator.numbers == [4, 4]


def test_the_measured_rule_goes_by_the_clock() -> None:
    now = 0.0

    class Timed(Told):
        def step(self) -> list[GenerationOutput]:
            nonlocal now
            now += 2.0 if self.numbers[-1] else 1.0
            return super().step()

    numbers = {}
    for drafter in (Oracle(), wrong):
        generator = Timed(drafter=drafter, mean_step_tokens=200.0, mean_steps=50.0)
        loop = Loop(generator, FakeVerifier(), clock=lambda: now)
        recorder = Recorder()
        config = search_config(search="none", max_tokens=1500, seed=5, temperature=0.9)
        loop.submit(make_run(generator, "a", config), recorder)
        drive(loop)
        assert recorder.outcomes == [None]
        numbers[drafter] = generator.numbers
    kept, lost = numbers.values()
    assert kept == [4, 0, 4, 2, 4]
    assert (lost[:2], lost[-1]) == ([4, 0], 0)


def test_wrong_numbers_of_drafts_are_refused() -> None:
    generator = FakeGenerator()
    generator.max_draft_tokens = -1
    with pytest.raises(ConfigurationError, match="max_draft_tokens=-1: make it 0 or more"):
        Loop(generator, FakeVerifier())


def test_a_generator_whose_method_is_missing_or_old_is_refused() -> None:
    class Old(FakeGenerator):
        def set_draft_tokens(self, number: int) -> None:  # type: ignore[override]  # as it was
            raise AssertionError

    for generator in (Old(max_draft_tokens=4), FakeGenerator(max_draft_tokens=4)):
        if type(generator) is FakeGenerator:
            generator.set_draft_tokens = None  # type: ignore[assignment, method-assign]  # missing
        with pytest.raises(ConfigurationError, match=r"set_draft_tokens\(number, fewer\) as"):
            Loop(generator, FakeVerifier())
