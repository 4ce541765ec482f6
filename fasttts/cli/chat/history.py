"""Conversations on disk: one append-only file each, one line for each turn.

What the folder holds is not trusted: links are not followed, files that cannot be read are left
out, and a line is a turn only where every message in it is one that a chat writes, and an engine
takes them all.
"""

import contextlib
import datetime
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fasttts.chat import cost_report
from fasttts.config.private_folder import PrivateFolder
from fasttts.engine.messages import check_conversation
from fasttts.errors import ConfigurationError
from fasttts.types import Message, SearchResult

SUFFIX = ".jsonl"
MAX_TITLE = 50
MAX_FILE_BYTES = 1 << 26
"""Longest conversation that is read."""

_MAX_PLACE_DIGITS = 4

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Function(BaseModel):
    name: str
    arguments: str


class _Call(BaseModel):
    function: _Function


class _Message(BaseModel):
    role: Literal["user", "assistant", "tool"]
    content: str
    name: str = ""
    tool_calls: list[_Call] = []


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    """Checks that a message is one that a chat writes.

    Raises:
        ValueError: It is not.
    """
    found = _Message.model_validate(message, strict=True)
    if found.role == "tool" and not found.name:
        raise ValueError("a tool's result names no tool")
    for call in found.tool_calls:
        if not isinstance(json.loads(call.function.arguments), dict):
            raise ValueError("the arguments of a call are no object")
    return message


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
    n: Count
    score: Finite | None = None
    generated_tokens: Count
    verifier_tokens: Count
    seconds: Finite

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
    messages: Annotated[
        tuple[Annotated[dict[str, Any], AfterValidator(_checked)], ...], Field(min_length=1)
    ]
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

    @classmethod
    def read(cls, path: Path) -> "StoredConversation":
        """Reads a conversation; damaged lines of its file are left out and counted.

        Raises:
            OSError: There is no such file, or it cannot be read.
        """
        conversation = cls(path)
        content = PrivateFolder(path.parent).read(path.name, MAX_FILE_BYTES)
        for line in filter(None, content.split(b"\n")):
            try:
                turn = Turn.model_validate_json(line)
                check_conversation(turn.messages)  # else no later message would be answered
            except (ValidationError, RecursionError, ConfigurationError):
                conversation.num_damaged += 1
            else:
                conversation.turns.append(turn)
        return conversation

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
        PrivateFolder(self.path.parent).make()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        with os.fdopen(descriptor, "rb+", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no regular file")
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
        """Lists the conversations that were continued last, newest first, and can be read."""
        found: list[StoredConversation] = []
        for path in self._newest():
            with contextlib.suppress(OSError):
                found.append(StoredConversation.read(path))
            if len(found) == count:
                break
        return found

    def find(self, name: str, count: int) -> StoredConversation:
        """Finds a conversation.

        Args:
            name: Its name, or its place in `recent(count)`, counted from 1.
            count: Conversations that a place may refer to.

        Raises:
            ConfigurationError: There is none, or it cannot be read.
        """
        if name.isdecimal() and len(name) <= _MAX_PLACE_DIGITS:
            recent = self.recent(count)
            if 1 <= int(name) <= len(recent):
                return recent[int(name) - 1]
        for path in self._newest():
            if path.stem == name:
                return _opened(path)
        raise ConfigurationError(f"there is no conversation {name!r}: /resume lists them")

    def _newest(self) -> list[Path]:
        """The regular files of the folder, those that were written last first."""
        try:
            files = PrivateFolder(self.folder).files()
        except OSError:
            return []
        ours = [file for file in files if file.name.endswith(SUFFIX)]
        ours.sort(key=lambda file: file.modified_ns, reverse=True)
        return [self.folder / file.name for file in ours]


def _opened(path: Path) -> StoredConversation:
    try:
        return StoredConversation.read(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"{path} cannot be read: {reason}") from error
