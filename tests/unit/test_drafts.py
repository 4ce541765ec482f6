"""The drafter against a search through all texts, its memory, and what it counts on samples."""

import itertools
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import draft_counts
from fasttts.decoding.drafts import LENGTHS, Drafts


class Oracle:
    """Looks through all texts for the latest place of each run, however long that takes."""

    def __init__(self) -> None:
        self._texts: list[list[tuple[int, int]]] = []
        """For each token when it was written, or -1 where another text had it, and which it is."""
        self._now = itertools.count()

    def begin(self, token_ids: list[int]) -> int:
        known = max((self._num_shared(text, token_ids) for text in self._texts), default=0)
        self._texts.append([(-1, token_id) for token_id in token_ids[:known]])
        self.append(len(self._texts) - 1, token_ids[known:])
        return len(self._texts) - 1

    def _num_shared(self, text: list[tuple[int, int]], token_ids: list[int]) -> int:
        other = [token_id for _, token_id in text]
        return next(n for n in range(len(token_ids), -1, -1) if other[:n] == token_ids[:n])

    def append(self, number: int, token_ids: Sequence[int]) -> None:
        self._texts[number] += [(next(self._now), token_id) for token_id in token_ids]

    def draft(self, number: int, most: int) -> list[int]:
        own = [token_id for _, token_id in self._texts[number]]
        for length in LENGTHS:
            run = own[-length:]
            if len(run) == length and (places := self._places(run)):
                _, token_ids = max(places)
                return token_ids[: min(most, 2 * length - 1)]
        return []

    def _places(self, run: Sequence[int]) -> list[tuple[int, list[int]]]:
        """When the token behind each place of a run was written, with all that follows."""
        found = []
        for text in self._texts:
            token_ids = [token_id for _, token_id in text]
            found += [
                (text[at][0], token_ids[at:])
                for at in range(len(run), len(text))
                if token_ids[at - len(run) : at] == run and text[at][0] >= 0
            ]
        return found


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "append", "append", "append", "end"]),
        st.integers(0, 5),
        st.lists(st.integers(0, 3), max_size=15),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(operations=OPERATIONS, most=st.integers(1, 20))
def test_the_longest_run_that_occurred_before_is_followed_at_its_latest_place(
    operations: list[tuple[str, int, list[int]]], most: int
) -> None:
    drafts, oracle = Drafts(), Oracle()
    numbers: dict[int, int] = {}
    for what, which, token_ids in operations:
        if what == "end":
            drafts.end(str(numbers.pop(which, "unknown")))
        elif what == "begin" and which not in numbers:
            numbers[which] = oracle.begin(token_ids)
            drafts.begin(str(numbers[which]), token_ids)
        elif which in numbers:
            drafts.append(str(numbers[which]), token_ids)
            oracle.append(numbers[which], token_ids)
        for number in numbers.values():
            assert drafts.draft(str(number), most) == oracle.draft(number, most)


def test_a_draft_is_as_long_as_its_run_deserves() -> None:
    drafts = Drafts()
    drafts.begin("old", list(range(100)))
    for num_tokens, length in ((1, 1), (2, 3), (3, 5), (4, 5), (5, 9), (8, 15), (40, 15)):
        drafts.begin(f"of {num_tokens}", [1000, *range(50 - num_tokens, 50)], group=0)
        assert drafts.draft(f"of {num_tokens}", 100) == list(range(50, 50 + length))
        assert drafts.draft(f"of {num_tokens}", 2) == list(range(50, 50 + min(2, length)))


def test_groups_are_strangers_and_ended_texts_are_not() -> None:
    drafts = Drafts()
    drafts.begin("a", range(50), group=1)
    drafts.end("a")
    drafts.end("unknown")
    drafts.begin("b", [7, 8, 9], group=1)
    drafts.begin("c", [7, 8, 9], group=2)
    assert drafts.draft("b", 4) == [10, 11, 12, 13]
    assert drafts.draft("c", 4) == []


def test_what_follows_ends_where_the_text_ends() -> None:
    drafts = Drafts()
    drafts.begin("a", [1, 2, 3, 4])
    drafts.begin("b", [1, 2])
    assert drafts.draft("b", 8) == [3, 4]
    drafts.append("a", [5])
    assert drafts.draft("b", 8) == [3, 4, 5]
    assert drafts.draft("b", 0) == []


