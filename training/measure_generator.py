"""Measures a generator: `python -m training.measure_generator [FOLDER]`.

Ends in one JSON line.
"""

import argparse
import json
import random
from collections import Counter
from functools import partial
from pathlib import Path

from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from fasttts.demo import generator_path
from fasttts.demo.problems import Problem, Split, generate_problems, label_steps
from training import dialogues
from training.models import load_generator
from training.rollouts import chat_prompt, sample, split_steps
from training.tokenizer import load_tokenizer

SEED = 0


def is_right(problem: Problem, text: str) -> bool:
    """Whether the boxed answer at the end is the problem's."""
    return text.rstrip().endswith(f"\\boxed{{{problem.answer}}}.")


def plain_prompts(tokenizer: PreTrainedTokenizerBase, problems: list[Problem]) -> list[str]:
    """Renders one user message for each problem."""
    return [chat_prompt(tokenizer, [{"role": "user", "content": p.text}]) for p in problems]


def greedy_accuracy(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, problems: list[Problem]
) -> dict[str, object]:
    """Measures the share of right answers, and counts the signs of the first wrong steps."""
    texts = sample(model, tokenizer, plain_prompts(tokenizer, problems))
    right = [is_right(p, text) for p, [text] in zip(problems, texts, strict=True)]
    signs: Counter[str] = Counter()
    for problem, [text] in zip(problems, texts, strict=True):
        steps = split_steps(text)
        labels = label_steps(problem, steps)
        if False in labels:
            words = steps[labels.index(False)].split(" = ")[0].split()
            signs[words[-2] if len(words) > 1 else "?"] += 1
    wrong = [index for index, ok in enumerate(right) if not ok]
    rate = sum(right) / len(right)
    return {"greedy": rate, "first_wrong": dict(signs), "wrong": wrong[:20]}


def sampled_accuracy(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    problems: list[Problem],
    temperature: float,
) -> dict[str, float]:
    """Measures mean, majority and best of 16 samples."""
    prompts = plain_prompts(tokenizer, problems)
    texts = sample(model, tokenizer, prompts, num_samples=16, temperature=temperature, seed=SEED)
    mean = majority = best = 0.0
    for problem, samples in zip(problems, texts, strict=True):
        right = [is_right(problem, text) for text in samples]
        votes = Counter(split_steps(text)[-1] if text.strip() else "" for text in samples)
        mean += sum(right) / len(right)
        majority += votes.most_common(1)[0][0].endswith(f"{{{problem.answer}}}.")
        best += any(right)
    count = len(problems)
    return {"sampled": mean / count, "majority": majority / count, "pass": best / count}


def tool_accuracy(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, problems: list[Problem]
) -> dict[str, float]:
    """Measures how often long problems reach the tool word for word, and results are passed on."""
    rng = random.Random(SEED)
    tools = [dialogues.deliberate_tool(rng) for _ in problems]
    asked = [{"role": "user", "content": p.text} for p in problems]
    prompts = [
        chat_prompt(tokenizer, [user], [tool]) for user, tool in zip(asked, tools, strict=True)
    ]
    texts = [text for [text] in sample(model, tokenizer, prompts)]
    calls = [dialogues.call(p) for p in problems]
    wanted = [json.dumps(c["tool_calls"][0]["function"], ensure_ascii=False) for c in calls]
    exact = [
        text == f"<tool_call>\n{call}\n</tool_call>"
        for text, call in zip(texts, wanted, strict=True)
    ]
    results = [dialogues.tool_result(rng, p) for p in problems]
    rows = zip(asked, calls, results, tools, strict=True)
    prompts = [chat_prompt(tokenizer, [u, c, r], [tool]) for u, c, r, tool in rows]
    replies = sample(model, tokenizer, prompts)
    passed = [text == p.steps[-1] for p, [text] in zip(problems, replies, strict=True)]
    called = sum("<tool_call>" in text for text in texts)
    count = len(problems)
    rates = {"tool_called": called, "tool_exact": sum(exact), "tool_answer": sum(passed)}
    return {name: value / count for name, value in rates.items()}


def _given(problem: Problem, low: int, high: int) -> Problem:
    """Returns the given problem instead of drawing one."""
    return problem


def question_accuracy(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, problems: list[Problem]
) -> float:
    """Measures greedy accuracy under LlamaIndex's question-answering prompt."""
    rng = random.Random(SEED)
    chats = [dialogues.document_question(rng, partial(_given, p)) for p in problems]
    prompts = [chat_prompt(tokenizer, chat.messages[:-1]) for chat in chats]
    texts = sample(model, tokenizer, prompts)
    return sum(is_right(p, text) for p, [text] in zip(problems, texts, strict=True)) / len(problems)


def measure(
    folder: Path, split: Split, count: int, temperature: float, *, with_samples: bool
) -> dict[str, object]:
    """Measures the checkpoint in a folder on `count` problems of 4 to 8 operations."""
    tokenizer = load_tokenizer(folder)
    model = load_generator(folder)
    problems = generate_problems(split, SEED, count, min_operations=4)
    short = generate_problems(split, SEED, count // 4, max_operations=3)
    report = greedy_accuracy(model, tokenizer, problems)
    report["greedy_short"] = greedy_accuracy(model, tokenizer, short)["greedy"]
    report["question"] = question_accuracy(model, tokenizer, problems)
    report |= tool_accuracy(model, tokenizer, problems)
    report["tool_called_short"] = tool_accuracy(model, tokenizer, short)["tool_called"]
    if with_samples:
        report |= sampled_accuracy(model, tokenizer, problems, temperature)
    return report


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=generator_path())
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--with-samples", action="store_true")
    options = parser.parse_args()
    report = measure(
        options.folder,
        options.split,
        options.count,
        options.temperature,
        with_samples=options.with_samples,
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
