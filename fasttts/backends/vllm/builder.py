"""Opens the engines of checked models: arguments, engine, and the backend around it."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fasttts.backends.vllm.arguments import (
    VllmDevice,
    generator_arguments,
    offloads,
    verifier_arguments,
)
from fasttts.backends.vllm.block_allocation import skip_idle_allocations
from fasttts.backends.vllm.checkpoint import Checkpoint
from fasttts.backends.vllm.distributions import report_distributions
from fasttts.backends.vllm.drafting import (
    LARGEST_GRAPH,
    Drafting,
    asked_drafts,
    fits,
    schedule_no_drafts,
    why_not,
)
from fasttts.backends.vllm.engine_lifecycle import close_engine, open_engine
from fasttts.backends.vllm.generation_config import model_sampling
from fasttts.backends.vllm.generator import VLLMGenerator
from fasttts.backends.vllm.gentle_starts import GentleStarts
from fasttts.backends.vllm.judge import GeneratorJudge
from fasttts.backends.vllm.model_runner import (
    install_sampler,
    runner_environment,
    sampler_processors,
    uses_second_runner,
)
from fasttts.backends.vllm.numerics import (
    PROCESS,
    ProcessNumerics,
    deterministic_arguments,
    engine_numerics,
)
from fasttts.backends.vllm.plugin import register
from fasttts.backends.vllm.sleep_mode import DeviceOwner, SleepingGenerator, SleepingVerifier
from fasttts.backends.vllm.tensor_parallel import send_vocabulary
from fasttts.backends.vllm.tokenizer import ChatTokenizer
from fasttts.backends.vllm.verifier import VLLMVerifier
from fasttts.backends.vllm.verifier_process import ConcurrentVerifier
from fasttts.config import EngineConfig, option_name
from fasttts.memory import MemoryPlan, engine_arguments
from fasttts.types import Numerics
from fasttts.verifiers.registry import Family, find_family, judge_family

if TYPE_CHECKING:
    from vllm import LLM

logger = logging.getLogger(__name__)

_JUDGE_SEQS = 16
"""Sequences reserved for questions to a judge, which take one iteration each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBuilder:
    """Opens a generator, then perhaps a verifier beside it.

    Attributes:
        config: The engine's options.
        generator: The generator's model.
        verifier: The verifier's; None without one.
        device: The device that they run on.
        plan: How they share the device; None where memory is not planned.
        judges: Whether the generator also judges, in reserved sequences of its batch.
        device_owner: The engine that is awake, where the plan lets one sleep while the other runs.
        process: What this process's engines on a GPU run with.
        verifier_environment: Variables of the verifier's process that name its GPU; empty where it
            has the generator's.
        open_engine: Opens vLLM's engines; replaced in tests.
    """

    config: EngineConfig
    generator: Checkpoint
    verifier: Checkpoint | None
    device: VllmDevice
    plan: MemoryPlan | None
    judges: bool = False
    device_owner: DeviceOwner = field(default_factory=DeviceOwner)
    process: ProcessNumerics = PROCESS
    verifier_environment: Mapping[str, str] = field(default_factory=dict)
    open_engine: "Callable[..., LLM]" = open_engine

    def open_generator(self, logits_processors: Sequence[type]) -> VLLMGenerator:
        """Opens the generator; `logits_processors` act before its sampler."""
        started_s = time.perf_counter()
        planned = engine_arguments(self.plan)[0] if self.plan else {}
        arguments = generator_arguments(
            self.config, self.generator, self._beside(self.verifier), self.device, planned
        )
        arguments = self._with_numerics(arguments)
        arguments["max_num_seqs"] += self._num_reserved_seqs
        is_second = uses_second_runner(arguments)
        processors = sampler_processors(logits_processors, is_second=is_second)
        arguments["logits_processors"] = processors or None
        environment = runner_environment(is_second=is_second)
        num_drafts = self._num_drafts(arguments, is_second=is_second)
        with self._drafting(arguments, num_drafts):
            llm = self.open_engine("generator", environment=environment, **arguments)
        _log_opened(self.generator, time.perf_counter() - started_s)
        try:
            if is_second:
                install_sampler(llm, logits_processors)
            core: Any = llm.llm_engine.engine_core
            scheduler = core.engine_core.scheduler
            skip_idle_allocations(scheduler)
            drafting = self._scheduled_drafts(core.engine_core, num_drafts)
            starts = None
            if self._graphs_end_at_starts(llm):
                starts = GentleStarts(scheduler, drafting)
            generator = self._generator(llm, is_second=is_second, starts=starts, drafting=drafting)
            if self._is_spread:
                send_vocabulary(llm, generator.tokenizer, generator.vocab_size)
            self._tell_context(generator.max_model_len)
            return generator
        except BaseException:
            close_engine(llm)
            raise

    def _num_drafts(self, arguments: Mapping[str, Any], *, is_second: bool) -> int:
        """Tokens that the generator drafts for a sequence; says why where it drafts none."""
        reason = why_not(self.config, arguments, self.device, is_second=is_second, plan=self.plan)
        if reason is not None:
            self._tell_no_drafts(reason)
        return 0 if reason is not None else asked_drafts(self.config)

    def _scheduled_drafts(self, core: Any, num_drafts: int) -> Drafting | None:
        """What drafts tokens in an engine that was opened for so many; None where nothing does."""
        if num_drafts == 0:
            return None
        if fits(core.scheduler):
            return Drafting(core, num_drafts)
        schedule_no_drafts(core.scheduler)
        self._tell_no_drafts("not all of its layers have full attention")
        return None

    def _tell_no_drafts(self, reason: str) -> None:
        fields = {"role": self.generator.role, "model": self.generator.name}
        logger.info("%s drafts no tokens: %s", self.generator.name, reason, extra=fields)

    @contextlib.contextmanager
    def _drafting(self, arguments: dict[str, Any], num_drafts: int) -> Iterator[None]:
        """Completes the arguments of a generator that is opened in the body, if it drafts."""
        if num_drafts == 0:
            yield
            return
        from fasttts.backends.vllm.speculator import (
            drafting_graphs,
            drafting_runner,
            speculative_config,
        )

        arguments["speculative_config"] = speculative_config(num_drafts)
        compilation = arguments.get("compilation_config") or {}
        graphs = {} if LARGEST_GRAPH in compilation else drafting_graphs(num_drafts)
        arguments["compilation_config"] = {**graphs, **compilation}
        with drafting_runner():
            yield

    def judge(self, generator: VLLMGenerator) -> GeneratorJudge | None:
        """Makes the judge on the generator; None where the generator does not judge."""
        if not self.judges:
            return None
        return GeneratorJudge(generator, judge_family(self.config.verifier_format))

    def open_verifier(self) -> VLLMVerifier | None:
        """Opens the verifier of the configuration; None where it has none."""
        if self.verifier is None:
            return None
        started_s = time.perf_counter()
        register()
        self.device_owner.leave()
        arguments = self._verifier_arguments()
        llm = self.open_engine(
            "verifier",
            has_own_process=self._verifier_has_own_process,
            environment={
                **runner_environment(is_second=uses_second_runner(arguments)),
                **self.verifier_environment,
            },
            **arguments,
        )
        _log_opened(self.verifier, time.perf_counter() - started_s)
        try:
            return self._verifier(llm, self.verifier)
        except BaseException:
            close_engine(llm)
            raise

    def _tell_context(self, max_model_len: int) -> None:
        """Logs a context that is shorter than the model's, which nobody asked for."""
        longest = self.generator.max_model_len
        if self.config.max_model_len is None and longest is not None and max_model_len < longest:
            is_usual = self.plan is not None and not self.device.is_cpu
            logger.log(
                logging.INFO if is_usual else logging.WARNING,
                "the context of %s is %d tokens of the model's %d, for which there is memory: "
                "free memory, or choose with %s",
                self.generator.name,
                max_model_len,
                longest,
                option_name("max_model_len"),
            )

    def _with_numerics(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Decides for this process, and completes an engine's arguments."""
        if self.device.is_cpu or self.process.fix(self.config) == "default":
            return arguments
        return deterministic_arguments(arguments)

    def _numerics(self, llm: "LLM") -> Numerics:
        asked = "default" if self.device.is_cpu else self.process.check(self.config)
        return engine_numerics(llm, self.device, asked)

    @property
    def _takes_turns(self) -> bool:
        return self.plan is not None and self.plan.kind == "time_shared"

    def _graphs_end_at_starts(self, llm: "LLM") -> bool:
        """Whether CUDA graphs cover decoding as a whole, and batches with starts in parts."""
        if self.device.is_cpu or llm.llm_engine.model_config.enforce_eager:
            return False
        mode = llm.llm_engine.vllm_config.compilation_config.cudagraph_mode
        return bool(mode.mixed_mode() != mode.decode_mode())

    def _generator(
        self,
        llm: "LLM",
        *,
        is_second: bool,
        starts: GentleStarts | None,
        drafting: Drafting | None,
    ) -> VLLMGenerator:
        described: dict[str, Any] = {
            "name": self.config.generator,
            "tool_call_parser": self.config.tool_call_parser,
            "allow_control_tokens": self.config.allow_control_tokens,
            "settings": {
                **self.config.generator_args,
                **self._prompt_settings,
                **self._rank_settings,
            },
            "is_spread": self._is_spread,
            "published_sampling": model_sampling(llm.llm_engine.model_config),
            "vllm_penalizes": is_second,
            "has_distributions": report_distributions(llm, is_second=is_second),
            "starts": starts,
            "drafting": drafting,
            "numerics": self._numerics(llm),
        }
        if self._takes_turns:
            return SleepingGenerator(llm, device_owner=self.device_owner, **described)
        return VLLMGenerator(llm, num_reserved_seqs=self._num_reserved_seqs, **described)

    @property
    def _prompt_settings(self) -> dict[str, Any]:
        """What changes the prompts that a model is given for the same contents."""
        return {"allow_control_tokens": True} if self.config.allow_control_tokens else {}

    @property
    def _is_spread(self) -> bool:
        return self.config.tensor_parallel_size > 1

    @property
    def _rank_settings(self) -> dict[str, Any]:
        """What changes how sums are rounded."""
        return {"tensor_parallel_size": self.config.tensor_parallel_size} if self._is_spread else {}

    @property
    def _num_reserved_seqs(self) -> int:
        return _JUDGE_SEQS if self.judges else 0

    @property
    def _verifier_has_own_process(self) -> bool:
        planned = self.plan.verifier if self.plan else None
        is_planned = planned is not None and planned.has_own_process
        is_asked = self._verifier_works_beside
        is_beside_ranks = self._is_spread and not self.device.is_cpu  # as the plan counts
        offloading = offloads(self.config.generator_args)
        return is_asked or is_planned or is_beside_ranks or offloading

    @property
    def _verifier_works_beside(self) -> bool:
        """Whether the verifier scores while the generator decodes."""
        return self.config.verifier_process or self.config.verifier_device is not None

    def _beside(self, model: Checkpoint | None) -> Checkpoint | None:
        """The other model on an engine's GPU."""
        return None if self.config.verifier_device is not None else model

    def _verifier_arguments(self) -> dict[str, Any]:
        from vllm.config import PoolerConfig

        assert self.verifier is not None
        planned = engine_arguments(self.plan)[1] if self.plan else {}
        # Every position's value: vLLM 0.32 looks step tags up by their index in the whole prompt,
        # which raises IndexError where the prefix cache has left positions out.
        pooler = PoolerConfig(tok_pooling_type="ALL")
        family = self._family(self.verifier)
        num_thought_tokens = family.num_thought_tokens(self.config.verifier_format_args)
        arguments = self._with_numerics(
            verifier_arguments(
                self.config,
                self._beside(self.generator),
                self.verifier,
                self.device,
                planned,
                num_thought_tokens=num_thought_tokens,
            )
        )
        if family.is_generative:
            return {**arguments, "runner": "generate"}
        return {**arguments, "pooler_config": pooler}

    def _family(self, model: Checkpoint) -> Family:
        return find_family(str(self.config.verifier), model.config, self.config.verifier_format)

    def _verifier(self, llm: "LLM", model: Checkpoint) -> VLLMVerifier:
        name = str(self.config.verifier)
        tokenizer = ChatTokenizer(
            llm.get_tokenizer(), name, allow_control_tokens=self.config.allow_control_tokens
        )
        family = self._family(model)
        described: dict[str, Any] = {
            "name": name,
            "prompt_format": family.prompt_format(
                tokenizer, name, config=model.config, given=self.config.verifier_format_args
            ),
            "settings": {
                **self.config.verifier_args,
                **self._prompt_settings,
                "family": family.name,
                **self.config.verifier_format_args,
            },
            "numerics": self._numerics(llm),
        }
        if self._takes_turns:
            return SleepingVerifier(llm, device_owner=self.device_owner, **described)
        if self._verifier_works_beside:
            return ConcurrentVerifier(llm, **described)
        return VLLMVerifier(llm, **described)


def _log_opened(model: Checkpoint, seconds: float) -> None:
    fields = {"role": model.role, "model": model.name, "seconds": seconds}
    logger.info("%s is open after %.1f s", model.name, seconds, extra=fields)
