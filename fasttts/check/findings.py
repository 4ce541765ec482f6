"""All findings of a check, in the order in which they are shown."""

from fasttts.check.answer_findings import accuracy_findings, answer_findings, step_findings
from fasttts.check.engine_findings import memory_findings, speed_findings, template_findings
from fasttts.check.finding import Finding
from fasttts.check.measure import Measured
from fasttts.check.summary import Summary
from fasttts.check.verifier_findings import verifier_findings


def find(measured: Measured, summary: Summary, latency_s: float) -> list[Finding]:
    """Judges every measurement.

    Args:
        measured: The measurements.
        summary: Their summary.
        latency_s: Seconds that an answer may take.
    """
    return [
        *memory_findings(measured),
        *speed_findings(measured, summary, latency_s),
        *template_findings(measured),
        *step_findings(measured),
        *answer_findings(measured, summary),
        *accuracy_findings(measured, summary),
        *verifier_findings(measured, summary),
    ]
