"""Ten problems written for these tests: five in HumanEval's layout, five in MBPP's."""

from typing import Any


def _humaneval(number: int, name: str, prompt: str, body: str, test: str) -> dict[str, Any]:
    return {
        "task_id": f"Test/{number}",
        "prompt": prompt,
        "entry_point": name,
        "canonical_solution": body,
        "test": test,
    }


HUMANEVAL = [
    _humaneval(
        0,
        "widest_gap",
        "from typing import List\n\n\ndef widest_gap(values: List[int]) -> int:\n"
        '    """Largest difference of neighbours in the sorted list; 0 for fewer than two.\n'
        "    >>> widest_gap([1, 9, 4])\n    5\n"
        '    """\n',
        "    ordered = sorted(values)\n"
        "    return max((b - a for a, b in zip(ordered, ordered[1:])), default=0)\n",
        "METADATA = {}\n\n\ndef check(candidate):\n"
        "    assert candidate([1, 9, 4]) == 5\n"
        "    assert candidate([]) == 0\n"
        "    assert candidate([3]) == 0\n"
        "    assert candidate([2, 2, 2]) == 0\n"
        "    assert candidate([-5, 5]) == 10\n",
    ),
    _humaneval(
        1,
        "mirror_words",
        "def mirror_words(text: str) -> str:\n"
        '    """Reverses each word, and leaves the order of the words."""\n',
        "    return ' '.join(word[::-1] for word in text.split(' '))\n",
        "def check(candidate):\n"
        "    assert candidate('abc de') == 'cba ed'\n"
        "    assert candidate('') == ''\n"
        "    for word in ('level', 'noon'):\n"
        "        assert candidate(word) == word, 'palindromes stay'\n"
        "    assert candidate('a  b') == 'a  b'\n",
    ),
    _humaneval(
        2,
        "mean_speed",
        "import math\n\n\ndef mean_speed(legs):\n"
        '    """Mean speed over legs of (distance, speed); not-a-number where there are none."""\n',
        "    seconds = sum(distance / speed for distance, speed in legs)\n"
        "    return sum(d for d, _ in legs) / seconds if seconds else math.nan\n",
        "def check(candidate):\n"
        "    assert abs(candidate([(10, 5), (10, 10)]) - 20 / 3) < 1e-9\n"
        "    assert abs(candidate([(3, 1.5)]) - 1.5) < 1e-9\n"
        "    none = candidate([])\n"
        "    assert none != none\n",
    ),
    _humaneval(
        3,
        "decode_shifted",
        "def encode_shifted(text: str, by: int) -> str:\n"
        '    """Shifts small letters around the alphabet."""\n'
        "    return ''.join(chr((ord(c) - 97 + by) % 26 + 97) for c in text)\n\n\n"
        "def decode_shifted(text: str, by: int) -> str:\n"
        '    """Undoes encode_shifted."""\n',
        "    return encode_shifted(text, -by)\n",
        "def check(candidate):\n"
        "    import random\n"
        "    drawn = random.Random(3)\n"
        "    for _ in range(20):\n"
        "        word = ''.join(drawn.choice('abcxyz') for _ in range(8))\n"
        "        by = drawn.randrange(26)\n"
        "        assert candidate(encode_shifted(word, by), by) == word\n"
        "    assert candidate('', 3) == ''\n",
    ),
    _humaneval(
        4,
        "countdown",
        "def countdown(start):\n"
        '    """Yields start, start - 1, ..., 1; raises ValueError for a negative start."""\n',
        "    if start < 0:\n        raise ValueError(start)\n"
        "    return iter(range(start, 0, -1))\n",
        "def check(candidate):\n"
        "    assert list(candidate(3)) == [3, 2, 1]\n"
        "    assert list(candidate(0)) == []\n"
        "    try:\n"
        "        candidate(-1)\n"
        "        assert False, 'it raises'\n"
        "    except ValueError:\n"
        "        pass\n",
    ),
]

MBPP = [
    {
        "task_id": 1,
        "text": "Write a function to pair each item with the number of times that it occurs.",
        "code": "from collections import Counter\ndef tally(items):\n    return Counter(items)",
        "test_list": [
            "assert tally(['a', 'b', 'a']) == {'a': 2, 'b': 1}",
            "assert tally([]) == {}",
            "assert tally([(1, 2), (1, 2)]) == {(1, 2): 2}",
        ],
        "test_setup_code": "",
        "challenge_test_list": ["assert tally([None]) == {None: 1}"],
    },
    {
        "task_id": 2,
        "text": "Write a function to find the area of a circle.",
        "code": "import math\ndef circle_area(radius):\n    return math.pi * radius ** 2",
        "test_list": [
            "assert math.isclose(circle_area(1), 3.141592653589793)",
            "assert math.isclose(circle_area(2.0), 12.566370614359172, rel_tol=0.001)",
            "assert circle_area(0) == 0",
        ],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
    {
        "task_id": 3,
        "text": "Write a function to find the longest chain of boxes, each inside the next.",
        "code": "class Box:\n    def __init__(self, width, depth):\n"
        "        self.width, self.depth = width, depth\n\n"
        "def longest_chain(boxes):\n    best = {}\n"
        "    for box in sorted(boxes, key=lambda b: (b.width, b.depth)):\n"
        "        inner = [best[o] for o in best if o.width < box.width and o.depth < box.depth]\n"
        "        best[box] = 1 + max(inner, default=0)\n"
        "    return max(best.values(), default=0)",
        "test_list": [
            "assert longest_chain([Box(1, 1), Box(2, 2), Box(3, 1)]) == 2",
            "assert longest_chain([]) == 0",
            "assert Box(4, 5).depth == 5",
        ],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
    {
        "task_id": 4,
        "prompt": "Write a function to return the numbers that two lists share, as a set.",
        "code": "def shared(left, right):\n    return set(left) & set(right)",
        "test_imports": ["from itertools import permutations"],
        "test_list": [
            "assert all(shared(order, [1, 2]) == {1, 2} for order in permutations([1, 2, 3]))",
            "assert shared([1], [2]) == set()",
            "assert shared([], []) == set()",
        ],
    },
    {
        "task_id": 5,
        "text": "Write a function to find the smallest number; it is called min.",
        "code": "def min(values):\n    return sorted(values)[0]",
        "test_list": ["assert min([3, 1, 2]) == 1", "assert min([-1]) == -1"],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
]

WRONG = {
    "widest_gap": "    return max(values) - min(values)\n",
    "mirror_words": "    return text[::-1]\n",
    "mean_speed": "    return sum(s for _, s in legs) / len(legs)\n",
    "decode_shifted": "    return text\n",
    "countdown": "    return list(range(start))\n",
}
"""Bodies that pass a part of the tests at most."""
