"""One word problem, first by greedy decoding, then by a search, on the bundled models.

Run it with `python examples/demo.py`. It checks both answers against the exact solution and prints
the verdicts.
"""

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fasttts import FastTTS, SearchResult
from fasttts.cli import render
from fasttts.demo.problems import Problem, generate_problems, label_steps
from fasttts.evaluation import is_correct

SEED = 0
INDEX = 11
"""Index of the problem among the test problems of `SEED`."""


def main() -> None:
    """Shows a problem that greedy decoding gets wrong and a search gets right."""
    console = Console(highlight=False)
    problem = generate_problems("test", SEED, INDEX + 1, min_operations=4, max_operations=8)[-1]
    console.print(Rule("The problem", align="left"), Text(problem.text))
    with render.loading():
        engine = FastTTS.load("demo")
    with engine:
        console.print(Text(), Rule("Greedy decoding", align="left"), sep="\n")
        greedy = engine.search(problem.text, search="none", temperature=0.0)
        show(greedy, problem, console)
        console.print(Text(), Rule("Beam search, n=16", align="left"), sep="\n")
        events = engine.stream(problem.text, search="beam_search", n=16, beam_width=4, seed=SEED)
        show(render.follow(events, console), problem, console)
    command = os.path.relpath(Path(sys.executable).with_name("fasttts"))
    console.print(f"\nTry next: {command} eval demo --num-problems 20")


def show(result: SearchResult, problem: Problem, console: Console) -> None:
    """Prints each step as right or wrong, the verdict on the answer, and the cost."""
    steps = result.candidates[0].steps
    table = Table.grid(padding=(0, 2, 0, 0))
    for step, is_right in zip(steps, label_steps(problem, [s.text for s in steps]), strict=True):
        score = "" if step.score is None else f"{step.score:.4f}"
        table.add_row(mark(is_right=is_right), Text(score, style="cyan"), Text(step.text))
    console.print(Padding(table, (0, 0, 0, 2)))
    console.print(verdict(result, problem), render.cost_view(result), sep="\n")


def mark(*, is_right: bool) -> Text:
    """Renders the verdict on a step or an answer."""
    return Text("right", style="green") if is_right else Text("wrong", style="bold red")


def verdict(result: SearchResult, problem: Problem) -> Text:
    """Whether the answer is the exact one."""
    is_right = is_correct(result, problem.answer)
    line = Text.assemble(("Answer: ", "bold"), result.answer or "none", " is ")
    line.append(mark(is_right=is_right))
    return line if is_right else line.append(f": the exact answer is {problem.answer}")


if __name__ == "__main__":
    main()
