"""Constrained decoding inside searches, on the fake backend."""

import functools
import json
import pickle
from typing import Any

import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.answers.equality import answers_equal, group_equal
from fasttts.backends.fake import (
    EOS,
    VOCAB_SIZE,
    FakeGenerator,
    FakeTokenizer,
    FakeVerifier,
    vocabulary,
)
from fasttts.config import PLAIN, SchedulingConfig, SearchConfig, search_config
from fasttts.decoding.grammar import Constraints, serve_received
from fasttts.decoding.structured_outputs import StructuredOutputs, Thoughts
from fasttts.engine.request import Prompt, is_thinking
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from tests.drafters import Mixed
from tests.searches import UNTIMED, Recorder, drive, make_run, same_tree, snapshot

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "count": {"type": "integer"}},
    "required": ["name", "count"],
}
GRAMMAR = 'start: word ("\\n\\n" word)+ "\\n\\nEND"\nword: /[a-d]{1,9}/\n'
SEARCHES = [
    {"search": "none", "temperature": 1.0},
    {"search": "best_of_n", "n": 5},
    {"search": "self_consistency", "n": 6},
    {"search": "beam_search", "n": 6, "beam_width": 2, "step_tokens": 5},
    {"search": "dvts", "n": 4, "beam_width": 2, "step_tokens": 3},
    {"search": "lookahead", "n": 4, "beam_width": 2, "step_tokens": 4},
]


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_every_candidate_follows_the_schema(search: dict[str, Any]) -> None:
    with FastTTS(FakeGenerator(), FakeVerifier(), scheduling=UNTIMED) as engine:
        result = engine.search("Who?", structured_outputs={"json": SCHEMA}, **search)
    for candidate in result.candidates:
        value = json.loads(candidate.text)
        assert set(value) == {"name", "count"}
        assert isinstance(value["count"], int)
        assert candidate.answer is not None
        assert json.loads(candidate.answer) == value


