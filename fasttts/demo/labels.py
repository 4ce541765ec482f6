"""Exact labels for the steps of an attempted solution."""

import re
from collections import Counter
from collections.abc import Sequence

_EQUATION = re.compile(r"(?<!\d)(\d+) ([-+*/]) (\d+) = (\d+)\.$")
_BOXED = re.compile(r"\\boxed\{(\d+)\}\.$")

Equation = tuple[int, str, int, int]


def parse_equation(step: str) -> Equation | None:
    """Returns the equation a step ends in, operands of `+` and `*` in order, or None."""
    found = _EQUATION.search(step)
    if found is None:
        return None
    a, sign, b, result = int(found[1]), found[2], int(found[3]), int(found[4])
    if sign in "+*" and a > b:
        a, b = b, a
    return a, sign, b, result


def label_equations(solution: Sequence[str], answer: int, steps: Sequence[str]) -> list[bool]:
    """Decides for each step whether it and everything before it is right.

    A step is right if its equation is one of the solution's that no earlier step has used, so that
    steps may come in another order, and if every computed operand was computed before. A line with
    a boxed number is right if the number is the answer and it comes last.

    Args:
        solution: The exact steps.
        answer: The exact result.
        steps: The attempt, one string a step.
    """
    equations = [found for step in solution if (found := parse_equation(step))]
    results = {equation[3] for equation in equations}
    given = {n for a, _, b, _ in equations for n in (a, b)} - results
    given |= _given_among_results(equations)
    open_equations = Counter(equations)
    labels: list[bool] = []
    for index, step in enumerate(steps):
        right = all(labels)
        boxed = _BOXED.search(step)
        if boxed:
            right = right and int(boxed[1]) == answer and index == len(steps) - 1
        else:
            found = parse_equation(step)
            right = right and found is not None and open_equations[found] > 0
            right = right and found is not None and {found[0], found[2]} <= given
            if found is not None and right:
                open_equations[found] -= 1
                given.add(found[3])
        labels.append(right)
    return labels


def _given_among_results(equations: Sequence[Equation]) -> set[int]:
    """Numbers used before they are computed: given ones that happen to equal a later result."""
    computed: set[int] = set()
    given: set[int] = set()
    for a, _, b, result in equations:
        given |= {n for n in (a, b) if n not in computed}
        computed.add(result)
    return given
