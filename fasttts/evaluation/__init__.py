"""Accuracy of search methods on problems with known answers.

`fasttts eval` is the command; the same in Python:

    configs = {method: method_config(method, n=8) for method in ("greedy", "beam_search")}
    comparison = Comparison(engine=engine, problems=problems, configs=configs)
    tally = Tally(configs, len(problems))
    for evaluated in comparison.run():
        tally.add(evaluated.record)
    print(tally.evaluation("my problems", seed=0).to_json())
"""

from fasttts.evaluation.curves import CurveRule, pass_at_k, problem_curves
from fasttts.evaluation.datasets import ProblemSet, load_problems
from fasttts.evaluation.grading import (
    AnswerJudge,
    GradedCandidate,
    Judge,
    ProblemOutcome,
    Verdict,
    grade,
    is_correct,
)
from fasttts.evaluation.intervals import mcnemar_p, paired_interval, wilson_interval
from fasttts.evaluation.journal import Journal
from fasttts.evaluation.methods import METHODS, Method, method_config
from fasttts.evaluation.problem_file import read_problems
from fasttts.evaluation.problems import Problem, digest
from fasttts.evaluation.programs import TESTS, ProgramJudge, has_programs, shown_tests
from fasttts.evaluation.records import Record, RunCost
from fasttts.evaluation.runner import MAX_IN_FLIGHT, Comparison, Evaluated, Limits
from fasttts.evaluation.summary import Curve, CurvePoint, Difference, Evaluation, Row, Tally

__all__ = [
    "MAX_IN_FLIGHT",
    "METHODS",
    "TESTS",
    "AnswerJudge",
    "Comparison",
    "Curve",
    "CurvePoint",
    "CurveRule",
    "Difference",
    "Evaluated",
    "Evaluation",
    "GradedCandidate",
    "Journal",
    "Judge",
    "Limits",
    "Method",
    "Problem",
    "ProblemOutcome",
    "ProblemSet",
    "ProgramJudge",
    "Record",
    "Row",
    "RunCost",
    "Tally",
    "Verdict",
    "digest",
    "grade",
    "has_programs",
    "is_correct",
    "load_problems",
    "mcnemar_p",
    "method_config",
    "paired_interval",
    "pass_at_k",
    "problem_curves",
    "read_problems",
    "shown_tests",
    "wilson_interval",
]
