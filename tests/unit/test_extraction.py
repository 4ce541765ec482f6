"""Where each rule finds an answer, and that no text holds it up."""

import pytest

from fasttts.answers.extraction import EXTRACTORS, make_extractor
from fasttts.config import search_config
from fasttts.errors import ConfigurationError
from tests.unit.answer_cases import EXTRACTIONS

RULES = [*EXTRACTORS, "json:answer"]


@pytest.mark.parametrize(("rule", "text", "answer"), EXTRACTIONS)
def test_extraction(rule: str, text: str, answer: str | None) -> None:
    assert make_extractor(rule)(text) == answer


def test_every_rule_has_cases() -> None:
    assert {rule for rule, _, _ in EXTRACTIONS} >= set(RULES)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "part",
    [
        r"\boxed{",
        r"\boxed{1",
        "{",
        '{"answer":',
        "answer is: **\n",
        "The answer is ",
        "```\n",
        "1,",
        "9",
        "- ",
        "(A",
        "option ",
        "$",
        "####",
        " ",
    ],
)
def test_a_model_that_repeats_itself_for_pages(rule: str, part: str) -> None:
    answer = make_extractor(rule)(part * 20_000)
    assert answer is None or isinstance(answer, str)


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_options(rule: str) -> None:
    assert search_config(answer=rule).answer == rule


@pytest.mark.parametrize("rule", ["", "json:", "jso", "box", "boxed ", "last number"])
def test_other_rules_are_refused(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="answer"):
        search_config(answer=rule)
