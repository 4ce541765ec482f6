"""Small operations on lists of integers: sentences, and functions that do the same.

Every operation is defined for every value of its kind, the empty one too, and its sentence says
what happens there where that is not plain.
"""

import itertools
import random
from collections import Counter

from fasttts.demo.operations import Drawn, Draws


def _evens(rng: random.Random) -> Drawn:
    return "Keep only the even numbers.", lambda xs: [x for x in xs if x % 2 == 0]


def _odds(rng: random.Random) -> Drawn:
    return "Keep only the odd numbers.", lambda xs: [x for x in xs if x % 2]


def _without_negatives(rng: random.Random) -> Drawn:
    return "Remove all negative numbers.", lambda xs: [x for x in xs if x >= 0]


def _above(rng: random.Random) -> Drawn:
    k = rng.randint(1, 9)
    return f"Keep only the numbers greater than {k}.", lambda xs: [x for x in xs if x > k]


def _squares(rng: random.Random) -> Drawn:
    return "Replace every number by its square.", lambda xs: [x * x for x in xs]


def _absolute(rng: random.Random) -> Drawn:
    return "Replace every number by its absolute value.", lambda xs: [abs(x) for x in xs]


def _plus(rng: random.Random) -> Drawn:
    k = rng.randint(2, 9)
    return f"Add {k} to every number.", lambda xs: [x + k for x in xs]


def _times(rng: random.Random) -> Drawn:
    k = rng.randint(2, 9)
    return f"Multiply every number by {k}.", lambda xs: [x * k for x in xs]


def _ascending(rng: random.Random) -> Drawn:
    return "Sort the numbers in ascending order.", sorted


def _descending(rng: random.Random) -> Drawn:
    return "Sort the numbers in descending order.", lambda xs: sorted(xs, reverse=True)


def _backwards(rng: random.Random) -> Drawn:
    return "Reverse the list.", lambda xs: xs[::-1]


def _head(rng: random.Random) -> Drawn:
    k = rng.randint(2, 5)
    return f"Keep only the first {k} numbers, or all if there are fewer.", lambda xs: xs[:k]


def _largest(rng: random.Random) -> Drawn:
    return "Take the largest number, or 0 if the list is empty.", lambda xs: max(xs, default=0)


def _smallest(rng: random.Random) -> Drawn:
    return "Take the smallest number, or 0 if the list is empty.", lambda xs: min(xs, default=0)


def _count(rng: random.Random) -> Drawn:
    return "Take the number of elements of the list.", len


def _remainder(rng: random.Random) -> Drawn:
    m = rng.randint(2, 4)
    r = rng.randrange(m)
    return f"Keep only the numbers x with x % {m} == {r}.", lambda xs: [x for x in xs if x % m == r]


def _range(rng: random.Random) -> Drawn:
    low, high = -rng.randint(2, 9), rng.randint(5, 15)
    return (
        f"Remove every number below {low} or above {high}.",
        lambda xs: [x for x in xs if low <= x <= high],
    )


def _clamp(rng: random.Random) -> Drawn:
    low, high = -rng.randint(1, 8), rng.randint(4, 12)
    return (
        f"Replace every number below {low} by {low} and every number above {high} by {high}.",
        lambda xs: [min(max(x, low), high) for x in xs],
    )


