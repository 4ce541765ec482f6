"""From a model's text to a verdict, in both layouts, and equality by behaviour."""

import math
from typing import Any

import pytest

from fasttts import ConfigurationError
from fasttts.answers.equality import group_equal
from fasttts.code import (
    Behaviour,
    CancelledError,
    CodeRunner,
    CodeTests,
    Limits,
    assert_tests,
    call_tests,
    humaneval_tests,
    judge,
    judge_many,
    mbpp_tests,
)
from tests.code_problems import HUMANEVAL, MBPP, WRONG

ADD = call_tests("add", [((1, 2), 3), ((2, 2), 4), ((-1, 1), 0)])
ADDS = "```python\ndef add(a, b):\n    return a + b\n```"


@pytest.mark.sandbox
@pytest.mark.parametrize("record", HUMANEVAL, ids=lambda record: str(record["entry_point"]))
def test_humaneval(code_runner: CodeRunner, record: dict[str, Any]) -> None:
    tests, name = humaneval_tests(record), record["entry_point"]
    whole = record["prompt"] + record["canonical_solution"]
    wrong = WRONG[name]
    texts = [
        record["canonical_solution"],  # a base model goes on
        f"Here it is:\n```python\n{whole}```\nIt sorts.",  # a chat model repeats the function
        f"```python\n{wrong}```",
        "I cannot do that.",
    ]
    verdicts = judge_many(texts, [tests] * 4, runner=code_runner)
    assert [one.problem for one in verdicts[:2]] == [None, None]
    assert [one.is_right for one in verdicts] == [True, True, False, False]
    assert verdicts[2].is_loaded
    assert not verdicts[3].is_loaded
    assert {one.num_tests for one in verdicts} == {len(tests.tests)}


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "end",
    ["\n\ncheck({name})\n", "\nif __name__ == '__main__':\n    check({name})\n    print('ok')\n"],
)
def test_a_test_that_calls_itself_is_called_once(code_runner: CodeRunner, end: str) -> None:
    record = HUMANEVAL[0]
    name = record["entry_point"]
    tests = humaneval_tests({**record, "test": record["test"] + end.format(name=name)})
    assert tests.tests == humaneval_tests(record).tests
    whole = f"```python\n{record['prompt']}{record['canonical_solution']}```"
    assert judge(whole, tests, runner=code_runner).is_right
    assert not judge(f"```python\n{WRONG[name]}```", tests, runner=code_runner).is_right


@pytest.mark.sandbox
@pytest.mark.parametrize("record", MBPP, ids=lambda record: str(record["task_id"]))
def test_mbpp(code_runner: CodeRunner, record: dict[str, Any]) -> None:
    tests = mbpp_tests(record, with_challenges=True)
    right = judge(f"So:\n```python\n{record['code']}\n```", tests, runner=code_runner)
    assert (right.problem, right.num_passed) == (None, len(tests.tests))
    names = "\n".join(f"def {name}(*args): return 0" for name in tests.names)
    wrong = judge(names, tests, runner=code_runner)
    assert not wrong.is_right
    assert wrong.is_loaded


def test_a_text_without_a_program() -> None:
    with CodeRunner(sandbox="none") as runner:
        verdict = judge("I cannot do that.", ADD, runner=runner)
    assert (verdict.num_passed, verdict.num_tests) == (0, 3)
    assert verdict.problem == "there is no program in the text"


CHEATS = """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return True
    def __lt__(self, other): return True
    def __bool__(self): return True
    def __iter__(self): return iter(())
    def __getattr__(self, name): return Any()
    def __call__(self, *args, **kwargs): return Any()
    def __sub__(self, other): return 0
    __rsub__ = __sub__
    def __abs__(self): return 0
    __hash__ = None
class math:
    isclose = staticmethod(lambda *args, **kwargs: True)
    nan = 0
all = any = abs = permutations = encode_shifted = lambda *args: True
"""
"""What a program may define to please tests, and does not reach them."""


