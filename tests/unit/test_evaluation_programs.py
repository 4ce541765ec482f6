"""Programs in evaluations: what may score them, what decides, and how they vote."""

from collections.abc import Sequence

import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.code import (
    Behaviour,
    CodeRunner,
    assert_tests,
    call_tests,
    humaneval_examples,
)
from fasttts.errors import SearchError
from fasttts.evaluation import (
    Problem,
    ProgramJudge,
    has_programs,
    method_config,
    shown_tests,
)
from fasttts.types import Candidate
from tests.code_problems import HUMANEVAL
from tests.program_writer import ProgramWriter, fenced

SHOWN = call_tests("add", [((1, 2), 3), ((2, 2), 4)])
HIDDEN = call_tests("add", [((-7, 9), 2)])
ADD = Problem(id="add", text="Write add.", tests=HIDDEN, shown=SHOWN)
SUM = Problem(id="sum", text="What is 1 + 1?", answer="2")

ADDS = fenced("def add(a, b):\n    return a + b")
SUMS = fenced("def add(a, b):\n    return sum((a, b))")
MULTIPLIES = fenced("def add(a, b):\n    return a * b")
BREAKS = fenced("def add(a, b):\n    raise ValueError")


def candidates(*texts: str, answer: str | None = None) -> list[Candidate]:
    return [
        Candidate(
            path=(number,),
            text=text,
            steps=(),
            score=None,
            answer=answer,
            finish_reason="stop",
            num_tokens=1,
        )
        for number, text in enumerate(texts)
    ]


@pytest.mark.sandbox
def test_hidden_tests_decide_and_behaviour_votes(code_runner: CodeRunner) -> None:
    judge = ProgramJudge(code_runner)
    found = candidates(ADDS, SUMS, MULTIPLIES, BREAKS, "I do not know.")
    assert list(judge.right(ADD, found)) == [True, True, False, False, False]
    assert [list(group) for group in judge.groups(ADD, found)] == [[0, 1], [2]]
    programs = judge.answers(ADD, found)
    assert programs[1] == "def add(a, b):\n    return sum((a, b))\n"
    assert [program is None for program in programs] == [False, False, False, False, True]
    assert "equality" in judge.name


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("shown", "hidden", "groups"),
    [
        (SHOWN, HIDDEN, [[0, 1], [2]]),
        (None, HIDDEN, [[0, 1], [2]]),
        (assert_tests(["assert callable(add)"]), HIDDEN, [[0, 1], [2]]),
        (call_tests("add", [((2, 2), 4)]), HIDDEN, [[0, 1, 2]]),
        (None, assert_tests(["for n in (3, 4): assert add(n, n) == 2 * n"]), [[0], [1], [2]]),
    ],
    ids=["shown", "hidden", "no calls are shown", "equal where it is shown", "no calls"],
)
def test_votes_go_by_the_inputs_that_there_are(
    code_runner: CodeRunner, shown: object, hidden: object, groups: Sequence[Sequence[int]]
) -> None:
    problem = Problem(id="add", text="Write add.", tests=hidden, shown=shown)  # type: ignore[arg-type]
    judge = ProgramJudge(code_runner)
    found = candidates(ADDS, SUMS, MULTIPLIES)
    assert [list(group) for group in judge.groups(problem, found)] == groups
    vote = judge.extractor(problem, method_config("majority", n=4))
    assert vote is not None
    assert [
        vote(a.text) == vote(b.text) for a, b in ((found[0], found[1]), (found[1], found[2]))
    ] == [len(groups) < 3, len(groups) == 1]


@pytest.mark.sandbox
def test_problems_without_tests_are_left_to_the_other_judge(code_runner: CodeRunner) -> None:
    judge = ProgramJudge(code_runner)
    found = candidates("It is 2.", answer="2")
    assert judge.extractor(SUM, method_config("majority", n=4)) is None
    assert list(judge.answers(SUM, found)) == ["2"]
    assert list(judge.right(SUM, found)) == [True]
    assert [list(group) for group in judge.groups(SUM, found)] == [[0]]


@pytest.mark.sandbox
def test_searches_that_do_not_vote_run_nothing_to_find_answers(code_runner: CodeRunner) -> None:
    judge = ProgramJudge(code_runner)
    for method in ("greedy", "best_of_n", "beam_search"):
        extract = judge.extractor(ADD, method_config(method, n=4))  # type: ignore[arg-type]
        assert not isinstance(extract, Behaviour)
    assert isinstance(judge.extractor(ADD, method_config("self_consistency", n=4)), Behaviour)


