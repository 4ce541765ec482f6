"""What the demonstration models learn from: rendered dialogues, labelled attempts, batches."""

import argparse
import json
import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from fasttts.demo import generator_path, verifier_path
from fasttts.demo.problems import Problem, generate_problems, label_steps
from training import (
    attempts,
    batches,
    dialogues,
    measure_verifier,
    models,
    train_generator,
    train_verifier,
)
from training.dialogues import Dialogue, Draw
from training.rendering import render

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
    examples = batches.dialogue_examples(tokenizer, "0")
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


def _solution_batch(tokenizer: Any, text: str) -> batches.Batch:
    messages = ({"role": "user", "content": "?"}, {"role": "assistant", "content": text})
    return batches.padded(
        [batches.language_example(render(Dialogue(messages=messages)), tokenizer)]
    )


def test_results_are_the_digits_behind_an_equals_sign(tokenizer: Any) -> None:
    batch = _solution_batch(
        tokenizer, "A: 7 + 35 = 42.\n\nB: 42 * 30 = 1260.\n\nIt is \\boxed{1260}."
    )
    found = train_generator.Results(tokenizer)(batch)
    assert tokenizer.decode(batch.targets_B_T[found]) == "421260"


def test_a_student_learns_results_from_both_teachers_and_the_rest_from_the_text(
    tokenizer: Any,
) -> None:
    """Where the student is the early teacher, only trust in the late one is left to learn."""
    early, late = (train_generator.new_model(tokenizer, seed) for seed in (0, 1))
    results = train_generator.Results(tokenizer)
    batch = _solution_batch(tokenizer, "A: 7 + 35 = 42.")
    learnt = batch.targets_B_T != batches.IGNORED
    student, teacher = (
        torch.log_softmax(model(input_ids=batch.ids_B_T).logits[learnt].float(), -1)
        for model in (early, late)
    )
    advice = 0.75 * student.exp() + 0.25 * teacher.exp()
    own = torch.nn.functional.one_hot(batch.targets_B_T[learnt], student.shape[-1])
    wanted = torch.where(results(batch)[learnt][:, None], advice, own)
    loss = train_generator.PolishLoss(early, late, 0.25, results)(early, batch)
    assert float(loss.detach()) == pytest.approx(
        float(-(wanted * student).sum(-1).mean().detach()), rel=1e-5
    )


def test_known_results_are_counted_by_problem(tokenizer: Any) -> None:
    results = train_generator.Results(tokenizer)
    arithmetic = train_generator.Arithmetic(tokenizer, results, count=8)
    shipped = models.load_generator(generator_path(), "cpu")
    fresh = train_generator.new_model(tokenizer, 0).eval()
    assert arithmetic.measure(fresh) == {"results_known": 0.0}
    assert 0 < arithmetic.measure(shipped)["results_known"] < 1


def test_a_verifier_starts_from_a_generator(tokenizer: Any, tmp_path: Path) -> None:
    given = models.load_generator(generator_path(), "cpu")
    torch.save(given.state_dict(), tmp_path / "weights.pt")
    verifier = models.RewardModel(models.verifier_config(tokenizer)).eval()
    norm = train_verifier.start_from(verifier, tmp_path / "weights.pt", tokenizer)
    text = "In all: 10 + 12 = 22.\n\nThe answer is \\boxed{22}."
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    tag, separator = (tokenizer.convert_tokens_to_ids(token) for token in ("<extra_0>", "\n\n"))
    tagged = torch.where(ids == separator, tag, ids)
    with torch.inference_mode():
        expected = given(input_ids=ids).logits
        below = verifier.model(input_ids=tagged, output_hidden_states=True).hidden_states
        hidden = torch.nn.functional.rms_norm(
            below[train_verifier.FORESIGHT_LAYER], norm.shape, norm, eps=1e-6
        )
        foreseen = hidden @ given.lm_head.weight.T
    torch.testing.assert_close(foreseen, expected, rtol=1e-4, atol=1e-4)


def test_the_first_wrong_token_is_found() -> None:
    ignored = batches.IGNORED
    targets = torch.tensor([[ignored, 1, 1, 0, 0], [ignored, 0, 0, 0, 0], [ignored, 1, 1, 1, 1]])
    batch = batches.Batch(ids_B_T=torch.zeros_like(targets), targets_B_T=targets)
    assert train_verifier.first_faults(batch).nonzero().tolist() == [[0, 3], [1, 1]]


def _options(work_dir: Path, **changed: object) -> argparse.Namespace:
    common: dict[str, object] = {"work_dir": work_dir, "seed": 0, "device": "cpu"}
    common |= {"batch_tokens": 2048, "workers": 0, "peak_lr": 1e-3, "save_every": 2}
    return argparse.Namespace(**common | changed)


def _curve(work_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (work_dir / "curve.jsonl").read_text().splitlines()]


def test_a_training_goes_on_where_it_stopped(tokenizer: Any, tmp_path: Path) -> None:
    """Two steps and two more end at step four, with the time carried over."""
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for steps in (2, 4):
        train_generator.train(_options(tmp_path, steps=steps, polish=None, num_held_out=4))
    lines = _curve(tmp_path)
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[1]["seconds"] >= lines[0]["seconds"]
    train_generator.export(tmp_path, 4, tmp_path / "exported")
    exported = models.load_generator(tmp_path / "exported", "cpu").state_dict()
    trained = torch.load(tmp_path / "weights-000004.pt", weights_only=True)
    assert all(torch.equal(exported[n], trained[n].bfloat16().float()) for n in exported)


def test_a_verifier_is_trained_on_samples_of_the_generator(tmp_path: Path) -> None:
    """Sampling goes on where it stopped; what is written loads and scores."""
    weights = tmp_path / "weights.pt"
    torch.save(models.load_generator(generator_path(), "cpu").state_dict(), weights)
    options = _options(
        tmp_path, steps=2, generator=generator_path(), backbone=weights, num_sampled=2,
        output=tmp_path / "verifier", chunk_size=2, num_held_out=2,
    )  # fmt: skip
    train_verifier.collect(options)
    first = (tmp_path / "samples.jsonl").read_text()
    options.num_sampled = 4
    train_verifier.collect(options)
    assert (tmp_path / "samples.jsonl").read_text().startswith(first)
    train_verifier.train(options)
    [line] = _curve(tmp_path)
    assert line["step"] == 2
    assert 0 <= line["area"] <= 1
    assert models.load_verifier(tmp_path / "verifier", "cpu").state_dict().keys()


def test_the_shipped_verifier_knows_right_from_wrong(
    tokenizer: Any, problems: list[Problem]
) -> None:
    model = models.load_verifier(verifier_path(), "cpu")
    rng = random.Random(4)
    shown = [attempts.corrupted(rng, p) for p in problems] + [list(p.steps) for p in problems]
    labels, scores = [], []
    for problem, steps in zip([*problems, *problems], shown, strict=True):
        truth = tuple(label_steps(problem, steps))
        example = attempts.Attempt(user=problem.text, steps=tuple(steps), labels=truth)
        labels += truth
        scores += measure_verifier.score_attempts(model, tokenizer, [example])[0]
    assert measure_verifier.area_under_curve(labels, scores) > 0.97


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