@pytest.mark.sandbox
@pytest.mark.parametrize("number", range(10))
def test_no_problem_is_solved_by_cheating(code_runner: CodeRunner, number: int) -> None:
    record = [*HUMANEVAL, *MBPP][number]
    tests = humaneval_tests(record) if "entry_point" in record else mbpp_tests(record)
    texts = [
        f"```python\n{CHEATS}"
        + "".join(f"def {name}(*args): return {value}\n" for name in tests.names)
        for value in ("Any()", "Any", "0", "True", "iter(())", "float('nan')")
    ]
    verdicts = judge_many(texts, [tests] * len(texts), runner=code_runner)
    assert all(verdict.is_loaded for verdict in verdicts)
    assert not any(verdict.is_right for verdict in verdicts)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import math\nfrom math import isclose\ndef f(): pass\n", ("f",)),
        ("import numpy as np\nx = 3\ndef f():\n    y = x\nclass G: pass", ("x", "f", "G")),
    ],
)
def test_only_definitions_are_taken_from_programs(code: str, names: tuple[str, ...]) -> None:
    asserts = ["assert math.isclose(f(), 2) and isclose(1, G)", "y = np = x\nassert y"]
    tests = mbpp_tests({"code": code, "test_list": asserts})
    assert tests.names == names
    assert "import math" in tests.setup
    assert "numpy" not in tests.setup


@pytest.mark.sandbox
def test_the_share_of_tests(code_runner: CodeRunner) -> None:
    tests = humaneval_tests(HUMANEVAL[0])
    verdict = judge(f"```\n{WRONG['widest_gap']}```", tests, runner=code_runner)
    assert (verdict.num_passed, verdict.num_tests) == (3, 5)
    assert verdict.share == 0.6
    assert verdict.problem == "AssertionError"


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("value", "source"),
    [
        ([1, (2.5, None), {"a": {1, 2}}, True], "[1, (2.5, None), {'a': {2, 1}}, True]"),
        (-(10**40), "-10 ** 40"),
        (frozenset([1]), "frozenset([1])"),
        (b"\x00\xff", r"b'\0\xff'"),
        (1 + 2j, "complex(1, 2)"),
        (float("-inf"), "float('-inf')"),
        ("\ud800 ∑ \x00", r"'\ud800 ∑ \0'"),
        ({(1, 2): []}, "{(1, 2): []}"),
        (set(), "set()"),
        (3, "__import__('enum').IntEnum('E', {'a': 3}).a"),
        ({"a": 1}, "__import__('collections').Counter('a')"),
        ((1, 2), "__import__('collections').namedtuple('P', 'x y')(1, 2)"),
    ],
)
def test_plain_values_keep_their_types(code_runner: CodeRunner, value: Any, source: str) -> None:
    program = f"def made():\n    return {source}\ndef given(x):\n    return x"
    made, given = call_tests("made", [((), value)]), call_tests("given", [((value,), value)])
    expected = made.tests[0].partition(" == ")[2]
    tests = assert_tests(
        [*made.tests, *given.tests, f"assert type(made()) is type({expected})"],
        names=["made", "given"],
    )
    assert code_runner.run(program, tests).problem is None


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("test", "program"),
    [
        ("assert add.__name__ == 'add'", ADDS),
        ("assert add(1, b=2) == 3", "import json\ndef add(a, b): return object()"),
        ("assert add(1, 2)", "def add(a, b): return object()"),
        ("assert add(1, 2) is add(1, 2)", "x = object()\ndef add(a, b): return x"),
        ("assert add(lambda: 1, 2)", "def add(a, b): return True"),
        (
            "assert math.isclose(add(1, 2), 3)",
            "class math:\n  isclose = print\ndef add(a, b): return 4",
        ),
        (
            "try:\n    add(1, 2)\nexcept BaseException:\n    pass",
            "import os\ndef add(*_): os._exit(0)",
        ),
        (
            "while True:\n    try:\n        add(1)\n    except ValueError:\n        pass",
            "def add(_): raise ValueError",
        ),
        ("assert len(list(add(1, 2)))", "import itertools\ndef add(*_): return itertools.count()"),
    ],
)
def test_what_no_program_passes(code_runner: CodeRunner, test: str, program: str) -> None:
    tests = assert_tests([test], names=["add"])
    assert not code_runner.run(program.strip("`").removeprefix("python"), tests).is_right


