"""Conversations on disk: one append-only file each, one line for each turn."""

import datetime
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fasttts.chat import cost_report
from fasttts.errors import ConfigurationError
from fasttts.types import Message, SearchResult

SUFFIX = ".jsonl"
MAX_TITLE = 50


def is_plain(result: SearchResult) -> bool:
    """Whether the router decoded the reply once, without a search."""
    assert result.routing is not None, "all replies of a chat are routed"
    return bool(result.routing["route"] == "plain")


class Cost(BaseModel):
    """Method and cost of one reply of the model.

    Attributes:
        search: The method; "none" is plain decoding.
        n: Candidates or beams.
        score: The verifier's score of the chosen candidate; None without a verifier.
        generated_tokens: Tokens sampled on all paths.
        verifier_tokens: Tokens run through the verifier.
        seconds: Seconds until the answer was chosen.
    """

    model_config = ConfigDict(frozen=True)

    search: str
    n: int
    score: float | None = None
    generated_tokens: int
    verifier_tokens: int
    seconds: float

    @classmethod
    def of(cls, result: SearchResult) -> "Cost":
        """The cost of a result."""
        report = cost_report(result)
        usage, config = report["usage"], report["config"]
        return cls(
            search="none" if is_plain(result) else config["search"],
            n=1 if is_plain(result) else config["n"],
            score=report["score"],
            generated_tokens=usage["generated_tokens"],
            verifier_tokens=usage["verifier_computed_tokens"],
            seconds=report["timings"]["total_s"],
        )


class Turn(BaseModel):
    """A message of the user and everything that followed until the answer.

    Attributes:
        asked: The user's message.
        messages: All messages in the order in which the model reads them, tool calls and results
            among them.
        costs: One for each reply of the model.
    """

    model_config = ConfigDict(frozen=True)

    asked: str
    messages: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    costs: tuple[Cost, ...] = ()


class StoredConversation:
    """The turns of one conversation, and its file, which the first turn creates.

    Args:
        path: The file; it and its folder are readable by the user alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.turns: list[Turn] = []
        self.num_damaged = 0
        if path.exists():
            self._read()

    def _read(self) -> None:
        for line in self.path.read_bytes().splitlines():
            try:
                self.turns.append(Turn.model_validate_json(line))
            except ValidationError:
                self.num_damaged += 1

    @property
    def name(self) -> str:
        """The name it is resumed by."""
        return self.path.stem

    @property
    def title(self) -> str:
        """The beginning of its first message, in one line."""
        line = " ".join(self.turns[0].asked.split()) if self.turns else ""
        return line if len(line) <= MAX_TITLE else f"{line[: MAX_TITLE - 3]}..."

    @property
    def messages(self) -> list[Message]:
        """All turns as the model reads them."""
        return [message for turn in self.turns for message in turn.messages]

    def add(self, turn: Turn) -> None:
        """Adds a turn in memory and to the file.

        Raises:
            ConfigurationError: The file cannot be written; the turn is kept in memory alone.
        """
        self.turns.append(turn)
        try:
            self._write(turn.model_dump_json().encode())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigurationError(
                f"this turn is gone when you leave: {self.path} cannot be written: {reason}"
            ) from error

    def _write(self, line: bytes) -> None:
        """Appends a line; an incomplete line before it stays a line of its own."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            is_torn = size and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write((b"\n" if is_torn else b"") + line + b"\n")


class Store:
    """The folder of all conversations.

    Args:
        folder: The folder; None takes the user's data directory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_data_path("fasttts") / "chats"

    def new(self) -> StoredConversation:
        """Makes a conversation without turns, named by the time and four random digits."""
        now = datetime.datetime.now().astimezone()
        name = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return StoredConversation(self.folder / f"{name}{SUFFIX}")

    def recent(self, count: int) -> list[StoredConversation]:
        """Lists the conversations that were continued last, newest first."""
        paths = self.folder.glob(f"*{SUFFIX}")
        newest = sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [StoredConversation(path) for path in newest[:count]]

    def find(self, name: str, count: int) -> StoredConversation:
        """Finds a conversation.

        Args:
            name: Its name, or its place in `recent(count)`, counted from 1.
            count: Conversations that a place may refer to.

        Raises:
            ConfigurationError: There is none.
        """
        recent = self.recent(count)
        if name.isdecimal() and 1 <= int(name) <= len(recent):
            return recent[int(name) - 1]
        if any(path.stem == name for path in self.folder.glob(f"*{SUFFIX}")):
            return StoredConversation(self.folder / f"{name}{SUFFIX}")
        raise ConfigurationError(f"there is no conversation {name!r}: /resume lists them")
