"""Measures an engine within a time limit, the most needed numbers first."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from fasttts.check.deadline import Deadline
from fasttts.check.labelled import LabelledScores, score_labels
from fasttts.check.problems import CheckProblem
from fasttts.check.sampling import Sample, Sampler, sampling_order
from fasttts.check.scoring import score_all
from fasttts.check.speed import (
    NUM_SEQUENCES,
    Speed,
    fitting_batch,
    is_too_slow_for_more,
    measure_speed,
    warm_up,
)
from fasttts.check.step_rules import (
    StepStatistics,
    compare_rules,
    split_steps,
    step_logprobs,
    suiting_rule,
)
from fasttts.check.template import TemplateFacts, examine_template
from fasttts.config import SearchConfig, search_config
from fasttts.engine import FastTTS
from fasttts.interfaces import VerificationRequest
from fasttts.memory import EnginePlan
from fasttts.prm import LabelRecord
from fasttts.types import TokenLogprobs
from fasttts.verifiers.resolve import joint_num_logprobs

NUM_SIBLINGS = 8
"""Samples of each problem."""

_SPEED_SHARE = 0.06
_LABELS_SHARE = 0.3
_SAMPLING_SHARE = 0.7
_RESERVE_SHARE = 0.04
_USUAL_TOKENS = 256
"""Length of an answer before any is known."""

_MOST_SEQUENCES = 64

OnStage = Callable[[str], None]
"""Called with a description of what is measured next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """Properties of an engine that need no measurement.

    Attributes:
        generator: The generator's name.
        verifier: The verifier's; None without one.
        max_model_len: Longest prompt plus output, in tokens.
        max_num_seqs: Sequences that can run together.
        plan: The generator's share of the device; None where memory was not planned.
    """

    generator: str
    verifier: str | None
    max_model_len: int
    max_num_seqs: int
    plan: EnginePlan | None


@dataclass(slots=True, kw_only=True)
class Measured:
    """Everything that was measured, as far as the check came.

    Attributes:
        facts: Properties of the engine.
        config: The search whose sampling and step options were measured.
        system: The system message of all problems; None for none.
        problems: The problems.
        limit_s: Seconds that the check was given.
        elapsed_s: Seconds that it took.
        is_interrupted: Whether somebody stopped it.
        template: What the chat template writes; None where it was not reached.
        prompt_tokens: Longest prompt.
        speeds: Batches, in order of size.
        num_planned: Samples to draw.
        samples: Those that were drawn.
        rules: Steps of the samples under several rules.
        step_config: The search with the rule that suits the samples.
        steps: The steps of each scored sample, by its index.
        scores: Their scores.
        num_to_score: Samples to score.
        scoring_s: Seconds of scoring.
        labelled: How the verifier's scores fit labels; None where there are none, or no time was.
        peak_kv_cache_usage: Largest share of the generator's KV cache in use, 0 to 1.
        num_preemptions: Times a sequence lost its KV blocks.
    """

    facts: EngineFacts
    config: SearchConfig
    system: str | None
    problems: Sequence[CheckProblem]
    limit_s: float
    elapsed_s: float = 0.0
    is_interrupted: bool = False
    template: TemplateFacts | None = None
    prompt_tokens: int = 0
    speeds: list[Speed] = field(default_factory=list)
    num_planned: int = 0
    samples: list[Sample] = field(default_factory=list)
    rules: list[StepStatistics] = field(default_factory=list)
    step_config: SearchConfig | None = None
    steps: dict[int, tuple[str, ...]] = field(default_factory=dict)
    scores: dict[int, tuple[float, ...]] = field(default_factory=dict)
    num_to_score: int = 0
    scoring_s: float = 0.0
    labelled: LabelledScores | None = None
    peak_kv_cache_usage: float = 0.0
    num_preemptions: int = 0

    @property
    def suiting_rule(self) -> StepStatistics | None:
        """The rule whose steps a search can use; None where there is none, or no sample."""
        return suiting_rule(self.rules)

    @property
    def ended(self) -> list[Sample]:
        """Samples that were not ended by the time limit."""
        return [sample for sample in self.samples if sample.ending != "time"]

    @property
    def is_partial(self) -> bool:
        """Whether fewer samples ended by themselves, or at a cap, than were planned."""
        return len(self.ended) < self.num_planned or self.num_planned == 0