def test_children_continue_where_their_parent_was() -> None:
    """A prompt whose beginning is known is not read again, and is looked up as if it were."""
    prompt, step = list(range(100)), list(range(200, 237))
    drafts = Drafts()
    drafts.begin("parent", prompt)
    for begin in range(0, len(step), 3):
        drafts.append("parent", step[begin : begin + 3])
    drafts.end("parent")
    for length in (0, 16, 99, 100, 101, 128, 137):
        drafts.begin("child", [*prompt, *step][:length])
        expected = [*prompt, *step][length : length + 4]
        assert drafts.draft("child", 4) == (expected if length else [])
        drafts.end("child")


def test_time_is_linear_in_new_tokens() -> None:
    """Prompts that repeat are read, and their places are not written again."""

    class Counted(dict[Any, Any]):
        num_written = 0

        def __setitem__(self, key: object, value: object) -> None:
            self.num_written += 1
            super().__setitem__(key, value)

    drafts = Drafts()
    drafts.begin("first", range(1600))
    (group,) = drafts._groups.values()
    group.new = Counted(group.new)
    for number in range(50):
        drafts.begin(str(number), [*range(1600), *range(5000 + 3 * number, 5003 + 3 * number)])
    assert group.new.num_written == 50 * 3 * len(LENGTHS)


@pytest.mark.parametrize("is_one_text", [True, False])
def test_memory_is_bounded_and_the_newest_text_counts(is_one_text: bool) -> None:
    drafts, token_ids = Drafts(max_tokens=2000), itertools.count()
    drafts.begin("0", [])
    tracemalloc.start()
    try:
        peaks = []
        for number in range(1, 61):
            key = "0" if is_one_text else str(number)
            if not is_one_text:
                drafts.begin(key, [], group=number % 7)
            drafts.append(key, list(itertools.islice(token_ids, 500)))
            if not is_one_text:
                drafts.end(key)
            peaks.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(peaks) < 2000 * 1000 + 60 * 500 * 50
    newest, group = next(token_ids) - 1, 0 if is_one_text else 60 % 7
    drafts.begin("new", [newest - 3, newest - 2], group=group)
    assert drafts.draft("new", 4) == [newest - 1, newest]
    drafts.begin("old", [10, 11], group=group)
    assert drafts.draft("old", 4) == []


def test_a_prompt_beyond_the_memory_keeps_its_end() -> None:
    drafts = Drafts(max_tokens=100)
    drafts.begin("a", range(1000))
    drafts.begin("b", [990, 991])
    assert drafts.draft("b", 2) == [992, 993]
    drafts.begin("c", [5, 6])
    assert drafts.draft("c", 2) == []


def test_a_group_is_forgotten_with_its_last_token() -> None:
    drafts = Drafts(max_tokens=100)
    for group in range(20):
        drafts.begin(str(group), range(30), group=group)
        drafts.end(str(group))
    assert len(drafts._groups) < 6


def test_the_benchmark_counts_what_a_replay_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [{"prompt": [1, 2, 3], "outputs": [[1, 2, 3, 9], [7, 7, 7, 7, 7]]}]
    file = tmp_path / "samples.json"
    file.write_text(json.dumps(samples), encoding="utf-8")
    arguments = ["draft_counts", str(file), "--sequences", "1", "2", "--limits", "1", "4"]
    monkeypatch.setattr("sys.argv", arguments)
    draft_counts.main()
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = {(row["sequences"], row["most"]): row for row in document["rows"]}
    assert document["benchmark"] == "draft-counts"
    assert document["config"]["problems"] == 1
    # [1] has no draft; behind it one token is drafted, and kept with [3]; [9] comes in place of
    # the three that are drafted behind the run of 1, 2 and 3.
    assert rows[1, 4]["iterations"] == 3 / 4
    assert rows[1, 4]["per_pass"] == 4 / 3
    assert rows[1, 4]["computed"] == 7 / 4
    assert rows[2, 1]["iterations"] == 4 / 5
