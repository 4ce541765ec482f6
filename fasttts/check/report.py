"""The report of a check, as one value that converts to JSON."""

from dataclasses import dataclass

from fasttts.check.advice import Suggestion, suggest
from fasttts.check.finding import Finding
from fasttts.check.findings import find
from fasttts.check.labelled import LabelledScores
from fasttts.check.measure import Measured
from fasttts.check.problems import CheckProblem
from fasttts.check.sampling import Sample
from fasttts.check.speed import Speed
from fasttts.check.step_rules import StepStatistics
from fasttts.check.summary import Summary, summarize
from fasttts.check.template import TemplateFacts
from fasttts.types import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Document):
    """Everything that a check tells.

    Attributes:
        generator: The generator's name.
        verifier: The verifier's; None without one.
        limit_s: Seconds that the check was given.
        elapsed_s: Seconds that it took.
        load_s: Seconds of loading the models, which are not among them; None where unknown.
        is_interrupted: Whether somebody stopped it.
        findings: The lines, in order.
        suggestion: A configuration.
        template: What the chat template writes; None where it was not reached.
        speeds: Measured batches.
        step_rules: Steps of the samples under several rules; the first is the measured search's.
        summary: Numbers from the samples.
        problems: The problems.
        samples: The answers to them, in the order in which they ended.
        labelled: How the verifier's scores fit labels; None where none were given or scored.
    """

    generator: str
    verifier: str | None
    limit_s: float
    elapsed_s: float
    load_s: float | None
    is_interrupted: bool
    findings: tuple[Finding, ...]
    suggestion: Suggestion
    template: TemplateFacts | None
    speeds: tuple[Speed, ...]
    step_rules: tuple[StepStatistics, ...]
    summary: Summary
    problems: tuple[CheckProblem, ...]
    samples: tuple[Sample, ...]
    labelled: LabelledScores | None = None


def make_report(measured: Measured, *, latency_s: float, load_s: float | None = None) -> Report:
    """Judges measurements and chooses a configuration.

    Args:
        measured: The measurements.
        latency_s: Seconds that an answer may take.
        load_s: Seconds of loading the models.
    """
    summary = summarize(measured)
    return Report(
        generator=measured.facts.generator,
        verifier=measured.facts.verifier,
        limit_s=measured.limit_s,
        elapsed_s=measured.elapsed_s,
        load_s=load_s,
        is_interrupted=measured.is_interrupted,
        findings=tuple(find(measured, summary, latency_s)),
        suggestion=suggest(measured, summary, latency_s),
        template=measured.template,
        speeds=tuple(measured.speeds),
        step_rules=tuple(measured.rules),
        summary=summary,
        problems=tuple(measured.problems),
        samples=tuple(measured.samples),
        labelled=measured.labelled,
    )
