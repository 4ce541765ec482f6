"""Engines that take turns: who is awake when, and that a search does not notice."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fasttts import FastTTS, SchedulingConfig, demo
from fasttts.backends.vllm.arguments import VllmDevice, generator_arguments, verifier_arguments
from fasttts.backends.vllm.builder import EngineBuilder
from fasttts.backends.vllm.checkpoint import check_checkpoint
from fasttts.backends.vllm.engine_lifecycle import open_engine
from fasttts.backends.vllm.generator import VLLMGenerator
from fasttts.backends.vllm.numerics import VARIABLE, ProcessNumerics
from fasttts.backends.vllm.sleep_mode import DeviceOwner, SleepingGenerator, SleepingVerifier
from fasttts.backends.vllm.tokenizer import ChatTokenizer
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.config import engine_config, search_config
from fasttts.errors import CapacityError, Role
from fasttts.memory import DEVICES, plan_engines, read_shape
from fasttts.verifiers.prompt_formats import ProcessRewardFormat
from tests.vllm.inside import paces_starts

QUESTION = "Tom has 3 boxes of 12 pencils each. Tom gives 5 pencils to Mia. How many are left?"


_GROWN = "Memory usage increased after sleeping."


class Sleeper:
    """Writes down when it goes and when it comes back."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self._name = name
        self._diary = diary

    def sleep(self) -> None:
        self._diary.append(f"{self._name} sleeps")

    def wake_up(self) -> None:
        self._diary.append(f"{self._name} wakes up")


@pytest.fixture
def diary() -> list[str]:
    return []


@pytest.fixture
def pair(diary: list[str]) -> tuple[Sleeper, Sleeper]:
    return Sleeper("generator", diary), Sleeper("verifier", diary)


def test_one_engine_is_awake_at_a_time(pair: tuple[Sleeper, Sleeper], diary: list[str]) -> None:
    generator, verifier = pair
    device_owner = DeviceOwner()
    device_owner.start(generator)
    device_owner.leave()
    device_owner.start(verifier)
    for engine in (verifier, generator, generator, verifier):
        device_owner.take(engine)
    assert diary == [
        "generator sleeps",
        "verifier sleeps",
        "generator wakes up",
        "generator sleeps",
        "verifier wakes up",
    ]


def test_a_closed_engine_is_not_sent_to_sleep(
    pair: tuple[Sleeper, Sleeper], diary: list[str]
) -> None:
    generator, verifier = pair
    device_owner = DeviceOwner()
    device_owner.start(generator)
    device_owner.forget(verifier)
    device_owner.forget(generator)
    device_owner.take(verifier)
    assert diary == ["verifier wakes up"]


class Asleep(Sleeper):
    """Cannot wake up."""

    def wake_up(self) -> None:
        raise RuntimeError("out of memory")


def test_an_engine_that_cannot_wake_up_has_no_turn(diary: list[str]) -> None:
    broken, other = Asleep("broken", diary), Sleeper("other", diary)
    device_owner = DeviceOwner()
    device_owner.start(other)
    with pytest.raises(RuntimeError):
        device_owner.take(broken)
    device_owner.take(other)
    assert diary == ["other sleeps", "other wakes up"]


class Executor:
    """Stands where vLLM keeps the worker of an engine in this process."""

    def __init__(self, diary: list[str]) -> None:
        self._diary = diary

    def sleep(self, level: int) -> None:
        self._diary.append(f"level {level}")

    def wake_up(self, tags: list[str] | None) -> None:
        self._diary.append(f"tags {tags}")


class CrowdedExecutor(Executor):
    """Falls asleep while another program takes memory, which vLLM's worker then reports."""

    is_sleeping = False
    sleeping_tags: frozenset[str] = frozenset()

    def sleep(self, level: int) -> None:
        super().sleep(level)
        raise AssertionError(_GROWN)


class OnThisDevice(SleepingGenerator):
    """Leaves the device in name only: vLLM's sleep mode needs a GPU."""

    def __init__(self, llm: Any, *, diary: list[str], **others: Any) -> None:
        self._diary = diary
        super().__init__(llm, **others)

    @property
    def _executor(self) -> Any:
        return Executor(self._diary)


class BesideIt(SleepingVerifier):
    """The same for the verifier, which loses its cache."""

    def __init__(self, llm: Any, *, diary: list[str], **others: Any) -> None:
        self._diary = diary
        super().__init__(llm, **others)

    def sleep(self) -> None:
        self._diary.append("verifier sleeps")
        self.reset_prefix_cache()

    def wake_up(self) -> None:
        self._diary.append("verifier wakes up")


