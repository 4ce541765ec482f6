"""Parses input lines: messages, commands, and errors that are reported in one line."""

from collections.abc import Mapping
from dataclasses import dataclass

from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError

SLASH = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Help text of a command.

    Attributes:
        argument: Its argument, in brackets if optional; empty for none.
        help: Its purpose.
    """

    argument: str = ""
    help: str


COMMANDS: Mapping[str, Described] = {
    "auto": Described(argument="[MESSAGE]", help="search where the verifier doubts a draft"),
    "deliberate": Described(
        argument="[MESSAGE]", help="always search: from now on, or for this message only"
    ),
    "plain": Described(argument="[MESSAGE]", help="never search: the same"),
    "effort": Described(argument="[LEVEL]", help="how hard to search: low, medium or high"),
    "calculator": Described(argument="EXPRESSION", help="compute it"),
    "clock": Described(help="tell the time"),
    "read": Described(argument="FILE", help="put a file's text before your next message"),
    "stats": Described(help="what the answers have cost"),
    "save": Described(argument="[FILE]", help="write the conversation into a Markdown file"),
    "resume": Described(argument="[NUMBER]", help="list conversations, or go on with one"),
    "new": Described(help="begin a new conversation"),
    "help": Described(help="show this"),
    "quit": Described(help="leave; so does Ctrl-D"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command with its argument.

    Attributes:
        name: Without the slash.
        argument: Empty where there is none.
    """

    name: str
    argument: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message for the model.

    Attributes:
        text: The message.
    """

    text: str


def parse(line: str) -> Command | Said | None:
    """Parses a line; None if it is blank.

    A message may begin with two slashes, of which the first is dropped.

    Raises:
        ConfigurationError: There is no such command, or its argument is missing or too much.
    """
    text = line.strip()
    if not text:
        return None
    if not text.startswith(SLASH) or text.startswith(2 * SLASH):
        return Said(text=text.removeprefix(SLASH) if text.startswith(SLASH) else text)
    name, _, argument = text.removeprefix(SLASH).partition(" ")
    described = COMMANDS.get(name)
    if described is None:
        known = [f"{SLASH}{each}" for each in COMMANDS]
        hint = did_you_mean(f"{SLASH}{name}", known, "/help lists the commands")
        raise ConfigurationError(f"unknown command {SLASH}{name}: {hint}")
    argument = argument.strip()
    if argument and not described.argument:
        raise ConfigurationError(f"{SLASH}{name} takes nothing, not {argument!r}")
    if not argument and described.argument and not described.argument.startswith("["):
        raise ConfigurationError(f"{SLASH}{name} needs {described.argument}")
    return Command(name=name, argument=argument)


def completions(text: str) -> list[str]:
    """Lists the commands that begin with `text`, with a space after those that have arguments."""
    commands = [f"{SLASH}{name}{' ' * bool(each.argument)}" for name, each in COMMANDS.items()]
    return [command for command in commands if command.startswith(text)]