def _halve_or_scale(rng: random.Random) -> Drawn:
    k = rng.randint(2, 4)
    return (
        f"Replace every even number by its half and every odd number by {k} times itself.",
        lambda xs: [x * k if x % 2 else x // 2 for x in xs],
    )


def _first_occurrences(rng: random.Random) -> Drawn:
    return (
        "Remove duplicates: keep only the first occurrence of every number.",
        lambda xs: list(dict.fromkeys(xs)),
    )


def _last_occurrences(rng: random.Random) -> Drawn:
    return (
        (
            "Remove duplicates: keep only the last occurrence of every number, and leave the "
            "order of what is kept."
        ),
        lambda xs: list(dict.fromkeys(xs[::-1]))[::-1],
    )


def _by_size(rng: random.Random) -> Drawn:
    return (
        (
            "Sort by absolute value, smallest first; of two numbers with the same absolute value "
            "the negative one comes first."
        ),
        lambda xs: sorted(xs, key=lambda x: (abs(x), x)),
    )


def _by_last_digit(rng: random.Random) -> Drawn:
    return (
        (
            "Sort by the last decimal digit of the absolute value, largest digit first; numbers "
            "with the same digit keep their order."
        ),
        lambda xs: sorted(xs, key=lambda x: -(abs(x) % 10)),
    )


def _running_sums(rng: random.Random) -> Drawn:
    return (
        "Replace every number by the sum of all numbers up to and including it.",
        lambda xs: list(itertools.accumulate(xs)),
    )


def _running_max(rng: random.Random) -> Drawn:
    return (
        "Replace every number by the largest of all numbers up to and including it.",
        lambda xs: list(itertools.accumulate(xs, max)),
    )


def _differences(rng: random.Random) -> Drawn:
    return (
        (
            "Replace the list by the differences of neighbours, each number minus the one before "
            "it; with fewer than two numbers this gives the empty list."
        ),
        lambda xs: [b - a for a, b in itertools.pairwise(xs)],
    )


def _blocks(rng: random.Random) -> Drawn:
    k = rng.randint(2, 4)
    return (
        (
            f"Divide the list into blocks of {k} numbers from the left, the last block may be "
            "shorter, and reverse the order of the numbers within each block."
        ),
        lambda xs: [x for at in range(0, len(xs), k) for x in xs[at : at + k][::-1]],
    )


def _block_sums(rng: random.Random) -> Drawn:
    k = rng.randint(2, 3)
    return (
        (
            f"Divide the list into blocks of {k} numbers from the left, the last block may be "
            "shorter, and replace each block by its sum."
        ),
        lambda xs: [sum(xs[at : at + k]) for at in range(0, len(xs), k)],
    )


def _rotate(rng: random.Random) -> Drawn:
    k = rng.randint(1, 3)
    return (
        (
            f"Move the last {k} numbers to the front, in their order; a list of at most {k} "
            "numbers stays as it is."
        ),
        lambda xs: xs[-k:] + xs[:-k],
    )


def _every(rng: random.Random) -> Drawn:
    k = rng.randint(2, 3)
    return (
        f"Remove the numbers at the positions {k}, {2 * k}, {3 * k} and so on, counted from 1.",
        lambda xs: [x for at, x in enumerate(xs, 1) if at % k],
    )


def _add_position(rng: random.Random) -> Drawn:
    k = rng.randint(1, 3)
    times = "" if k == 1 else f"{k} times "
    return (
        f"Add to every number {times}its position, counted from 1.",
        lambda xs: [x + k * at for at, x in enumerate(xs, 1)],
    )


def _rising(rng: random.Random) -> Drawn:
    return (
        (
            "Keep the first number, and of the others those that are greater than the number "
            "directly before them in the list."
        ),
        lambda xs: xs[:1] + [b for a, b in itertools.pairwise(xs) if b > a],
    )


def _zeros(rng: random.Random) -> Drawn:
    k = rng.randint(2, 3)
    return (
        f"Move all multiples of {k}, 0 among them, to the end; otherwise keep the order.",
        lambda xs: sorted(xs, key=lambda x: x % k == 0),
    )


def _swap_pairs(rng: random.Random) -> Drawn:
    return (
        (
            "Swap the first number with the second, the third with the fourth and so on; a last "
            "number without a partner stays."
        ),
        lambda xs: [x for at in range(0, len(xs), 2) for x in xs[at : at + 2][::-1]],
    )


def _digit_sums(rng: random.Random) -> Drawn:
    return (
        "Replace every number by the sum of the decimal digits of its absolute value.",
        lambda xs: [sum(map(int, str(abs(x)))) for x in xs],
    )


def _total(rng: random.Random) -> Drawn:
    return "Take the sum of the numbers; it is 0 for the empty list.", sum


def _spread(rng: random.Random) -> Drawn:
    return (
        "Take the largest number minus the smallest; for the empty list take 0.",
        lambda xs: max(xs) - min(xs) if xs else 0,
    )


def _second(rng: random.Random) -> Drawn:
    return (
        (
            "Take the second largest of the different values; where there are fewer than two "
            "different values take -1."
        ),
        lambda xs: sorted(set(xs))[-2] if len(set(xs)) > 1 else -1,
    )


def _most_frequent(rng: random.Random) -> Drawn:
    return (
        (
            "Take the number that occurs most often, of several the smallest; for the empty list "
            "take 0."
        ),
        lambda xs: min(Counter(xs).items(), key=lambda pair: (-pair[1], pair[0]), default=(0, 0))[
            0
        ],
    )


def _alternating(rng: random.Random) -> Drawn:
    return (
        (
            "Take the first number minus the second plus the third minus the fourth and so on; "
            "for the empty list take 0."
        ),
        lambda xs: sum(xs[::2]) - sum(xs[1::2]),
    )


def _sign_changes(rng: random.Random) -> Drawn:
    return (
        "Count the pairs of neighbours of which one is negative and the other is not.",
        lambda xs: sum((a < 0) != (b < 0) for a, b in itertools.pairwise(xs)),
    )


def _joined(rng: random.Random) -> Drawn:
    mark = rng.choice((",", "-", ";", "/"))
    return (
        (
            f"Join the numbers to a text with {mark!r} between them; the empty list gives the "
            "empty text."
        ),
        lambda xs: mark.join(map(str, xs)),
    )


def _signs(rng: random.Random) -> Drawn:
    return (
        (
            "Make a text with one character for each number: 'p' if it is positive, 'n' if it is "
            "negative, 'z' if it is 0."
        ),
        lambda xs: "".join("p" if x > 0 else "n" if x < 0 else "z" for x in xs),
    )


EASY_WITH_NUMBERS: Draws = {
    "numbers": (
        *(_evens, _odds, _without_negatives, _above, _squares, _absolute, _plus, _times),
        *(_ascending, _descending, _backwards, _head, _first_occurrences),
    ),
    "number": (_total, _largest, _smallest, _count, _spread),
    "text": (_joined,),
}

HARD_WITH_NUMBERS: Draws = {
    "numbers": (
        *(_remainder, _range, _clamp, _halve_or_scale, _last_occurrences, _by_size),
        *(_by_last_digit, _running_sums, _running_max, _differences, _blocks, _block_sums),
        *(_rotate, _every, _add_position, _rising, _zeros, _swap_pairs, _digit_sums),
    ),
    "number": (_second, _most_frequent, _alternating, _sign_changes),
    "text": (_signs,),
}
