"""Small operations on texts: sentences, and functions that do the same.

Every operation is defined for every value of its kind, the empty one too, and its sentence says
what happens there where that is not plain.
"""

import itertools
import random

from fasttts.demo.operations import Drawn, Draws

_VOWELS = "aeiou"
_SMALL = "abcdefghijklmnopqrstuvwxyz"
_SPLIT = "Split the text into words at spaces (several spaces in a row count as one)"


def _upper(rng: random.Random) -> Drawn:
    return "Convert the text to upper case.", str.upper


def _lower(rng: random.Random) -> Drawn:
    return "Convert the text to lower case.", str.lower


def _backwards(rng: random.Random) -> Drawn:
    return "Reverse the text.", lambda text: text[::-1]


def _without_spaces(rng: random.Random) -> Drawn:
    return "Remove all spaces.", lambda text: text.replace(" ", "")


def _replaced_spaces(rng: random.Random) -> Drawn:
    mark = rng.choice("_-.")
    return f"Replace every space by {mark!r}.", lambda text: text.replace(" ", mark)


def _without_digits(rng: random.Random) -> Drawn:
    return "Remove all digits.", lambda text: "".join(c for c in text if not c.isdigit())


def _without_letter(rng: random.Random) -> Drawn:
    letter = rng.choice("aeot")
    return f"Remove every {letter!r}.", lambda text: text.replace(letter, "")


def _head(rng: random.Random) -> Drawn:
    k = rng.randint(4, 9)
    return f"Keep only the first {k} characters, or all if there are fewer.", lambda text: text[:k]


def _twice(rng: random.Random) -> Drawn:
    return "Repeat the text twice, without anything in between.", lambda text: text * 2


def _words_backwards(rng: random.Random) -> Drawn:
    return (
        f"{_SPLIT}, reverse the order of the words, and join them with single spaces.",
        lambda text: " ".join(text.split()[::-1]),
    )


def _length(rng: random.Random) -> Drawn:
    return "Take the number of characters.", len


def _word_count(rng: random.Random) -> Drawn:
    return "Count the words, which spaces separate.", lambda text: len(text.split())


def _letter_count(rng: random.Random) -> Drawn:
    letter = rng.choice("aeot")
    return f"Count how often {letter!r} occurs.", lambda text: text.count(letter)


def _digit_count(rng: random.Random) -> Drawn:
    return "Count the digits.", lambda text: sum(c.isdigit() for c in text)


def _digits(rng: random.Random) -> Drawn:
    return (
        "Make the list of all digits in the text as integers, in their order.",
        lambda text: [int(c) for c in text if c.isdigit()],
    )


def _without_vowels(rng: random.Random) -> Drawn:
    return (
        "Remove the vowels a, e, i, o, u, small and capital ones.",
        lambda text: "".join(c for c in text if c.lower() not in _VOWELS),
    )


def _reversed_words(rng: random.Random) -> Drawn:
    return (
        f"{_SPLIT}, reverse the letters of each word, and join the words with single spaces.",
        lambda text: " ".join(word[::-1] for word in text.split()),
    )


def _word_order(rng: random.Random) -> Drawn:
    return (
        (
            f"{_SPLIT}, sort them by length, longest first, words of the same length in their "
            "order, and join them with single spaces."
        ),
        lambda text: " ".join(sorted(text.split(), key=len, reverse=True)),
    )


def _long_words(rng: random.Random) -> Drawn:
    k = rng.randint(3, 4)
    return (
        f"{_SPLIT}, drop words of fewer than {k} characters, and join the rest with single spaces.",
        lambda text: " ".join(word for word in text.split() if len(word) >= k),
    )


def _move_word(rng: random.Random) -> Drawn:
    return (
        (
            f"{_SPLIT}, move the first word to the end, and join the words with single spaces; a "
            "text without words gives the empty text."
        ),
        lambda text: " ".join([*text.split()[1:], *text.split()[:1]]),
    )


def _swapped_case(rng: random.Random) -> Drawn:
    return (
        "Swap the case of every letter: small ones become capital, capital ones small.",
        str.swapcase,
    )