class Engine:
    """What of vLLM's engine a backend asks when it is built and when it changes turns."""

    executor: type[Executor] = Executor

    def __init__(self, diary: list[str], *, is_eager: bool, graphs: str) -> None:
        from vllm.config import CUDAGraphMode

        model = SimpleNamespace(
            max_model_len=64,
            dtype="float32",
            enforce_eager=is_eager,
            try_get_generation_config=dict,
            generation_config="vllm",
            override_generation_config={},
            get_vocab_size=lambda: 300,
        )
        self.model_config = model
        options = SimpleNamespace(max_num_seqs=4, long_prefill_token_threshold=0)
        self.vllm_config = SimpleNamespace(
            model_config=model,
            scheduler_config=options,
            cache_config=SimpleNamespace(block_size=16),
            compilation_config=SimpleNamespace(cudagraph_mode=CUDAGraphMode[graphs]),
        )
        blocks = SimpleNamespace(coordinator=None)
        scheduler = SimpleNamespace(kv_cache_manager=blocks, scheduler_config=options)
        core = SimpleNamespace(model_executor=self.executor(diary), scheduler=scheduler)
        self.engine_core = SimpleNamespace(engine_core=core)
        self._diary = diary

    def reset_prefix_cache(self, reset_running_requests: bool) -> None:
        assert reset_running_requests
        self._diary.append("preempted")

    def sleep(self, level: int) -> None:
        self._diary.append(f"verifier, level {level}")

    def wake_up(self) -> None:
        raise RuntimeError("CUDA out of memory")


class CrowdedEngine(Engine):
    """One on a device of which another program takes memory at the wrong moments."""

    executor = CrowdedExecutor

    def sleep(self, level: int) -> None:
        super().sleep(level)
        raise Exception(f"Call to sleep failed: {_GROWN}")  # vLLM's own type

    def collective_rpc(self, method: str, args: tuple[Any, ...]) -> None:
        self._diary.append(f"worker of the verifier: {method}{args}")

    def wake_up(self) -> None:
        self._diary.append("verifier goes on")