@pytest.mark.sandbox
def test_behaviour_votes(code_runner: CodeRunner) -> None:
    behaviour = Behaviour(ADD, runner=code_runner)
    texts = [
        ADDS,
        "```python\ndef add(x, y):\n    return float(sum([x, y]))\n```",
        "```python\ndef add(a, b):\n    return a - b\n```",
        "```python\nadd = lambda a, b: b + a\n```",
        "```python\ndef add(a, b):\n    raise OSError\n```",
        "no program",
    ]
    answers = [behaviour(text) for text in texts]
    assert group_equal(answers) == [[0, 1, 3], [2]]
    assert answers[4:] == [None, None]


@pytest.mark.sandbox
def test_behaviour_in_humanevals_layout(code_runner: CodeRunner) -> None:
    record = HUMANEVAL[0]
    behaviour = Behaviour(humaneval_tests(record), runner=code_runner)
    right, wrong = record["canonical_solution"], WRONG["widest_gap"]
    found = [behaviour(text) for text in (right, f"```\n{record['prompt']}{right}```", wrong)]
    assert group_equal(found) == [[0, 1], [2]]


@pytest.mark.sandbox
def test_behaviour_knows_order_where_it_matters(code_runner: CodeRunner) -> None:
    tests = assert_tests(["assert f(1) == 2", "assert f('x') == 3"])
    behaviour = Behaviour(tests, runner=code_runner)
    values = ["[1, 2]", "[2, 1]", "(1, 2)", "{1, 2}", "{2, 1}", "{1: 2, 3: 4}", "{3: 4, 1: 2}"]
    found = [behaviour(f"def f(x): return {value}") for value in values]
    assert [found.index(one) for one in found] == [0, 1, 2, 3, 3, 5, 5]


@pytest.mark.parametrize(
    "value", [[1, [2]], (), (1,), {1}, set(), frozenset((2,)), {1: [2]}, math.inf, 1j, b"x", None]
)
def test_calls_with_plain_data_are_found_in_tests(value: object) -> None:
    (call,) = call_tests("add", [((value, 1), 2)]).calls()
    arguments: object = eval(call.removeprefix("add"))
    assert arguments == (value, 1)
    calls = assert_tests(["assert add(set([x])) + add(str(1)) + add(min([2])) + add(add(3))"])
    assert calls.calls() == ("add(3)",)


def test_calls_are_found_in_tests() -> None:
    tests = assert_tests(["assert f(1, x=[2]) == f('a')", "y = 3\nassert f(y) > f(g(1))"])
    assert tests.calls() == ("f(1, x=[2])", "f('a')", "g(1)")
    assert humaneval_tests(HUMANEVAL[0]).calls()[0] == "candidate([1, 9, 4])"
    with pytest.raises(ConfigurationError, match="calls"):
        Behaviour(assert_tests(["assert f(y)"], setup="y = 2"), runner=CodeRunner(sandbox="none"))


@pytest.mark.sandbox
def test_a_program_is_run_once(code_runner: CodeRunner) -> None:
    with CodeRunner(sandbox=code_runner.sandbox, num_parallel=4) as runner:
        program = "import time\nnow = time.time_ns()\ndef add(a, b): return now"
        calls = Behaviour(ADD, runner=runner)
        assert len({calls(program) for _ in range(3)}) == 1
        assert judge_many([program] * 4, [ADD] * 4, runner=runner) == [runner.run(program, ADD)] * 4


@pytest.mark.sandbox
def test_a_closed_runner_refuses(code_runner: CodeRunner) -> None:
    runner = CodeRunner(sandbox=code_runner.sandbox)
    runner.close()
    with pytest.raises(CancelledError):
        runner.run("x = 1", ADD)


