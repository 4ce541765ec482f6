"""The index of texts on the device drafts what the one on the host does."""

import numpy as np
import pytest
import torch

from fasttts.backends.vllm.draft_index import NO_GROUP, DraftIndex
from fasttts.decoding.drafts import LENGTHS, Drafts

pytestmark = pytest.mark.vllm

NUM_SLOTS, MAX_LEN, MOST = 6, 160, 4


class Slots:
    """Texts in slots, as vLLM's runner keeps them, and an index of them."""

    def __init__(self) -> None:
        self.index = DraftIndex(
            num_slots=NUM_SLOTS, max_len=MAX_LEN, num_drafts=MOST, device=torch.device("cpu")
        )
        self.texts: list[list[int]] = [[] for _ in range(NUM_SLOTS)]
        self._tokens = torch.zeros((NUM_SLOTS, MAX_LEN), dtype=torch.int32)

    def begin(self, groups: dict[int, int], longest: int | None = None) -> None:
        longest = longest or max(len(self.texts[slot]) for slot in groups)
        self.index.begin(groups, longest, *self._state())

    def drafts(self) -> list[list[int]]:
        self.index.advance(*self._state())
        return self.index.drafts_SK.tolist()  # type: ignore[no-any-return]  # torch's

    def _state(self) -> tuple[torch.Tensor, torch.Tensor]:
        for slot, text in enumerate(self.texts):
            self._tokens[slot, : len(text)] = torch.tensor(text, dtype=torch.int32)
        lengths = torch.tensor([len(text) for text in self.texts], dtype=torch.int32)
        return lengths, self._tokens


def padded(draft: list[int]) -> list[int]:
    return [*draft, *[0] * (MOST - len(draft))]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("vocab", [3, 12, 5000])
def test_it_drafts_as_the_host_does(seed: int, vocab: int) -> None:
    """One slot after the other gains tokens, so that one place is the latest."""
    generator = np.random.default_rng(seed)
    slots, host = Slots(), Drafts()
    groups = {slot: slot % 2 for slot in range(NUM_SLOTS - 1)}
    for slot, group in groups.items():
        slots.texts[slot] = [1 + slot % 2, *generator.integers(1, vocab, slot).tolist()]
        host.begin(str(slot), slots.texts[slot], slot % 2)
        slots.begin({slot: group}, longest=MAX_LEN)
    for _ in range(60):
        slot = int(generator.integers(0, len(groups)))
        new = generator.integers(1, vocab, generator.integers(1, MOST + 2)).tolist()
        slots.texts[slot] += new
        host.append(str(slot), new)
        found = slots.drafts()
        for each in groups:
            expected = host.draft(str(each), MOST)
            assert found[each][: len(expected)] == expected
            if not expected:
                assert found[each] == padded([])
    assert found[NUM_SLOTS - 1] == padded([]), "the slot without a group"


def test_the_longest_suffix_counts_and_the_latest_place() -> None:
    slots = Slots()
    slots.texts[0] = [7, 8, 9, 1, 1, 7, 8, 9, 2, 2, 5, 9, 3, 3, 3]
    slots.texts[1] = [6, 7, 8, 9]
    slots.begin({0: 4, 1: 4})
    assert slots.drafts()[1] == [2, 2, 5, 9]
    slots.texts[1] += [5, 9]
    assert slots.drafts()[1] == [3, 3, 3, 0], "what follows 5, 9; no more is there"


def test_groups_do_not_see_each_other() -> None:
    slots = Slots()
    slots.texts[0] = [1, 2, 3, 4, 5, 6]
    slots.texts[1], slots.texts[2], slots.texts[3] = [1, 2], [1, 2], [1, 2]
    slots.begin({0: 1, 1: 1, 2: 2, 3: NO_GROUP})
    assert [row[0] for row in slots.drafts()[:4]] == [0, 3, 0, 0]


def test_a_slot_that_is_taken_again_forgets_its_text() -> None:
    slots = Slots()
    slots.texts[0], slots.texts[1] = [1, 2, 3, 4, 5], [1, 2]
    slots.begin({0: 1, 1: 1})
    assert slots.drafts()[1] == [3, 4, 5, 0]
    slots.texts[0] = [9, 9, 9, 9, 9]
    slots.begin({0: 1})
    assert slots.drafts()[1] == padded([])
    slots.texts[0] = [1, 2, 7, 7, 7, 7]
    slots.begin({0: 2})
    assert slots.drafts()[1] == padded([])


def test_long_prompts_are_indexed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fasttts.backends.vllm.draft_index._PIECE", 7)
    text = np.random.default_rng(3).integers(1, 1000, MAX_LEN - 20).tolist()
    slots = Slots()
    slots.texts[0] = text
    for end in (9, 40, 100):
        slots.texts[1] = text[end - max(LENGTHS) : end]
        slots.begin({0: 1, 1: 1})
        assert slots.drafts()[1] == text[end : end + MOST]


def test_what_was_missed_is_read_anew() -> None:
    """While nothing is drafted the index stands still; then every slot begins again."""
    slots = Slots()
    slots.texts[0], slots.texts[1] = [1, 2, 3], [8]
    slots.begin({0: 1, 1: 1})
    slots.drafts()
    slots.texts[0] += [*range(20, 60)]
    slots.texts[1] += [30, 31, 32]
    slots.begin({0: 1, 1: 1}, longest=MAX_LEN)
    assert slots.drafts()[1] == [33, 34, 35, 36]


def test_long_texts_are_known_from_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many slots of a long context keep as many tokens of each as there is memory for."""
    monkeypatch.setattr("fasttts.backends.vllm.draft_index._MAX_TOKENS", NUM_SLOTS * 30)
    text = np.random.default_rng(5).integers(1, 1000, MAX_LEN - 20).tolist()
    slots = Slots()
    slots.texts[0], slots.texts[1] = text[:20], text[8:16]
    slots.begin({0: 1, 1: 1}, longest=MAX_LEN)
    assert slots.drafts()[1] == text[16:20]
    slots.texts[0] = text[:24]
    slots.drafts()
    slots.texts[0] = text[:29]
    slots.texts[1] = text[20:28]
    slots.begin({1: 1})
    assert slots.drafts()[1] == [text[28], 0, 0, 0]
    for end in range(34, 60, 5):
        slots.texts[0] = text[:end]
        slots.drafts()
    slots.texts[1] = text[40:50]
    slots.begin({1: 1})
    assert slots.drafts()[1] == padded([])