class Model:
    """What of vLLM's `LLM` a backend asks when it is built."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.llm_engine = engine
        self._folder = folder

    def get_tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder)


class Opened:
    """Notes the arguments with which engines are opened, by their role, and opens none."""

    def __init__(
        self,
        diary: list[str],
        graphs: str = "FULL_AND_PIECEWISE",
        engine: type[Engine] = Engine,
    ) -> None:
        self._diary = diary
        self._graphs = graphs
        self._engine = engine
        self.arguments: dict[Role, dict[str, Any]] = {}
        self.environ: dict[str, str] = {}

    def open_engine(self, role: Role, **arguments: Any) -> Any:
        self.arguments[role] = arguments
        is_eager = arguments.get("enforce_eager", False)
        engine = self._engine(self._diary, is_eager=is_eager, graphs=self._graphs)
        return Model(engine, Path(arguments["model"]))


def builder(offloading: str, opened: Opened, **options: Any) -> EngineBuilder:
    """The demonstration models on a GPU, planned as asked for."""
    config = engine_config(offloading=offloading, **options)
    shapes = read_shape(demo.generator_path()), read_shape(demo.verifier_path())
    return EngineBuilder(
        config=config,
        generator=check_checkpoint(str(demo.generator_path()), "generator"),
        verifier=check_checkpoint(str(demo.verifier_path()), "verifier"),
        device=VllmDevice(is_cpu=False, name="NVIDIA L4", memory_bytes=24 << 30),
        plan=plan_engines(config, DEVICES["l4"], *shapes),
        process=ProcessNumerics(opened.environ),
        open_engine=opened.open_engine,
    )


@pytest.mark.vllm
def test_a_plan_of_turns_opens_backends_that_take_them(diary: list[str]) -> None:
    opened = Opened(diary)
    planned = builder("sleep", opened)
    generator, verifier = planned.open_generator(()), planned.open_verifier()
    assert isinstance(generator, SleepingGenerator)
    assert isinstance(verifier, SleepingVerifier)
    assert opened.arguments["verifier"]["has_own_process"]
    assert opened.arguments["verifier"]["enable_sleep_mode"]
    planned.device_owner.take(generator)
    with pytest.raises(CapacityError, match="the verifier could not change turns: CUDA out of"):
        verifier.score([])
    assert diary == [
        "preempted",
        "level 1",
        "verifier, level 1",
        "tags None",
        "preempted",
        "level 1",
    ]


@pytest.mark.vllm
def test_engines_sleep_and_wake_beside_a_program_that_takes_memory(diary: list[str]) -> None:
    planned = builder("sleep", Opened(diary, engine=CrowdedEngine))
    generator, verifier = planned.open_generator(()), planned.open_verifier()
    assert verifier is not None
    diary.clear()
    planned.device_owner.take(generator)
    planned.device_owner.take(verifier)
    planned.device_owner.take(generator)
    assert diary == [
        "verifier, level 1",
        "tags None",
        "preempted",
        "level 1",
        "worker of the verifier: wake_up(None,)",
        "verifier goes on",
        "verifier, level 1",
        "tags None",
    ]
    executor: Any = generator._executor  # vLLM's, as it was told
    assert (executor.is_sleeping, executor.sleeping_tags) == (True, {"weights", "kv_cache"})


@pytest.mark.vllm
@pytest.mark.parametrize("offloading", ["auto", "sleep"])
@pytest.mark.parametrize("numerics", ["default", "deterministic"])
def test_both_engines_on_a_gpu_are_opened_with_the_numerics(
    diary: list[str], numerics: str, offloading: str
) -> None:
    opened = Opened(diary)
    planned = builder(offloading, opened, numerics=numerics)
    generator, verifier = planned.open_generator(()), planned.open_verifier()
    assert verifier is not None
    assert (generator.numerics, verifier.numerics) == (numerics, numerics)
    is_deterministic = numerics == "deterministic"
    assert opened.environ == ({VARIABLE: "1"} if is_deterministic else {})
    for arguments in opened.arguments.values():
        compilation = arguments.get("compilation_config", {})
        assert ("-rms_norm" in compilation.get("custom_ops", ())) is is_deterministic


@pytest.mark.vllm
def test_other_plans_open_plain_backends(diary: list[str]) -> None:
    opened = Opened(diary)
    planned = builder("auto", opened)
    generator, verifier = planned.open_generator(()), planned.open_verifier()
    assert type(generator) is VLLMGenerator
    assert type(verifier) is VLLMVerifier
    assert not opened.arguments["verifier"]["has_own_process"]
    assert diary == []


@pytest.mark.vllm
@pytest.mark.parametrize("name", ["kv_offloading_size", "kv_transfer_config"])
def test_a_verifier_shares_no_process_with_blocks_that_move(diary: list[str], name: str) -> None:
    opened = Opened(diary)
    generator_args = {name: 1.0 if name == "kv_offloading_size" else {"kv_connector": "any"}}
    planned = builder("none", opened, generator_args=generator_args)
    planned.open_verifier()
    assert opened.arguments["verifier"]["has_own_process"]


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("is_eager", "graphs", "is_paced"),
    [
        (False, "FULL_AND_PIECEWISE", True),
        (False, "FULL_DECODE_ONLY", True),
        (False, "FULL", False),  # batches with starts have graphs as well
        (False, "PIECEWISE", False),  # decoding has none that are better
        (True, "FULL_AND_PIECEWISE", False),
    ],
)
def test_starts_are_paced_where_graphs_end_at_them(
    diary: list[str], is_eager: bool, graphs: str, is_paced: bool
) -> None:
    opened = Opened(diary, graphs=graphs)
    planned = builder("auto", opened, generator_args={"enforce_eager": is_eager})
    assert paces_starts(planned.open_generator(())) is is_paced


CPU = VllmDevice(is_cpu=True, name="cpu", memory_bytes=0)


def in_turns(diary: list[str]) -> FastTTS:
    """The demonstration models, the verifier in a process of its own."""
    from vllm.config import PoolerConfig

    from fasttts.backends.vllm.sampler import CounterSampler

    config = engine_config(max_num_seqs=64)
    generator = check_checkpoint(str(demo.generator_path()), "generator")
    verifier = check_checkpoint(str(demo.verifier_path()), "verifier")
    device_owner = DeviceOwner()
    llm = open_engine(
        "generator",
        logits_processors=[CounterSampler],
        **generator_arguments(config, generator, verifier, CPU),
    )
    first = OnThisDevice(llm, diary=diary, device_owner=device_owner, name="demo")
    device_owner.leave()
    llm = open_engine(
        "verifier",
        has_own_process=True,
        pooler_config=PoolerConfig(tok_pooling_type="ALL"),
        **verifier_arguments(config, generator, verifier, CPU),
    )
    prompt_format = ProcessRewardFormat(ChatTokenizer(llm.get_tokenizer(), "demo"), "demo")
    second = BesideIt(
        llm, diary=diary, device_owner=device_owner, name="demo", prompt_format=prompt_format
    )
    return FastTTS(first, second, scheduling=SchedulingConfig(early_verification=False))


@pytest.mark.vllm
@pytest.mark.slow
def test_a_search_in_turns_gives_the_same_tree(demo_engine: FastTTS, diary: list[str]) -> None:
    options = search_config(n=8, max_tokens=200, seed=5)
    expected = demo_engine.search(QUESTION, config=options)
    with in_turns(diary) as engine:
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
        found = engine.search(QUESTION, config=options)
        num_changes = len(diary)
    assert found.candidates == expected.candidates
    # Asleep and awake once for each time the engines change places; the generator wakes to close.
    assert num_changes > 4
    assert diary[:4] == ["level 1", "verifier sleeps", "tags None", "level 1"]
    assert diary[-1] == "tags None"
    again = demo_engine.search(QUESTION, config=options)
    assert again.candidates == expected.candidates, "closing engines left the others alone"


@pytest.mark.vllm
@pytest.mark.parametrize(("context", "is_told"), [(None, True), (64, False)])
def test_a_context_shorter_than_the_model_s_is_told_unless_it_was_asked_for(
    diary: list[str], caplog: pytest.LogCaptureFixture, context: int | None, is_told: bool
) -> None:
    on_cpu = replace(
        builder("auto", Opened(diary)),
        config=engine_config(max_model_len=context),
        device=VllmDevice(is_cpu=True, name="cpu", memory_bytes=0),
        plan=None,
    )
    on_cpu.open_generator(())
    assert ("(--max-model-len, FASTTTS_MAX_MODEL_LEN)" in caplog.text) is is_told
    assert ("is 64 tokens of the model's" in caplog.text) is is_told