@pytest.mark.sandbox
def test_scratch_space_has_its_bound(code_runner: CodeRunner) -> None:
    write = "def add(a, b):\n    open('x', 'wb').write(b'1' * {})\n    return a + b"
    limits = Limits(scratch_bytes=1 << 16)
    with CodeRunner(sandbox=code_runner.sandbox, limits=limits) as runner:
        assert runner.run(write.format(100), ADD).is_right
        assert not runner.run(write.format(1 << 20), ADD).is_right


def test_no_sandbox_on_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with CodeRunner(sandbox="none") as runner:
        assert judge(ADDS, ADD, runner=runner).is_right
        assert not runner.run("import sys; sys.exit()", ADD).is_right
    with pytest.raises(ConfigurationError, match="choose of"):
        CodeRunner(sandbox="docker")  # type: ignore[arg-type]  # refused


@pytest.mark.parametrize(
    "options",
    [{"cpu_s": 0}, {"wall_s": -1}, {"memory_bytes": 1 << 20}, {"scratch_bytes": -1}],
)
def test_limits_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Limits(**options)


def _importing(statement: str) -> dict[str, Any]:
    """A record of HumanEval's layout whose test imports something first."""
    return {**HUMANEVAL[0], "test": f"{statement}\n\n{HUMANEVAL[0]['test']}"}


def test_what_a_test_may_do_without_may_be_missing() -> None:
    optional = "try:\n    import numpy\nexcept ImportError:\n    numpy = None"
    assert humaneval_tests(_importing(optional)).tests == humaneval_tests(HUMANEVAL[0]).tests
    assert humaneval_tests(_importing("from __future__ import annotations\nimport math")).tests


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: humaneval_tests({"prompt": "def f(): pass"}), "entry_point, test"),
        (lambda: humaneval_tests({**HUMANEVAL[0], "test": "x = 1"}), "no function check"),
        (lambda: humaneval_tests(_importing("import numpy as np")), "'import numpy as np'"),
        (lambda: humaneval_tests(_importing("if True:\n    from a.b import c")), "no packages"),
        (
            lambda: mbpp_tests({"test_list": ["assert f(1)"], "test_imports": ["import torch"]}),
            "torch",
        ),
        (lambda: assert_tests(["import pandas\nassert f(1)"]), "pandas"),
        (lambda: assert_tests(["assert f(1) == " + "+".join(["1"] * 100_000)]), "not Python"),
        (lambda: mbpp_tests({"text": "f"}), "test_list"),
        (lambda: assert_tests([]), "needs a test"),
        (lambda: assert_tests(["assert f(1"]), "not Python"),
        (lambda: assert_tests(["assert 1"]), "uses a name"),
        (lambda: assert_tests(["assert np.allclose(1, 2)"]), "uses a name"),
        (lambda: call_tests("f(", [((1,), 2)]), "name of a function"),
        (lambda: call_tests("f", [((object(),), 2)]), "no plain value"),
        (lambda: CodeRunner(sandbox="none", num_parallel=0), "num_parallel=0"),
    ],
)
def test_bad_input_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_what_cannot_fail_is_no_test() -> None:
    body = ["assert True, 'first'", "assert c(1)", "x = 3", "assert c(x)", "x"]
    check = "\n    ".join(["def check(c):", *body])
    tests = humaneval_tests({**HUMANEVAL[0], "test": check}).tests
    assert tests == ("assert True, 'first'\nassert c(1)", "x = 3\nassert c(x)\nx")


def test_a_check_that_returns_stays_whole() -> None:
    test = "def check(candidate):\n    if candidate(1):\n        return\n    assert candidate(2)\n"
    record = {**HUMANEVAL[0], "test": test}
    assert len(humaneval_tests(record).tests) == 1


def test_equal_tests_are_equal() -> None:
    assert call_tests("add", [((1,), 2)]) == CodeTests(
        tests=("assert add(1) == 2",), names=("add",)
    )
