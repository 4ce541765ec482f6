"""The tools of the chat: a calculator, a clock, and reading files below one directory."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fasttts.chat import ReplyCall, Tool, offered_tools
from fasttts.cli.chat.calculator import calculate
from fasttts.cli.chat.files import Folder
from fasttts.config.unicode_text import as_text
from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError

MAX_LEVELS = 20
"""Deepest nesting of a call's arguments."""

_SCHEMA_WORDS = frozenset({"additionalProperties", "properties", "required", "type"})
"""Small models copy them from the schema into their calls; no tool has arguments of these names."""


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CalculatorInput(_Arguments):
    """Arguments of the calculator."""

    expression: str = Field(description="An arithmetic expression, such as (3 + 4) * 12.")


class ClockInput(_Arguments):
    """Arguments of the clock: none."""


class ReadFileInput(_Arguments):
    """Arguments of file reading."""

    path: str = Field(description="The file's path, relative to the directory.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTool:
    """A tool with its description for the model.

    Attributes:
        name: The name in calls.
        description: Its purpose, for the model.
        arguments: The model of its arguments.
        run: Takes a checked instance of it and returns text, or raises `ConfigurationError`.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    run: Callable[[Any], str]

    @property
    def schema(self) -> Tool:
        """The tool in OpenAI's form."""
        parameters = {"properties": {}, **self.arguments.model_json_schema()}
        for word in ("description", "additionalProperties"):
            parameters.pop(word, None)
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": parameters,
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """Result or error of a tool call, for the model to read.

    Attributes:
        text: The result, or the reason why there is none.
        is_error: Whether the call failed.
    """

    text: str
    is_error: bool = False


def sound_call(call: ReplyCall) -> tuple[ReplyCall, ToolOutcome | None]:
    """Returns a call that messages and files can hold.

    Arguments that are nested too deeply are left out, and the second part says so in place of a
    result.
    """
    if _is_shallow(call.arguments, MAX_LEVELS):
        return call, None
    problem = f"the arguments of {call.name} have more than {MAX_LEVELS} levels"
    return replace(call, arguments={}), ToolOutcome(text=problem, is_error=True)


def _is_shallow(value: Any, num_levels: int) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list):
        return True
    return num_levels > 0 and all(_is_shallow(each, num_levels - 1) for each in value)


class Toolbox:
    """The tools of one chat.

    Args:
        folder: Directory whose files may be read; None for a chat that reads none.
        now: Returns the current time.
    """

    def __init__(
        self,
        folder: Folder | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now().astimezone(),
    ) -> None:
        tools = [
            ChatTool(
                name="calculator",
                description="Compute the exact value of an arithmetic expression.",
                arguments=CalculatorInput,
                run=lambda given: calculate(given.expression),
            ),
            ChatTool(
                name="clock",
                description="Tell the date, the time and the time zone.",
                arguments=ClockInput,
                run=lambda _: f"{now():%A, %Y-%m-%d %H:%M:%S %Z}",
            ),
        ]
        if folder is not None:
            root = as_text(folder.root.name)
            tools.append(
                ChatTool(
                    name="read_file",
                    description=f"Read a text file below the directory {root}.",
                    arguments=ReadFileInput,
                    run=lambda given: folder.read(given.path),
                )
            )
        self._tools: Mapping[str, ChatTool] = {tool.name: tool for tool in tools}

    @property
    def names(self) -> list[str]:
        """Names of the tools."""
        return list(self._tools)

    @property
    def schemas(self) -> Sequence[Tool]:
        """All tools in OpenAI's form."""
        return offered_tools([tool.schema for tool in self._tools.values()])

    def run(self, call: ReplyCall) -> ToolOutcome:
        """Executes a call; model mistakes are returned, not raised.

        The text has a question mark where a name or an argument has half of a character.
        """
        outcome = self._run(call)
        return replace(outcome, text=as_text(outcome.text))

    def _run(self, call: ReplyCall) -> ToolOutcome:
        tool = self._tools.get(call.name)
        if tool is None:
            hint = did_you_mean(call.name, self._tools)
            return ToolOutcome(text=f"there is no tool {call.name!r}: {hint}", is_error=True)
        try:
            given = {k: v for k, v in call.arguments.items() if k not in _SCHEMA_WORDS}
            return ToolOutcome(text=tool.run(tool.arguments.model_validate(given)))
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
            )
            return ToolOutcome(text=f"wrong arguments for {call.name}: {wrong}", is_error=True)
        except ConfigurationError as error:
            return ToolOutcome(text=str(error), is_error=True)
