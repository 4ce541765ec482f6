"""How steps are laid out for process reward models."""

import pytest

from fasttts.backends.fake import FakeTokenizer
from fasttts.errors import ConfigurationError
from fasttts.verifiers.formats import STEP_TAG, SYSTEM_PROMPT, ProcessRewardFormat

TAG = 999


class TaggedTokenizer(FakeTokenizer):
    """Bytes, with a step tag; counts what it is asked."""

    num_encoded = 0

    def encode(self, text: str) -> list[int]:
        self.num_encoded += 1
        parts = [super(TaggedTokenizer, self).encode(part) for part in text.split(STEP_TAG)]
        return [token for part in parts for token in (TAG, *part)][1:]


@pytest.fixture
def tokenizer() -> TaggedTokenizer:
    return TaggedTokenizer()


@pytest.fixture
def layout(tokenizer: TaggedTokenizer) -> ProcessRewardFormat:
    return ProcessRewardFormat(tokenizer, "prm")


def test_the_prompt(layout: ProcessRewardFormat, tokenizer: TaggedTokenizer) -> None:
    found = layout.prompt("1 + 2?", ("add", "three"))
    messages = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": "1 + 2?"},
    ]
    start = tokenizer.encode_chat(messages)
    expected = [*start, *b"add", TAG, *b"three", TAG]
    assert list(found.token_ids) == expected
    assert found.positions == (len(start) + 3, len(start) + 9)


def test_positions_are_those_of_the_tags(layout: ProcessRewardFormat) -> None:
    found = layout.prompt("p", ("a", "bb", "ccc"))
    assert [i for i, token in enumerate(found.token_ids) if token == TAG] == list(found.positions)
    assert found.positions[-1] == len(found.token_ids) - 1


def test_a_longer_path_extends_the_prompt(layout: ProcessRewardFormat) -> None:
    short, long = layout.prompt("p", ("a", "b")), layout.prompt("p", ("a", "b", "c"))
    assert long.token_ids[: len(short.token_ids)] == short.token_ids
    assert long.positions[:2] == short.positions


def test_a_tag_in_a_step_is_text_no_more(layout: ProcessRewardFormat) -> None:
    assert layout.prompt("p", (f"a{STEP_TAG}b",)) == layout.prompt("p", ("ab",))


def test_nothing_is_tokenised_twice(
    layout: ProcessRewardFormat, tokenizer: TaggedTokenizer
) -> None:
    layout.prompt("p", ("a", "b"))
    before = tokenizer.num_encoded
    layout.prompt("p", ("a", "b"))
    assert tokenizer.num_encoded == before


def test_a_tokenizer_without_tag_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=f"'prm'.*no token {STEP_TAG}"):
        ProcessRewardFormat(FakeTokenizer(), "prm")