def _stars(rng: random.Random) -> Drawn:
    mark = rng.choice("*#+")
    return (
        f"Replace every digit d by d copies of {mark!r}; the digit 0 vanishes.",
        lambda text: "".join(mark * int(c) if c.isdigit() else c for c in text),
    )


def _shifted(rng: random.Random) -> Drawn:
    k = rng.randint(1, 5)
    table = str.maketrans(_SMALL, _SMALL[k:] + _SMALL[:k])
    return (
        (
            f"Replace every small letter by the letter {k} places later in the alphabet, with 'a' "
            "following on 'z'; leave all other characters."
        ),
        lambda text: text.translate(table),
    )


def _capital_places(rng: random.Random) -> Drawn:
    k = rng.randint(2, 3)
    return (
        (
            f"Make the characters at the positions {k}, {2 * k}, {3 * k} and so on, counted from "
            "1, capital ones; make all others small ones."
        ),
        lambda text: "".join(c.lower() if at % k else c.upper() for at, c in enumerate(text, 1)),
    )


def _squeezed(rng: random.Random) -> Drawn:
    return (
        "Of equal characters that follow directly on each other keep one.",
        lambda text: "".join(c for c, _ in itertools.groupby(text)),
    )


def _run_lengths(rng: random.Random) -> Drawn:
    return (
        (
            "Replace every run of equal characters by the character and the length of the run, "
            "also where that is 1: 'aab' becomes 'a2b1'."
        ),
        lambda text: "".join(f"{c}{len([*run])}" for c, run in itertools.groupby(text)),
    )


def _halves(rng: random.Random) -> Drawn:
    return (
        "Swap the two halves of the text; a character in the middle stays there.",
        lambda text: (
            text[-(len(text) // 2) :]
            + text[len(text) // 2 : len(text) - len(text) // 2]
            + text[: len(text) // 2]
            if len(text) > 1
            else text
        ),
    )


def _vowel_count(rng: random.Random) -> Drawn:
    return (
        "Count the vowels a, e, i, o, u, small and capital ones.",
        lambda text: sum(c in _VOWELS for c in text.lower()),
    )


def _distinct_letters(rng: random.Random) -> Drawn:
    return (
        (
            "Count the different letters of the alphabet in the text; small and capital ones are "
            "the same, and other characters do not count."
        ),
        lambda text: len({c for c in text.lower() if c in _SMALL}),
    )


def _digit_total(rng: random.Random) -> Drawn:
    return (
        "Take the sum of all digits in the text, each digit on its own; 0 where there are none.",
        lambda text: sum(int(c) for c in text if c.isdigit()),
    )


def _word_lengths(rng: random.Random) -> Drawn:
    return (
        f"{_SPLIT} and make the list of their lengths.",
        lambda text: [len(word) for word in text.split()],
    )


def _vowel_places(rng: random.Random) -> Drawn:
    return (
        (
            "Make the list of the positions, counted from 0, of the vowels a, e, i, o, u, small "
            "and capital ones."
        ),
        lambda text: [at for at, c in enumerate(text.lower()) if c in _VOWELS],
    )


def _letter_numbers(rng: random.Random) -> Drawn:
    return (
        (
            "Make the list of the places of the letters in the alphabet, 1 for a and A, 26 for z "
            "and Z, in the order of the text; other characters are left out."
        ),
        lambda text: [_SMALL.index(c) + 1 for c in text.lower() if c in _SMALL],
    )


EASY_WITH_TEXTS: Draws = {
    "text": (
        *(_upper, _lower, _backwards, _without_spaces, _replaced_spaces, _without_digits),
        *(_without_letter, _head, _twice, _words_backwards, _without_vowels, _swapped_case),
    ),
    "number": (_length, _word_count, _letter_count, _digit_count, _vowel_count),
    "numbers": (_word_lengths, _digits),
}

HARD_WITH_TEXTS: Draws = {
    "text": (
        *(_reversed_words, _word_order, _long_words, _move_word, _stars, _shifted),
        *(_capital_places, _squeezed, _run_lengths, _halves),
    ),
    "number": (_distinct_letters, _digit_total),
    "numbers": (_vowel_places, _letter_numbers),
}
