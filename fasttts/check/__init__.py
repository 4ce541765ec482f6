"""Two models on this device: measured within a time limit, judged, and a suggestion.

    check = Check(engine, word_problems(0, 32), SearchConfig(), system=None, deadline=Deadline(120))
    check.run()
    report = make_report(check.measured, latency_s=10.0)

`fasttts check` does this; nothing here writes to a terminal.
"""

from fasttts.check.deadline import Deadline
from fasttts.check.measure import Check
from fasttts.check.problems import CheckProblem, word_problems
from fasttts.check.report import Report, make_report

__all__ = ["Check", "CheckProblem", "Deadline", "Report", "make_report", "word_problems"]