def test_shown_tests_are_found_by_the_text_of_a_problem() -> None:
    assert has_programs([SUM, ADD])
    assert not has_programs([SUM])
    assert shown_tests([ADD, ADD]) == {"Write add.": SHOWN}
    with pytest.raises(ConfigurationError, match="'sum' has no tests that a search may use"):
        shown_tests([ADD, SUM])


EXAMPLES = '''from typing import List


def helper(x):
    """Adds one.
    >>> helper(1)
    2
    """
    return x + 1


def f(values: List[int], by: int = 1):
    """Says something.
    >>> f([1, 2], by=-3)
    [4, 5]
    >>> f([])
    >>> f(helper(1))
    7
    >>> f([9])
    'nine'

    and in words: f(3) is 4
    >>> f("a") == "b"
    True
    """
'''


def test_examples_of_a_prompt_are_tests() -> None:
    tests = humaneval_examples({"prompt": EXAMPLES, "entry_point": "f"})
    assert tests.tests == ("assert f([1, 2], by=-3) == [4, 5]", "assert f([9]) == 'nine'")
    assert (tests.names, tests.prompt) == (("f",), EXAMPLES)
    found = [humaneval_examples(record).tests for record in HUMANEVAL]
    assert found[0] == ("assert widest_gap([1, 9, 4]) == 5",)
    assert found[1] == ("assert callable(mirror_words)",)


@pytest.mark.parametrize(
    "prompt", ["def f(:", "def f():\n    '''\n      >>>f()\n    1\n    '''", "def f():\n"]
)
def test_a_prompt_without_examples_asks_for_the_function(prompt: str) -> None:
    tests = humaneval_examples({"prompt": prompt, "entry_point": "f"})
    assert tests.tests == ("assert callable(f)",)
    with pytest.raises(ConfigurationError, match="needs prompt and entry_point"):
        humaneval_examples({"prompt": prompt})


@pytest.mark.sandbox
def test_the_function_has_to_be_there(code_runner: CodeRunner) -> None:
    tests = humaneval_examples({"prompt": "def f():\n", "entry_point": "f"})
    assert code_runner.run("def f():\n    return 1", tests).is_right
    assert not code_runner.run("f = 1", tests).is_right
    assert not code_runner.run("def g():\n    return 1", tests).is_right


class Ahead:
    """Remembers what it was given: texts ahead, and each."""

    def __init__(self, error: Exception | None = None) -> None:
        self.ahead: list[str] = []
        self.read: list[str] = []
        self._error = error

    def look_ahead(self, texts: Sequence[str]) -> None:
        self.ahead += texts
        if self._error is not None:
            raise self._error

    def __call__(self, text: str) -> str | None:
        assert text in self.ahead
        self.read.append(text)
        return text[:4]


def test_an_extractor_may_look_ahead() -> None:
    ahead = Ahead()
    with FastTTS(
        ProgramWriter({"word": ["<think>\nno\n</think>\n\none", "<think>\nno\n</think>\n\ntwo"]})
    ) as engine:
        result = engine.search("word", search="best_of_n", n=8, extract=ahead)
    assert len(ahead.ahead) == len(ahead.read) == 8
    assert {text.strip() for text in ahead.ahead} == {"one", "two"}, (
        "what is said, without thoughts"
    )
    assert len(result.votes) == 2


def test_what_an_extractor_raises_ahead_is_its_own() -> None:
    with (
        FastTTS(FakeGenerator(lambda _: "word")) as engine,
        pytest.raises(SearchError, match=r"Ahead.* failed on a candidate's text: KeyError"),
    ):
        engine.search("word", search="best_of_n", n=2, extract=Ahead(KeyError("no")))


def test_each_problem_may_have_an_extractor() -> None:
    with FastTTS(FakeGenerator(lambda _: "It is \\boxed{3}.")) as engine:
        found = dict(engine.search_each(["a", "b"], search="none", extractors=[str.upper, None]))
        assert [getattr(found[index], "answer", None) for index in range(2)] == [
            "IT IS \\BOXED{3}.",
            "3",
        ]
        with pytest.raises(ConfigurationError, match=r"extractors.*a list of 2 functions"):
            list(engine.search_each(["a", "b"], extractors=[None]))
