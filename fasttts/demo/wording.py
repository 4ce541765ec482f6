"""Words and sentence forms of arithmetic word problems.

A form is a pair: the sentence of the problem and the reason in its solution step.

Placeholders: `{Who}`/`{who}` the problem's subject, `{items}` the counted objects, `{n}` and `{m}`
    numbers, `{friend}` another person, `{groups}` a container, `{part}` a word such as "half".
"""

from dataclasses import dataclass

Form = tuple[str, str]

NAMES = (
    "Tom", "Mia", "Ben", "Ann", "Leo", "Eva", "Sam", "Zoe", "Max", "Ida", "Jack", "Lily",
    "Omar", "Nina", "Paul", "Rosa", "Carl", "Vera", "Hugo", "Maya", "Ivan", "Lena",
    "Noah", "Emma", "Raj", "Priya", "Chen", "Mei", "Kofi", "Amina", "Luis", "Clara",
)  # fmt: skip
PLACES = (
    "the farm", "the library", "the school", "the shop", "the museum", "the factory",
    "the bakery", "the club", "the hotel", "the market",
)  # fmt: skip
ITEMS = (
    "pencils", "marbles", "stickers", "apples", "books", "cards", "coins", "shells",
    "stamps", "buttons", "beads", "cookies", "balloons", "candles", "flowers", "oranges",
    "eggs", "bottles", "cups", "plates", "pens", "notebooks", "bricks", "tiles",
    "ribbons", "lemons", "peaches", "seeds", "stones", "toys", "tickets", "postcards",
    "badges", "crayons", "muffins",
)  # fmt: skip
GROUPS = ("boxes", "bags", "packs", "baskets", "jars", "crates", "trays", "bundles")
GOODS = (
    "shirts", "caps", "lamps", "chairs", "games", "scarves", "plants", "mugs", "bowls", "kites",
)  # fmt: skip
LINKS = (
    "", "", "", "Then ", "Then ", "Later ", "After that, ", "The next day, ", "In the evening, ",
    "On Sunday, ",
)  # fmt: skip
PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The forms of one kind of story.

    Attributes:
        start: "{n}" is the subject's initial amount.
        start_groups: The beginning is a product, "{n}" times "{m}".
        start_sum: The beginning is a sum, "{n}" and "{m}".
        gain: "{n}" is added.
        lose: "{n}" is taken away.
        gain_groups: "{n}" times "{m}" is added.
        lose_groups: "{n}" times "{m}" is taken away.
        gain_share: "{n}" divided by "{m}" is added.
        lose_part: A fraction, "{part}", is taken away.
        gain_part: A fraction, "{part}", is added.
        times: The amount is multiplied by "{n}".
        share: The amount is divided by "{n}".
        question: Asks for the amount.
    """

    start: tuple[str, ...]
    start_groups: tuple[Form, ...]
    start_sum: tuple[Form, ...]
    gain: tuple[Form, ...]
    lose: tuple[Form, ...]
    gain_groups: tuple[Form, ...]
    lose_groups: tuple[Form, ...]
    gain_share: tuple[Form, ...]
    lose_part: tuple[Form, ...]
    gain_part: tuple[Form, ...]
    times: tuple[Form, ...]
    share: tuple[Form, ...]
    question: tuple[str, ...]


COLLECTION = World(
    start=("{Who} has {n} {items}.", "{Who} starts with {n} {items}.", "{Who} owns {n} {items}."),
    start_groups=(
        ("{Who} has {n} {groups} of {m} {items} each.", "{Who} has {n} {groups} of {m}"),
        ("{Who} fills {n} {groups} with {m} {items} each.", "{Who} fills {n} {groups} with {m}"),
    ),
    start_sum=(
        ("{Who} has {n} red {items} and {m} blue {items}.", "Red and blue together"),
        ("{Who} has {n} old {items} and {m} new {items}.", "Old and new together"),
        ("{Who} has {n} large {items} and {m} small {items}.", "Large and small together"),
    ),
    gain=(
        ("{Who} buys {n} more {items}.", "{Who} buys {n}"),
        ("{Who} finds {n} {items}.", "{Who} finds {n}"),
        ("{friend} gives {who} {n} {items}.", "{friend} gives {n}"),
        ("{Who} gets {n} more {items} from {friend}.", "{Who} gets {n}"),
        ("{Who} orders another {n} {items}.", "{Who} orders {n}"),
    ),
    lose=(
        ("{Who} gives {n} {items} to {friend}.", "{Who} gives {n}"),
        ("{Who} loses {n} {items}.", "{Who} loses {n}"),
        ("{Who} sells {n} {items}.", "{Who} sells {n}"),
        ("{friend} takes {n} of the {items}.", "{friend} takes {n}"),
        ("{Who} throws away {n} broken {items}.", "{Who} throws away {n}"),
    ),
    gain_groups=(
        ("{Who} buys {n} {groups} of {m} {items} each.", "{Who} buys {n} {groups} of {m}"),
        ("{n} friends give {who} {m} {items} each.", "{n} friends give {m} each"),
        ("{Who} gets {m} {items} on each of {n} days.", "{Who} gets {m} on {n} days"),
    ),
    lose_groups=(
        ("{Who} gives {m} {items} to each of {n} children.", "{n} children get {m} each"),
        ("{Who} sells {n} {groups} of {m} {items} each.", "{Who} sells {n} {groups} of {m}"),
        ("{Who} uses {m} {items} on each of {n} days.", "{Who} uses {m} on {n} days"),
    ),
    gain_share=(
        ("{m} people share {n} {items} equally, and {who} is one of them.", "{Who} gets a share"),
        (
            "{friend} splits {n} {items} evenly into {m} {groups} and gives {who} one.",
            "One of the {groups}",
        ),
    ),
    lose_part=(
        ("{Who} gives away {part} of the {items}.", "{Who} gives away {part}"),
        ("{Who} sells {part} of the {items}.", "{Who} sells {part}"),
    ),
    gain_part=(
        ("{Who} then finds {part} as many {items} again.", "{Who} finds {part}"),
        ("{friend} adds {part} as many {items} as {who} has.", "{friend} adds {part}"),
    ),
    times=(
        ("{Who} works until there are {n} times as many {items}.", "{n} times as many"),
        ("A month later {who} has {n} times as many {items}.", "{n} times as many"),
        ("The number of {items} grows to {n} times as much.", "{n} times as much"),
    ),
    share=(
        (
            "{Who} puts the {items} evenly into {n} {groups} and keeps one of them.",
            "{Who} keeps one of {n}",
        ),
        (
            "{Who} shares all the {items} equally among {n} people and keeps one share.",
            "One of {n} shares",
        ),
    ),
    question=(
        "How many {items} does {who} have now?",
        "How many {items} does {who} have in the end?",
        "How many {items} are left with {who}?",
    ),
)  # fmt: skip

MONEY = World(
    start=("{Who} has {n} dollars.", "{Who} has saved {n} dollars."),
    start_groups=(
        ("{Who} earns {m} dollars on each of {n} days.", "{Who} earns {m} on {n} days"),
        ("{Who} sells {n} {goods} for {m} dollars each.", "{Who} sells {n} {goods} for {m}"),
    ),
    start_sum=(
        ("{Who} has {n} dollars at home and {m} dollars in the bank.", "Home and bank together"),
    ),
    gain=(
        ("{Who} earns {n} dollars.", "{Who} earns {n}"),
        ("{friend} pays {who} {n} dollars.", "{friend} pays {n}"),
        ("{Who} wins {n} dollars.", "{Who} wins {n}"),
    ),
    lose=(
        ("{Who} spends {n} dollars.", "{Who} spends {n}"),
        ("{Who} pays a bill of {n} dollars.", "{Who} pays {n}"),
        ("{Who} lends {friend} {n} dollars.", "{Who} lends {n}"),
    ),
    gain_groups=(
        ("{Who} sells {n} {goods} for {m} dollars each.", "{Who} sells {n} {goods} for {m}"),
        ("{Who} works {n} hours for {m} dollars an hour.", "{Who} works {n} hours for {m}"),
    ),
    lose_groups=(
        ("{Who} buys {n} {goods} for {m} dollars each.", "{Who} buys {n} {goods} for {m}"),
        ("{Who} pays {m} dollars to each of {n} workers.", "{n} workers get {m} each"),
    ),
    gain_share=(
        (
            "{m} people share a prize of {n} dollars equally, and {who} is one of them.",
            "{Who} gets a share",
        ),
    ),
    lose_part=(
        ("{Who} spends {part} of the money.", "{Who} spends {part}"),
        ("{Who} gives away {part} of the money.", "{Who} gives away {part}"),
    ),
    gain_part=(("{friend} adds {part} as much money as {who} has.", "{friend} adds {part}"),),
    times=(
        ("A year later {who} has {n} times as much money.", "{n} times as much"),
        ("The money grows to {n} times as much.", "{n} times as much"),
    ),
    share=(
        (
            "{Who} splits the money equally among {n} people and keeps one share.",
            "One of {n} shares",
        ),
    ),
    question=(
        "How many dollars does {who} have now?",
        "How much money does {who} have in the end?",
    ),
)  # fmt: skip

JOURNEY = World(
    start=("{Who} has a plan to {go} {n} {unit}.", "{Who} wants to {go} {n} {unit}."),
    start_groups=(
        ("{Who} wants to {go} {m} {unit} on each of {n} days.", "{n} days of {m}"),
    ),
    start_sum=(
        ("{Who} wants to {go} {n} {unit} in May and {m} {unit} in June.", "May and June together"),
    ),
    gain=(
        ("{Who} adds {n} {unit} to the plan.", "{Who} adds {n}"),
        ("{friend} asks for {n} {unit} more.", "{friend} asks for {n} more"),
    ),
    lose=(
        ("{Who} skips {n} of the {unit}.", "{Who} skips {n}"),
        ("{Who} finishes {n} {unit}.", "{Who} finishes {n}"),
    ),
    gain_groups=(
        ("{Who} adds {m} {unit} on each of {n} weekends.", "{Who} adds {m} on {n} weekends"),
    ),
    lose_groups=(
        ("{Who} finishes {m} {unit} on each of {n} days.", "{Who} finishes {m} on {n} days"),
    ),
    gain_share=(
        ("{m} people divide {n} {unit} equally, and {who} takes one part.", "{Who} takes one part"),
    ),
    lose_part=(
        ("{Who} finishes {part} of the {unit}.", "{Who} finishes {part}"),
        ("{Who} skips {part} of the {unit}.", "{Who} skips {part}"),
    ),
    gain_part=(("{friend} asks for {part} as many {unit} again.", "{friend} asks for {part}"),),
    times=(("{Who} makes the plan {n} times as long.", "{n} times as long"),),
    share=(
        ("{Who} divides the plan into {n} equal parts and keeps one part.", "One of {n} parts"),
    ),
    question=(
        "How many {unit} are left for {who}?",
        "How many {unit} does {who} still have to {go}?",
    ),
)  # fmt: skip

JOURNEYS = (("read", "pages"), ("walk", "miles"), ("drive", "miles"), ("practice", "minutes"))

MORE: tuple[Form, ...] = (("{friend} has {n} more {items} than {who}.", "{friend} has {n} more"),)
FEWER: tuple[Form, ...] = (
    ("{friend} has {n} fewer {items} than {who}.", "{friend} has {n} fewer"),
)
TIMES_AS_MANY: tuple[Form, ...] = (
    ("{friend} has {n} times as many {items} as {who}.", "{friend} has {n} times as many"),
)
TOGETHER = ("How many {items} do {who} and {friend} have together?", "Both together")
DIFFERENCE_MORE = ("How many more {items} does {friend} have than {who}?", "The difference")
FRIEND_HAS = "How many {items} does {friend} have?"
PRICE: Form = ("{Who} sells all the {items} for {n} dollars each.", "Sold for {n} dollars each")
PRICE_QUESTION = "How many dollars does {who} get?"
FEE: Form = ("{Who} pays a fee of {n} dollars.", "The fee of {n} dollars")
FEE_QUESTION = "How many dollars does {who} keep?"
PACK: Form = ("{Who} packs all the {items} into {groups} of {n}.", "{Groups} of {n}")
PACK_QUESTION = "How many {groups} does {who} fill?"
