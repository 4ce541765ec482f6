"""Programs that models write: run in a sandbox, tested, judged, and compared by behaviour."""

from fasttts.code.examples import humaneval_examples
from fasttts.code.judge import Behaviour, judge, judge_many
from fasttts.code.limits import Limits
from fasttts.code.programs import Program, extract_program, find_program
from fasttts.code.runner import CancelledError, CodeRunner, Verdict
from fasttts.code.sandbox import Command, Sandbox
from fasttts.code.tests import CodeTests, assert_tests, call_tests, humaneval_tests, mbpp_tests
from fasttts.code.verifier import CodeVerifier

__all__ = [
    "Behaviour",
    "CancelledError",
    "CodeRunner",
    "CodeTests",
    "CodeVerifier",
    "Command",
    "Limits",
    "Program",
    "Sandbox",
    "Verdict",
    "assert_tests",
    "call_tests",
    "extract_program",
    "find_program",
    "humaneval_examples",
    "humaneval_tests",
    "judge",
    "judge_many",
    "mbpp_tests",
]
