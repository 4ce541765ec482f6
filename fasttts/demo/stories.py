"""Builds one word problem: a story about an amount that changes, and its exact solution."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fasttts.demo import wording
from fasttts.demo.wording import Form, World

MAX_VALUE = 9999
_DIGIT_WEIGHTS = {1: 3, 2: 9, 3: 3, 4: 0.3}
_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
}


@dataclass(slots=True)
class Story:
    """A problem under construction.

    Attributes:
        rng: Source of every choice.
        world: Sentence forms of the kind of story.
        words: Values of the forms' placeholders.
        amount: The subject's present amount.
        sentences: Sentences of the problem so far.
        steps: Steps of the solution so far.
    """

    rng: random.Random
    world: World
    words: dict[str, str]
    amount: int = 0
    sentences: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def say(self, template: str, *, link: bool = True, **numbers: object) -> None:
        """Adds a sentence, sometimes with a time expression before it.

        Args:
            template: The sentence with placeholders.
            link: Whether a time expression may precede it.
            numbers: Values of placeholders besides `words`.
        """
        opening = self.rng.choice(wording.LINKS) if link and template[:2] != "A " else ""
        if opening:
            template = template.replace("{Who}", "{who}", 1) if template[0] == "{" else template
            template = template if template[0] == "{" else template[0].lower() + template[1:]
        self.sentences.append(opening + template.format(**self.words, **numbers))

    def compute(self, reason: str, a: int, sign: str, b: int, **numbers: object) -> int:
        """Adds a solution step and returns its result.

        Args:
            reason: The step's text with placeholders.
            a: Left operand.
            sign: One of "+", "-", "*", "/".
            b: Right operand.
            numbers: Values of placeholders besides `words`.
        """
        result = _OPERATIONS[sign](a, b)
        said = reason.format(**self.words, **numbers)
        self.steps.append(f"{said}: {a} {sign} {b} = {result}.")
        return result

    def new_friend(self) -> None:
        """Picks another person for the next sentence."""
        names = [name for name in wording.NAMES if name != self.words["who"]]
        self.words["friend"] = self.rng.choice(names)


def number(rng: random.Random, low: int, high: int) -> int:
    """Draws a number in [low, high], mostly of two or three digits.

    Args:
        rng: Source of the choice.
        low: Smallest number, positive.
        high: Largest number, at most four digits.
    """
    digits = range(len(str(low)), len(str(high)) + 1)
    chosen = rng.choices(digits, [_DIGIT_WEIGHTS[count] for count in digits])[0]
    return rng.randint(max(low, 10 ** (chosen - 1)), min(high, 10**chosen - 1))


def new_story(rng: random.Random) -> Story:
    """Chooses a kind of story and its words."""
    kind = rng.choices(("collection", "place", "money", "journey"), (50, 15, 20, 15))[0]
    who = rng.choice(wording.PLACES if kind == "place" else wording.NAMES)
    go, unit = rng.choice(wording.JOURNEYS)
    groups = rng.choice(wording.GROUPS)
    words = {"who": who, "Who": who[0].upper() + who[1:], "go": go, "unit": unit}
    words |= {"groups": groups, "Groups": groups[0].upper() + groups[1:]}
    words |= {"items": rng.choice(wording.ITEMS), "goods": rng.choice(wording.GOODS)}
    worlds = {"money": wording.MONEY, "journey": wording.JOURNEY}
    words["items"] = {"money": "dollars", "journey": unit}.get(kind, words["items"])
    story = Story(rng, worlds.get(kind, wording.COLLECTION), words)
    story.new_friend()
    return story


def begin(story: Story, num_operations: int) -> None:
    """Adds the initial amount, given or computed in one operation.

    Args:
        story: The problem under construction.
        num_operations: 0 or 1.
    """
    rng, world = story.rng, story.world
    if num_operations == 0:
        story.amount = number(rng, 20, 2500)
        story.say(rng.choice(world.start), link=False, n=story.amount)
        return
    if rng.random() < 0.5:
        n, m = rng.randint(2, 9), number(rng, 4, 150)
        text, reason = rng.choice(world.start_groups)
        sign = "*"
    else:
        n, m = number(rng, 10, 999), number(rng, 10, 999)
        text, reason = rng.choice(world.start_sum)
        sign = "+"
    story.say(text, link=False, n=n, m=m)
    story.amount = story.compute(reason, n, sign, m, n=n, m=m)


def _add(story: Story) -> bool:
    n = number(story.rng, 5, min(2000, MAX_VALUE - story.amount))
    return _change(story, story.world.gain, "+", n)


def _subtract(story: Story) -> bool:
    return story.amount >= 20 and _change(
        story, story.world.lose, "-", number(story.rng, 5, story.amount - 8)
    )


def _multiply(story: Story) -> bool:
    high = min(9, 1500 // story.amount)
    return high >= 2 and _change(story, story.world.times, "*", story.rng.randint(2, high))


def _divide(story: Story) -> bool:
    divisors = [k for k in range(2, 10) if story.amount % k == 0 and story.amount // k >= 12]
    return bool(divisors) and _change(story, story.world.share, "/", story.rng.choice(divisors))


def _change(story: Story, forms: tuple[Form, ...], sign: str, n: int) -> bool:
    story.new_friend()
    text, reason = story.rng.choice(forms)
    story.say(text, n=n)
    story.amount = story.compute(reason, story.amount, sign, n, n=n)
    return True


def _add_groups(story: Story) -> bool:
    n, m = story.rng.randint(2, 9), number(story.rng, 3, 120)
    if story.amount + n * m > MAX_VALUE:
        return False
    return _change_by(story, story.world.gain_groups, (n, "*", m), "+")


def _subtract_groups(story: Story) -> bool:
    n = story.rng.randint(2, 9)
    high = min(120, (story.amount - 8) // n)
    if high < 3:
        return False
    return _change_by(story, story.world.lose_groups, (n, "*", number(story.rng, 3, high)), "-")


def _add_share(story: Story) -> bool:
    m, share = story.rng.randint(2, 9), number(story.rng, 5, 150)
    if story.amount + share > MAX_VALUE:
        return False
    return _change_by(story, story.world.gain_share, (m * share, "/", m), "+")


def _change_by(
    story: Story, forms: tuple[Form, ...], product: tuple[int, str, int], sign: str
) -> bool:
    story.new_friend()
    a, inner, b = product
    text, reason = story.rng.choice(forms)
    story.say(text, n=a, m=b)
    change = story.compute(reason, a, inner, b, n=a, m=b)
    outcome = "In all" if sign == "+" else "What is left"
    story.amount = story.compute(outcome, story.amount, sign, change)
    return True


def _subtract_part(story: Story) -> bool:
    return _change_by_part(story, story.world.lose_part, "-")


def _add_part(story: Story) -> bool:
    return story.amount <= 6000 and _change_by_part(story, story.world.gain_part, "+")


def _change_by_part(story: Story, forms: tuple[Form, ...], sign: str) -> bool:
    divisors = [k for k in wording.PARTS if story.amount % k == 0 and story.amount >= 12 * k]
    if not divisors:
        return False
    story.new_friend()
    k = story.rng.choice(divisors)
    text, reason = story.rng.choice(forms)
    story.say(text, link=" then " not in text, part=wording.PARTS[k])
    change = story.compute(reason, story.amount, "/", k, part=wording.PARTS[k])
    outcome = "In all" if sign == "+" else "What is left"
    story.amount = story.compute(outcome, story.amount, sign, change)
    return True


_EVENTS: dict[int, tuple[tuple[Callable[[Story], bool], int], ...]] = {
    1: ((_add, 4), (_subtract, 4), (_multiply, 4), (_divide, 3)),
    2: (
        (_add_groups, 3),
        (_subtract_groups, 3),
        (_add_share, 2),
        (_subtract_part, 2),
        (_add_part, 1),
    ),
}


def happen(story: Story, num_operations: int) -> None:
    """Adds one event.

    Args:
        story: The problem under construction.
        num_operations: Operations of the event, 1 or 2.
    """
    events, weights = zip(*_EVENTS[num_operations], strict=True)
    while not story.rng.choices(events, weights)[0](story):
        pass


def _ask_amount(story: Story) -> str:
    return story.rng.choice(story.world.question).format(**story.words)


def _compare(story: Story) -> tuple[int, bool]:
    story.new_friend()
    rng, amount = story.rng, story.amount
    kinds = ["more"] + ["fewer"] * (amount >= 30) + ["times"] * (amount <= 500)
    kind = rng.choice(kinds)
    high = {"more": 900, "fewer": amount - 10, "times": 4}[kind]
    n = rng.randint(2, high) if kind == "times" else number(rng, 5, high)
    forms = {"more": wording.MORE, "fewer": wording.FEWER, "times": wording.TIMES_AS_MANY}[kind]
    text, reason = rng.choice(forms)
    story.say(text, link=False, n=n)
    sign = {"more": "+", "fewer": "-", "times": "*"}[kind]
    return story.compute(reason, amount, sign, n, n=n), kind == "times"


def _ask_comparison(story: Story, num_operations: int) -> str:
    other, is_multiple = _compare(story)
    if num_operations == 1:
        return wording.FRIEND_HAS.format(**story.words)
    if is_multiple and story.rng.random() < 0.5:
        question, reason = wording.DIFFERENCE_MORE
        story.compute(reason, other, "-", story.amount)
    else:
        question, reason = wording.TOGETHER
        story.compute(reason, story.amount, "+", other)
    return question.format(**story.words)


def _ask_price(story: Story, num_operations: int) -> str:
    price = story.rng.randint(2, max(2, min(9, 3000 // story.amount)))
    text, reason = wording.PRICE
    story.say(text, n=price)
    money = story.compute(reason, story.amount, "*", price, n=price)
    if num_operations == 1:
        return wording.PRICE_QUESTION.format(**story.words)
    fee = number(story.rng, 5, min(500, money - 5))
    text, reason = wording.FEE
    story.say(text, n=fee)
    story.compute(reason, money, "-", fee, n=fee)
    return wording.FEE_QUESTION.format(**story.words)


def _ask_packs(story: Story, divisors: list[int]) -> str:
    size = story.rng.choice(divisors)
    text, reason = wording.PACK
    story.say(text, n=size)
    story.compute(reason, story.amount, "/", size, n=size)
    return wording.PACK_QUESTION.format(**story.words)


def ask(story: Story, num_operations: int) -> str:
    """Adds the last facts and operations and returns the question.

    Args:
        story: The problem under construction.
        num_operations: Operations of the question, 0 to 2.
    """
    if num_operations == 0:
        return _ask_amount(story)
    is_collection = story.world is wording.COLLECTION
    divisors = [k for k in range(2, 10) if story.amount % k == 0]
    choices = ["compare"] if story.world is not wording.JOURNEY and story.amount <= 4500 else []
    choices += ["price"] if is_collection and story.amount <= 750 else []
    choices += ["pack"] if is_collection and divisors and num_operations == 1 else []
    if not choices:
        happen(story, num_operations)
        return _ask_amount(story)
    choice = story.rng.choice(choices)
    if choice == "compare":
        return _ask_comparison(story, num_operations)
    return _ask_price(story, num_operations) if choice == "price" else _ask_packs(story, divisors)


def plan(rng: random.Random, num_operations: int) -> Iterator[int]:
    """Yields the operations of the beginning, of each event and, last, of the question.

    Args:
        rng: Source of every choice.
        num_operations: Their sum.
    """
    opening = rng.choice((0, 0, 1))
    closing = rng.choice((0, 0, 1, 2))
    while opening + closing > num_operations:
        opening, closing = rng.choice((0, 0, 1)), rng.choice((0, 0, 1, 2))
    yield opening
    left = num_operations - opening - closing
    while left > 0:
        size = rng.choice((1, 1, 2)) if left > 1 else 1
        yield size
        left -= size
    yield closing
