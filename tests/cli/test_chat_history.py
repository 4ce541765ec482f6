"""Conversations on disk, and as documents."""

import os
import stat
from pathlib import Path

import pytest

from fasttts import ConfigurationError
from fasttts.cli.chat import transcript
from fasttts.cli.chat.history import Cost, Store, StoredConversation, Turn

COST = Cost(
    search="beam_search", n=4, score=0.5, generated_tokens=1200, verifier_tokens=9, seconds=0.25
)


def turn(asked: str, said: str = "It is 4.") -> Turn:
    user = {"role": "user", "content": asked}
    return Turn(asked=asked, messages=(user, {"role": "assistant", "content": said}), costs=(COST,))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "chats")


def test_turns_come_back(store: Store) -> None:
    conversation = store.new()
    turns = [turn("What is 2 + 2?"), turn("Und \u00fcber \u2713\n3?", "line\n\nline")]
    for each in turns:
        conversation.add(each)
    assert StoredConversation.read(conversation.path).turns == turns == conversation.turns
    assert StoredConversation.read(conversation.path).messages == conversation.messages
    assert [message["role"] for message in conversation.messages] == ["user", "assistant"] * 2


def test_a_conversation_without_turns_leaves_no_file(store: Store) -> None:
    assert not store.new().path.exists()
    assert store.recent(5) == []


def test_only_the_user_may_read_a_conversation(store: Store) -> None:
    conversation = store.new()
    conversation.add(turn("2 + 2?"))
    assert stat.S_IMODE(conversation.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700


def test_a_torn_line_loses_itself_only(store: Store) -> None:
    conversation = store.new()
    for asked in ("one", "two"):
        conversation.add(turn(asked))
    whole = conversation.path.read_bytes()
    conversation.path.write_bytes(whole[:-10])
    again = StoredConversation.read(conversation.path)
    assert ([each.asked for each in again.turns], again.num_damaged) == (["one"], 1)
    again.add(turn("three"))
    once_more = StoredConversation.read(conversation.path)
    assert [each.asked for each in once_more.turns] == ["one", "three"]


def test_the_last_continued_comes_first(store: Store) -> None:
    conversations = [store.new() for _ in range(3)]
    for seconds, conversation in enumerate(conversations):
        conversation.add(turn(conversation.name))
        os.utime(conversation.path, (seconds, seconds))
    os.utime(conversations[0].path, (9, 9))
    names = [conversations[0].name, conversations[2].name, conversations[1].name]
    assert [each.name for each in store.recent(10)] == names
    assert [each.name for each in store.recent(2)] == names[:2]
    assert store.find("2", 10).name == names[1]
    assert store.find(names[2], 1).name == names[2]
    for missing in ("0", "4", "nothing", "../chats"):
        with pytest.raises(ConfigurationError, match="there is no conversation"):
            store.find(missing, 10)


def test_titles_are_short(store: Store) -> None:
    conversation = store.new()
    conversation.add(turn("word \n" * 30))
    assert conversation.title == "word word word word word word word word word wo..."


def test_a_conversation_is_saved_once(store: Store, tmp_path: Path) -> None:
    conversation = store.new()
    path = tmp_path / "saved.md"
    with pytest.raises(ConfigurationError, match="nothing to save"):
        transcript.save(conversation, str(path))
    conversation.add(turn("What is\n2 + 2?"))
    assert transcript.save(conversation, str(path)) == path
    assert path.read_text().splitlines() == [
        f"# FastTTS chat {conversation.name}",
        "",
        "## What is 2 + 2?",
        "",
        "It is 4.",
        "",
        "*\u25c6 deliberated: beam_search, n=4, score 0.5000, 1,200 tokens, 0.2 s*",
    ]
    with pytest.raises(ConfigurationError, match="exists already"):
        transcript.save(conversation, str(path))
    with pytest.raises(ConfigurationError, match=r"cannot write .*no such file"):
        transcript.save(conversation, str(tmp_path / "missing" / "saved.md"))


def test_tools_are_saved_too(store: Store) -> None:
    function = {"name": "calculator", "arguments": '{"expression": "2 + 2"}'}
    messages = (
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": function}]},
        {"role": "tool", "name": "calculator", "content": "4\n"},
        {"role": "assistant", "content": "It is 4."},
    )
    conversation = store.new()
    conversation.add(Turn(asked="2 + 2?", messages=messages))
    written = transcript.document(conversation)
    assert '`calculator({"expression": "2 + 2"})`\n\n> calculator:\n> 4\n\nIt is 4.\n' in written


def test_a_turn_that_cannot_be_written_is_not_lost_at_once(tmp_path: Path) -> None:
    (tmp_path / "chats").touch()
    conversation = Store(tmp_path / "chats").new()
    with pytest.raises(ConfigurationError, match="this turn is gone when you leave"):
        conversation.add(turn("2 + 2?"))
    assert [each.asked for each in conversation.turns] == ["2 + 2?"]