@pytest.mark.parametrize(
    ("outputs", "check"),
    [
        ({"choice": ["yes", "no"]}, lambda text: text in ("yes", "no")),
        ({"regex": "[ab]{3}/[0-9]"}, lambda text: text[3] == "/" and text[4].isdigit()),
        ({"grammar": GRAMMAR}, lambda text: text.endswith("\n\nEND")),
        ({"json_object": True}, lambda text: isinstance(json.loads(text), dict)),
        ({"json": json.dumps(SCHEMA)}, lambda text: "count" in json.loads(text)),
    ],
)
def test_every_kind_of_constraint(outputs: dict[str, Any], check: Any) -> None:
    with FastTTS(FakeGenerator()) as engine:
        for seed in range(3):
            options = {"search": "none", "temperature": 1.0, "seed": seed}
            assert check(engine.search("?", structured_outputs=outputs, **options).text)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "exactly one"),
        ({"json": SCHEMA, "regex": "a"}, "exactly one"),
        ({"regex": "(a"}, "cannot be followed"),
        ({"json": {"type": "guess"}}, "cannot be followed"),
        ({"json": "3"}, "a JSON schema is an object"),
        ({"jsn": SCHEMA}, "jsn"),
    ],
)
def test_what_cannot_be_followed_is_refused(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        search_config(structured_outputs=outputs)


@pytest.mark.parametrize(
    ("schema", "text", "is_possible"),
    [
        (SCHEMA, '{"name": "a", "count": 1}', True),
        (SCHEMA, '{"name": "a", "count": 1, "more": 2}', False),
        (SCHEMA, '{"name":"a","count":1}', False),
        ({**SCHEMA, "additionalProperties": True}, '{"name": "", "count": 1, "b": 2}', True),
        (
            {"allOf": [SCHEMA, {"properties": {"b": {"const": 2}}}]},
            '{"name": "", "count": 1, "b": 2}',
            True,
        ),
        ({"$ref": "#/$defs/S", "$defs": {"S": SCHEMA}}, '{"name": "é", "count": -1}', True),
        ({"$ref": "#/$defs/S", "$defs": {"S": SCHEMA}}, '{"name": "", "count": 1, "b": 2}', False),
        ({"anyOf": [SCHEMA, {"type": "null"}]}, "null", True),
    ],
)
def test_what_a_schema_allows(schema: dict[str, Any], text: str, is_possible: bool) -> None:
    grammar = StructuredOutputs(json=json.dumps(schema)).decoding_grammar()
    assert is_followed(grammar, text) == is_possible


def test_a_grammar_of_another_model_s_tokens_is_refused() -> None:
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        other = {"grammar": 'start: <|not_a_token|> "a"'}
        with pytest.raises(ConfigurationError, match="this model's vocabulary"):
            engine.search("?", search="best_of_n", n=3, structured_outputs=other)
        assert engine.health.is_healthy
        assert engine.search("?", structured_outputs={"choice": ["yes"]}).text == "yes"


CONFIGS = [
    search_config(
        **search,
        seed=seed,
        max_tokens=90,
        structured_outputs=({"json": SCHEMA}, {"grammar": GRAMMAR})[seed % 2],
    )
    for seed, search in enumerate(SEARCHES * 3)
]
SCHEDULES = [
    (SchedulingConfig(speculation_rule="score", slots=64, verification_batch_tokens=1), 4096),
    (SchedulingConfig(speculation_rule="score", slots=5, verification_batch_tokens=40), 60),
    (SchedulingConfig(speculation_rule="likely", slots=24, draft_rule="always"), 60),
]


@functools.cache
def search_all(scheduling: SchedulingConfig, num_blocks: int) -> list[SearchRun]:
    generator = FakeGenerator(
        num_blocks=num_blocks, block_size=8, max_draft_tokens=8, drafter=Mixed(0)
    )
    loop, recorders = Loop(generator, FakeVerifier(), scheduling), []
    runs = [make_run(generator, f"What of {c.seed}?", c) for c in CONFIGS]
    for run in runs:
        recorders.append(Recorder())
        loop.submit(run, recorders[-1])
    drive(loop)
    assert all(recorder.outcomes == [None] for recorder in recorders)
    return runs


@pytest.mark.parametrize(("scheduling", "num_blocks"), SCHEDULES, ids=["all", "few", "likely"])
def test_schedules_change_no_constrained_tree(
    scheduling: SchedulingConfig, num_blocks: int
) -> None:
    plain, found = search_all(PLAIN, 4096), search_all(scheduling, num_blocks)
    for one, other in zip(plain, found, strict=True):
        assert same_tree(other, snapshot(one))


def test_a_grammar_goes_on_in_the_middle_of_an_answer() -> None:
    """Each step is a sequence of its own, and the text of all is one that the grammar has."""
    runs = search_all(PLAIN, 4096)
    words = [run for run in runs if run.request.config.seed % 2 and run.request.config.n > 3]
    texts = [node.path_text() for run in words for node in run.ended_nodes()]
    complete = [text for text in texts if text.endswith("END")]
    assert complete
    assert all(set(text) <= set("abcd\n END") for text in texts)
    assert any(len(node.path) > 2 for run in words for node in run.ended_nodes())


def test_a_grammar_may_be_asked_again_after_its_end() -> None:
    """As vLLM does where an iteration starts before the last one's tokens were looked at."""
    grammar = StructuredOutputs(choice=["no"]).decoding_grammar()
    constraint = Constraints(vocabulary, VOCAB_SIZE).start(grammar, [])
    answer = [*b"no", EOS]
    for known in range(len(answer) + 1):
        (allowed,) = constraint.allowed(answer[:known]).nonzero()[0]
        assert allowed == [*answer, EOS][known]


@pytest.mark.parametrize(
    ("thoughts", "possible"),
    [
        ("none", ["no"]),
        ("possible", ["no", "<think>hm {</think>\n\nno"]),
        ("open", ["{ </think>no", "<think>hm {</think>\n\nno"]),
    ],
)
def test_thoughts_come_before_what_is_constrained(thoughts: Thoughts, possible: list[str]) -> None:
    grammar = StructuredOutputs(choice=("yes", "no")).decoding_grammar(thoughts)
    texts = ("no", "<think>hm {</think>\n\nno", "{ </think>no", "</think>maybe")
    assert [text for text in texts if is_followed(grammar, text)] == [
        text for text in texts if text in possible
    ]


def is_followed(grammar: str, text: str) -> bool:
    """Whether each token of the text, and then its end, may be drawn."""
    token_ids = [*FakeTokenizer().encode(text), EOS]
    constraint = Constraints(vocabulary, VOCAB_SIZE).start(grammar, ())
    return all(constraint.allowed(token_ids[:i])[token_ids[i]] for i in range(len(token_ids)))


def test_a_prompt_may_end_in_thoughts() -> None:
    tokenizer = FakeTokenizer()
    for end in ("<think>", "<think>\n", "</think>", "think"):
        prompt = Prompt(token_ids=tuple(tokenizer.encode(f"?{end}")), problem="?")
        assert is_thinking(prompt, tokenizer) == end.startswith("<think>")


@pytest.mark.parametrize(
    ("left", "right", "is_equal"),
    [
        ('{"a": 1, "b": [2.0]}', '{"b":[2],"a":1e0}', True),
        ('{"a": 100}', '{"a": 1E2}', True),
        ('{"a": -0.0}', '{"a": 0}', True),
        ('{"a": "1"}', '{"a": 1}', False),
        ('{"a": true}', '{"a": 1}', False),
        ('{"a": "Ann"}', '{"a": "ann"}', False),
        (
            '{"a": 12345678901234567890123456789012345}',
            '{"a": 1234567890123456789012345678901234}',
            False,
        ),
        ('{"a": 1.0000000000000000000000000000001}', '{"a": 1}', False),
        ('{"a": null}', "{}", False),
        ('{"a": 1e400}', '{"a": 10e399}', True),
    ],
)
def test_equal_json_is_one_answer(left: str, right: str, is_equal: bool) -> None:
    assert answers_equal(left, right) is is_equal
    assert len(group_equal([left, right])) == (1 if is_equal else 2)


def test_candidates_vote_by_canonical_json() -> None:
    texts = iter(['{"x": 2}', '{"x": 1, "y": 2}', '{"y": 2.0, "x": 1}'] * 9)
    generator = FakeGenerator(lambda prompt: next(texts))
    with FastTTS(generator, scheduling=PLAIN) as engine:
        config = SearchConfig(search="best_of_n", n=3, answer="json")
        result = engine.search("?", config=config)
    assert result.answer == '{"x": 1, "y": 2}'


@pytest.mark.parametrize(
    "outputs",
    [{"choice": ["yes", "no"]}, {"regex": "(yes|no)"}, {"grammar": 'start: "yes" | "no"'}],
    ids=str,
)
def test_constrained_answers_vote_and_end_a_search_early(outputs: dict[str, Any]) -> None:
    """The whole text is the answer, so equal ones vote, and a safe majority ends the search."""
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        options = {"structured_outputs": outputs, "n": 32, "wave_size": 4}
        result = engine.search("Is it?", search="self_consistency", **options)
        assert result.answer == result.text.strip() in ("yes", "no")
        assert len(result.candidates) < 32
        assert result.warnings == ()
        plain = engine.search("Is it?", search="none", structured_outputs=outputs)
        assert plain.answer == plain.text


def test_a_constraint_begins_anew_in_another_process() -> None:
    constraints = Constraints(vocabulary, VOCAB_SIZE)
    serve_received(Constraints(vocabulary, VOCAB_SIZE))
    begun = FakeTokenizer().encode("ab")
    sent = constraints.start(GRAMMAR, begun)
    received = pickle.loads(pickle.dumps(sent))
    assert (received.is_received, sent.is_received) == (True, False)
    further = FakeTokenizer().encode("cd")
    for num_tokens in range(len(further) + 1):
        tokens = further[:num_tokens]
        assert received.allowed(tokens).tolist() == sent.allowed(tokens).tolist()
    # What was taken since is not sent: the sequence's tokens are the other process's to draw.
    again = pickle.loads(pickle.dumps(sent))
    assert again.allowed(()).tolist() == constraints.start(GRAMMAR, begun).allowed(()).tolist()


def test_a_failure_is_known_from_the_tokens_alone() -> None:
    sent = Constraints(vocabulary, VOCAB_SIZE).start(GRAMMAR, ())
    sent.take(FakeTokenizer().encode("a"))
    assert sent.failure is None
    sent.take(FakeTokenizer().encode("Z"))
    assert sent.failure is not None
    sent.take(FakeTokenizer().encode("a"))