class Check:
    """The measurements of one engine, each kept as soon as it is made.

    Args:
        engine: An idle engine.
        problems: Problems to sample answers to.
        config: How to sample; its step options are the first that are tried.
        system: A system message; None for none.
        deadline: When to stop.
        on_stage: Reports progress; None for nobody.
        labels: Labels to judge the verifier by, in a part of the time; may be empty.

    Attributes:
        measured: What is known so far.
    """

    def __init__(
        self,
        engine: FastTTS,
        problems: Sequence[CheckProblem],
        config: SearchConfig,
        *,
        system: str | None,
        deadline: Deadline,
        on_stage: OnStage | None = None,
        labels: Sequence[LabelRecord] = (),
    ) -> None:
        self.measured = Measured(
            facts=_facts(engine),
            config=config,
            system=system,
            problems=problems,
            limit_s=deadline.limit_s,
        )
        self._engine = engine
        self._deadline = deadline
        self._on_stage = on_stage or (lambda stage: None)
        self._labels = labels

    def run(self) -> None:
        """Measures until everything is known or the time is up.

        An interrupt leaves what was measured before it.

        Raises:
            ConfigurationError: A problem does not fit into the context, or cannot be rendered.
            BackendError: A model failed.
        """
        found = self.measured
        try:
            self._measure()
        except KeyboardInterrupt:
            found.is_interrupted = True
            self._compare_rules()
        usage = self._engine.usage
        found.elapsed_s = self._deadline.elapsed_s
        found.num_preemptions = usage.num_preemptions
        found.peak_kv_cache_usage = usage.peak_kv_cache_usage

    def _measure(self) -> None:
        found = self.measured
        self._on_stage("rendering")
        found.template = examine_template(self._engine.generator)
        switches = found.config.chat_template_kwargs
        prompts = [
            self._engine.render(p.text, system=found.system, chat_template_kwargs=switches)
            for p in found.problems
        ]
        found.prompt_tokens = max(len(prompt.token_ids) for prompt in prompts)
        self._on_stage("warming up")
        warm_up(self._engine, self._deadline)
        self._measure_speeds()
        self._score_labels()
        self._sample()
        self._compare_rules()
        self._score()

    def _measure_speeds(self) -> None:
        speeds = self.measured.speeds
        for wanted in NUM_SEQUENCES:
            if speeds and is_too_slow_for_more(speeds[-1]):
                return
            self._on_stage(f"speed of {wanted} sequence{'s' * (wanted > 1)}")
            speed = measure_speed(self._engine, wanted, self._deadline.part(_SPEED_SHARE))
            if speed is not None:
                speeds.append(speed)

    def _score_labels(self) -> None:
        verifier = self._engine.verifier
        if verifier is not None and self._labels:
            self._on_stage("scoring labelled answers")
            part = self._deadline.part(_LABELS_SHARE)
            self.measured.labelled = score_labels(verifier, self._labels, part)

    def _sample(self) -> None:
        found, deadline = self.measured, self._deadline
        order = sampling_order(len(found.problems), NUM_SIBLINGS)
        found.num_planned = len(order)
        share = 1.0 if self._engine.verifier is None else _SAMPLING_SHARE
        part = deadline.part(share * (1.0 - _RESERVE_SHARE))
        most = min(_MOST_SEQUENCES, found.facts.max_num_seqs)
        batch = fitting_batch(found.speeds, _USUAL_TOKENS, part.left_s, most)
        sampler = Sampler(self._engine, found.problems, found.config, found.system)
        self._on_stage(f"sampling answers, {batch} at once")
        with closing(sampler.sample(order, batch, part)) as samples:
            for sample in samples:
                found.samples.append(sample)
                self._on_stage(f"answers: {len(found.samples)} of {len(order)}, {batch} at once")

    def _compare_rules(self) -> None:
        found = self.measured
        texts = [sample.text for sample in found.ended]
        found.rules = compare_rules(texts, self._engine.tokenizer, found.config)
        rule = found.suiting_rule
        found.step_config = search_config(found.config, **(rule.options if rule else {}))

    def _score(self) -> None:
        found, verifier = self.measured, self._engine.verifier
        if verifier is None or found.step_config is None:
            return
        found.steps = self._steps(found.step_config)
        found.num_to_score = len(found.steps)
        requests = [self._request(index, steps) for index, steps in found.steps.items()]
        part, indices = self._deadline.part(1.0 - _RESERVE_SHARE), list(found.steps)
        self._on_stage("scoring answers")
        for batch in score_all(verifier, requests, part):
            found.scores.update((indices[number], scores) for number, scores in batch)
            found.scoring_s = part.elapsed_s
            self._on_stage(f"scores: {len(found.scores)} of {len(requests)}")

    def _request(self, index: int, steps: tuple[str, ...]) -> VerificationRequest:
        """Asks for the scores of a sample's steps."""
        found = self.measured
        sample, config = found.samples[index], found.step_config
        logprobs: tuple[Sequence[TokenLogprobs], ...] | None = None
        if sample.logprobs and config is not None:
            logprobs = step_logprobs(sample.logprobs, config, self._engine.tokenizer)
        problem = found.problems[sample.problem].text
        return VerificationRequest(problem=problem, steps=steps, logprobs=logprobs)

    def _steps(self, config: SearchConfig) -> dict[int, tuple[str, ...]]:
        """The steps of all samples that ended, siblings next to each other.

        A sample whose log-probabilities the verifier reads is left out where it has none.
        """
        found = self.measured
        ended = [i for i, sample in enumerate(found.samples) if sample.ending != "time"]
        split = {
            index: tuple(split_steps(found.samples[index].text, config, self._engine.tokenizer))
            for index in sorted(ended, key=lambda index: found.samples[index].problem)
        }
        verifier = self._engine.verifier
        reads_logprobs = verifier is not None and joint_num_logprobs(verifier) is not None
        return {
            index: steps
            for index, steps in split.items()
            if steps and (found.samples[index].logprobs or not reads_logprobs)
        }


def _facts(engine: FastTTS) -> EngineFacts:
    return EngineFacts(
        generator=engine.generator_name,
        verifier=engine.verifier_name,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.generator.max_num_seqs,
        plan=None if engine.plan is None else engine.plan.generator,
    )
