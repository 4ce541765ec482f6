"""Short arithmetic word problems with exact answers, for models that nobody here has trained."""

import random
from collections.abc import Callable
from dataclasses import dataclass

_NAMES = ("Ana", "Ben", "Chloe", "David", "Emma", "Farid", "Grace", "Hiro", "Ines", "Jonas")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckProblem:
    """A problem to sample answers to.

    Attributes:
        text: The problem.
        answer: The right answer; None where it is not known.
    """

    text: str
    answer: str | None = None


def word_problems(seed: int, count: int) -> list[CheckProblem]:
    """Draws different problems; the same arguments give the same ones everywhere.

    Args:
        seed: Any integer; a longer list from the same seed begins with the shorter one.
        count: Number of problems.
    """
    rng = random.Random(f"check/{seed}")
    problems: dict[str, CheckProblem] = {}
    while len(problems) < count:
        story = _STORIES[len(problems) % len(_STORIES)]
        text, answer = story(rng, rng.choice(_NAMES))
        problems.setdefault(text, CheckProblem(text=text, answer=str(answer)))
    return list(problems.values())


Story = Callable[[random.Random, str], tuple[str, int]]
"""Draws a text about somebody, and its answer."""


def _buying(rng: random.Random, name: str) -> tuple[str, int]:
    first, second = rng.randint(3, 12), rng.randint(2, 9)
    return f"{name} has {first} apples and buys {second} more. How many apples are there?", (
        first + second
    )


def _giving(rng: random.Random, name: str) -> tuple[str, int]:
    first, second = rng.randint(11, 30), rng.randint(2, 10)
    text = f"{name} has {first} balloons and gives {second} of them away. How many are left?"
    return text, first - second


def _packing(rng: random.Random, name: str) -> tuple[str, int]:
    boxes, each = rng.randint(2, 9), rng.randint(2, 10)
    text = f"{name} fills {boxes} boxes with {each} pencils each. How many pencils is that in all?"
    return text, boxes * each


def _splitting(rng: random.Random, name: str) -> tuple[str, int]:
    people, each = rng.randint(2, 6), rng.randint(2, 10)
    text = f"{people} people share {people * each} nuts equally. How many nuts does each get?"
    return text, each


def _shopping(rng: random.Random, name: str) -> tuple[str, int]:
    count, price, note = rng.randint(3, 9), rng.randint(2, 8), 100
    text = (
        f"{name} buys {count} notebooks for {price} dollars each and pays with a {note} dollar "
        "note. How many dollars does the shop give back?"
    )
    return text, note - count * price


def _baking(rng: random.Random, name: str) -> tuple[str, int]:
    trays, each, eaten = rng.randint(3, 8), rng.randint(6, 15), rng.randint(4, 15)
    text = (
        f"{name} bakes {trays} trays of {each} cookies. The family eats {eaten} of them, and the "
        "rest is put into bags of one cookie each. How many bags are needed?"
    )
    return text, trays * each - eaten


def _reading(rng: random.Random, name: str) -> tuple[str, int]:
    days, pages, left = rng.randint(3, 9), rng.randint(10, 30), rng.randint(15, 90)
    text = (
        f"{name} reads {pages} pages of a book every day. After {days} days {left} pages are left. "
        "How many pages does the book have?"
    )
    return text, days * pages + left


def _sharing(rng: random.Random, name: str) -> tuple[str, int]:
    friends, each, kept = rng.randint(3, 8), rng.randint(4, 12), rng.randint(5, 20)
    text = (
        f"{name} has {friends * each + kept} stickers, keeps {kept} of them and shares the rest "
        f"equally among {friends} friends. How many stickers does each friend get?"
    )
    return text, each


def _saving(rng: random.Random, name: str) -> tuple[str, int]:
    weekly, weeks, spent = rng.randint(5, 15), rng.randint(4, 10), rng.randint(6, 18)
    text = (
        f"{name} saves {weekly} dollars a week for {weeks} weeks, then spends {spent} dollars on a "
        "game and is given twice that amount as a present. How many dollars are there now?"
    )
    return text, weekly * weeks + spent


def _driving(rng: random.Random, name: str) -> tuple[str, int]:
    first, second = rng.randint(2, 5), rng.randint(2, 5)
    fast, slow = 10 * rng.randint(7, 11), 10 * rng.randint(3, 6)
    text = (
        f"{name} drives for {first} hours at {fast} kilometres an hour and then for {second} hours "
        f"at {slow} kilometres an hour. How many kilometres is that in all?"
    )
    return text, first * fast + second * slow


def _seating(rng: random.Random, name: str) -> tuple[str, int]:
    rows, seats = rng.randint(6, 14), rng.randint(8, 20)
    empty = rng.randint(5, 30)
    text = (
        f"A hall has {rows} rows of {seats} seats. When {name} gives a concert, {empty} seats stay "
        "empty. How many people sit in the hall?"
    )
    return text, rows * seats - empty


def _ages(rng: random.Random, name: str) -> tuple[str, int]:
    age, factor, years = rng.randint(5, 12), rng.randint(3, 5), rng.randint(2, 9)
    text = (
        f"{name} is {age} years old, and {name}'s grandfather is {factor} times as old plus "
        f"{years} years. How old are the two together?"
    )
    return text, age + factor * age + years


_STORIES: tuple[Story, ...] = (
    _buying,
    _shopping,
    _saving,
    _giving,
    _baking,
    _driving,
    _packing,
    _reading,
    _ages,
    _splitting,
    _seating,
    _sharing,
)
"""One operation, two, three or more, in turn: the first few problems are of every difficulty."""
