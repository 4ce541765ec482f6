"""What the demonstration models learn from: rendered dialogues, labelled attempts, batches."""

import random
from itertools import islice
from typing import Any

import pytest

from fasttts.demo import dialogues, generator_path
from fasttts.demo.dialogues import Dialogue, Draw
from fasttts.demo.problems import Problem, generate_problems, label_steps
from fasttts.demo.rendering import render

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import torch  # noqa: E402

from fasttts.demo import attempts, batches, measure_verifier, models, near_misses  # noqa: E402
from fasttts.demo import transplant as grafting  # noqa: E402

TOKENS = (list("0123456789"), "<extra_0>", "\n\n")
KINDS = (
    dialogues.plain,
    dialogues.with_system,
    dialogues.second_turn,
    dialogues.small_talk,
    dialogues.repetition,
    dialogues.tool_use,
    dialogues.document_question,
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(generator_path())


@pytest.fixture
def draw() -> Draw:
    return batches.problem_source(random.Random(3))


def _dialogues(draw: Draw, count: int = 20) -> list[Dialogue]:
    rng = random.Random(1)
    return [kind(rng, draw) for kind in KINDS for _ in range(count)]


def test_rendering_equals_the_chat_template(tokenizer: Any, draw: Draw) -> None:
    for chat in _dialogues(draw):
        text = tokenizer.apply_chat_template(
            list(chat.messages), tools=list(chat.tools) or None, tokenize=False
        )
        pieces = [piece for piece, _ in render(chat)]
        assert "".join(pieces) == text
        whole = tokenizer(text)["input_ids"]
        assert [i for piece in pieces for i in tokenizer(piece)["input_ids"]] == whole


def test_only_what_the_assistant_writes_is_learnt(tokenizer: Any, draw: Draw) -> None:
    for chat in _dialogues(draw, 5):
        example = batches.language_example(render(chat), tokenizer)
        learnt = [t for t in example.targets if t != batches.IGNORED]
        text = tokenizer.decode(learnt)
        said = [m for m in chat.messages if m["role"] == "assistant"]
        assert text.count("<|im_end|>") == len(said)
        assert all(m["content"] in text for m in said)
        follow = zip(example.targets, example.ids[1:], strict=False)
        assert all(target in (batches.IGNORED, token) for target, token in follow)


def test_drills_teach_results_alone(tokenizer: Any, draw: Draw) -> None:
    chat = dialogues.drill(random.Random(0), draw)
    equations = chat.messages[1]["content"].split("\n\n")
    example = batches.language_example(render(chat), tokenizer)
    learnt = tokenizer.decode([t for t in example.targets if t != batches.IGNORED])
    assert learnt == "".join(equation.split(" = ")[1] for equation in equations)


def test_long_problems_go_to_the_tool_word_for_word(draw: Draw) -> None:
    rng = random.Random(2)
    calls = 0
    for chat in (dialogues.tool_use(rng, draw) for _ in range(100)):
        for message in chat.messages:
            for call in message.get("tool_calls", ()):
                problem = call["function"]["arguments"]["problem"]
                users = [m["content"] for m in chat.messages if m["role"] == "user"]
                assert any(problem in text for text in users)
                assert chat.messages[-1]["content"].startswith("The answer is \\boxed{")
                calls += 1
    assert calls > 20


def test_batches_hold_every_example_once(tokenizer: Any) -> None:
    examples = batches.dialogue_examples(0, tokenizer)
    kept = list(islice(examples, 1024))
    made = batches.batched(iter(kept), 4096, random.Random(0))
    rows = 0
    while rows < len(kept):
        batch = next(made)
        rows += len(batch.ids_B_T)
        assert batch.ids_B_T.numel() <= 4096 or len(batch.ids_B_T) == 1
        assert batch.ids_B_T.shape == batch.targets_B_T.shape
    assert rows == len(kept)


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return generate_problems("train", 9, 150)


def test_corrupted_solutions_are_mostly_wrong(problems: list[Problem]) -> None:
    rng = random.Random(0)
    labels = [label_steps(p, attempts.corrupted(rng, p)) for p in problems]
    assert sum(not all(row) for row in labels) > 0.8 * len(labels)
    assert any(row[0] for row in labels)


def test_a_changed_number_is_carried_on_half_the_time() -> None:
    exact = ["A: 1 + 2 = 3.", "B: 3 + 4 = 7.", "C: 13 + 7 = 20."]
    wrong = ["A: 1 + 2 = 5.", *exact[1:]]
    seen = {tuple(near_misses.carried_on(random.Random(i), exact, wrong)) for i in range(20)}
    assert seen == {tuple(wrong), ("A: 1 + 2 = 5.", "B: 5 + 4 = 7.", "C: 13 + 7 = 20.")}


def test_verifier_examples_tag_every_step(tokenizer: Any, problems: list[Problem]) -> None:
    problem = problems[0]
    labels = tuple(index < 2 for index in range(len(problem.steps)))
    shown = attempts.Attempt(user=problem.text, steps=problem.steps, labels=labels)
    example = attempts.reward_example(shown, tokenizer)
    assert tokenizer.decode(example.ids) == (
        attempts.verifier_prompt(problem.text) + "<extra_0>".join(problem.steps) + "<extra_0>"
    )
    tag = tokenizer.convert_tokens_to_ids("<extra_0>")
    pairs = zip(example.ids, example.targets, strict=True)
    assert [target for token, target in pairs if token == tag] == [int(label) for label in labels]
    num_asked = len(tokenizer(attempts.verifier_prompt(problem.text))["input_ids"])
    assert set(example.targets[:num_asked]) == {batches.IGNORED}
    assert set(example.targets[num_asked:]) == {0, 1}


def test_tokens_count_as_wrong_from_the_fault_on(tokenizer: Any) -> None:
    exact = ("A: 1 + 2 = 3.", "B: 13 + 3 = 16.", "The answer is \\boxed{16}.")
    steps = (exact[0], "B: 13 + 3 = 19.", "The answer is \\boxed{19}.")
    labels = (True, False, False)
    shown = attempts.Attempt(user="", steps=steps, labels=labels, exact=exact)
    example = attempts.reward_example(shown, tokenizer)
    judged = zip(example.ids, example.targets, strict=True)
    right = tokenizer.decode([token for token, target in judged if target == 1])
    assert right == "A: 1 + 2 = 3.<extra_0>B: 13 + 3 = 1"


def test_the_generator_goes_on_computing_inside_the_verifier(
    tokenizer: Any, problems: list[Problem]
) -> None:
    given = models.load_generator(generator_path())
    weights = given.state_dict()
    verifier = models.RewardModel(models.verifier_config(tokenizer)).eval()
    digits, tag, separator = (tokenizer.convert_tokens_to_ids(t) for t in TOKENS)
    grafting.transplant(verifier, weights, digits=digits, tag=tag, separator=separator)
    expectation = grafting.Expectation(weights)
    inside, outside = [], []
    for problem in problems[:5]:
        labels = (True,) * len(problem.steps)
        shown = attempts.Attempt(user=problem.text, steps=problem.steps, labels=labels)
        ids = torch.tensor(attempts.reward_example(shown, tokenizer).ids)
        with torch.inference_mode():
            output = verifier.model(input_ids=ids[None], output_hidden_states=True)
            plain = torch.where(ids == tag, separator, ids)
            chances = given(input_ids=plain[None]).logits[0].softmax(-1)
        below = output.hidden_states[models.NUM_LAYERS][0, :-1]
        inside.append(expectation(below, plain[1:]))
        outside.append(chances[:-1].gather(1, plain[1:, None])[:, 0])
    gap = (torch.cat(inside) - torch.cat(outside)).abs()
    assert float(gap.mean()) < 0.05


@pytest.mark.parametrize(
    ("labels", "scores", "area"),
    [
        ([True, False], [0.9, 0.1], 1.0),
        ([True, False], [0.1, 0.9], 0.0),
        ([True, False], [0.5, 0.5], 0.5),
        ([True, True, False, False], [0.9, 0.4, 0.5, 0.1], 0.75),
    ],
)
def test_area_under_curve(labels: list[bool], scores: list[float], area: float) -> None:
    assert measure_verifier.area_under_curve(labels, scores) == pytest.approx(area)


def test_area_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="2 and 0"):
        measure_verifier.area_under_curve([True, True], [0.1, 0.2])
