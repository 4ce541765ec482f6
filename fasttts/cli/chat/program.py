"""The loop of the chat: reads a line, executes it, and reports errors."""

from collections.abc import Callable, Mapping
from contextlib import closing

from fasttts.chat import ReplyCall
from fasttts.chat.efforts import EFFORTS, check_effort
from fasttts.cli.chat import keyboard, transcript
from fasttts.cli.chat.answer_view import AnswerView
from fasttts.cli.chat.commands import Command, Said, parse
from fasttts.cli.chat.dialogue import Dialogue
from fasttts.cli.chat.files import Folder
from fasttts.cli.chat.history import Store, StoredConversation
from fasttts.cli.chat.interrupts import Interrupts
from fasttts.cli.chat.modes import Mode, check_auto
from fasttts.cli.chat.screen import Screen
from fasttts.cli.chat.tools import Toolbox
from fasttts.engine import FastTTS
from fasttts.errors import ConfigurationError, FastTTSError

NUM_LISTED = 10


class Program:
    """One chat, from the first line to the last.

    Args:
        engine: The engine of the dialogue; restarted if it is lost.
        dialogue: Answers messages.
        store: The stored conversations.
        screen: Shows everything.
        folder: The directory of the user's `/read` command; None disables it.
    """

    def __init__(
        self,
        engine: FastTTS,
        dialogue: Dialogue,
        store: Store,
        screen: Screen,
        *,
        folder: Folder | None = None,
    ) -> None:
        self._engine = engine
        self._dialogue = dialogue
        self._store = store
        self._screen = screen
        self._folder = folder
        self._toolbox = Toolbox(folder)
        self._interrupts = Interrupts()
        self._is_over = False
        self._commands: Mapping[str, Callable[[str], None]] = {
            "auto": lambda text: self._set_mode("auto", text),
            "deliberate": lambda text: self._set_mode("deliberate", text),
            "plain": lambda text: self._set_mode("plain", text),
            "effort": self._set_effort,
            "calculator": lambda text: self._use("calculator", expression=text),
            "clock": lambda _: self._use("clock"),
            "read": self._read,
            "stats": lambda _: screen.stats(dialogue.conversation, engine),
            "save": lambda name: screen.note(f"Saved as {transcript.save(self._current, name)}."),
            "resume": self._resume,
            "new": self._new,
            "help": lambda _: screen.help(),
            "quit": self._quit,
        }

    def run(self) -> None:
        """Runs until the user leaves; Ctrl-C only interrupts the current work."""
        with self._interrupts.installed(), keyboard.remembered():
            while not self._is_over:
                self._turn()

    def _turn(self) -> None:
        self._interrupts.forget()
        self._screen.console.print()
        try:
            with self._interrupts.waiting():
                line = keyboard.read_line()
        except EOFError:
            self._screen.console.print()
            self._is_over = True
            return
        except KeyboardInterrupt:
            self._screen.console.print()
            self._screen.note("Ctrl-D or /quit leaves the chat.")
            return
        try:
            self._do(parse(line))
        except KeyboardInterrupt:
            self._screen.hint("Cancelled; nothing of this turn is kept.")
        except FastTTSError as error:
            self._screen.hint(str(error))
            if self._dialogue.documents:
                self._screen.note("The files you read still wait for a message; /new drops them.")

    def _do(self, meant: Command | Said | None) -> None:
        match meant:
            case Command(name=name, argument=argument):
                self._commands[name](argument)
            case Said(text=text):
                self._answer(text)

    def _answer(self, text: str, mode: Mode | None = None) -> None:
        if not self._engine.health.is_healthy:
            self._screen.note("The engine was lost; loading the models again.")
            self._engine.restart()
        self._screen.console.print()
        with closing(self._dialogue.answer(text, mode)) as events:
            AnswerView(self._screen.console).show(self._interrupts.each(events))

    @property
    def _current(self) -> StoredConversation:
        return self._dialogue.conversation

    def _set_mode(self, mode: Mode, text: str) -> None:
        if text:
            self._answer(text, mode)
            return
        if mode == "auto":
            check_auto(self._engine)
        self._dialogue.mode = mode
        self._screen.note(f"From now on: {self._described(mode)}.")

    def _described(self, mode: Mode) -> str:
        if mode == "plain":
            return "plain decoding"
        config = self._dialogue.search_config
        search = f"{config.search}, n={config.n} ({self._dialogue.effort} effort)"
        if mode == "auto":
            return f"drafts, and {search} where the verifier doubts one"
        return f"deliberation with {search}"

    def _set_effort(self, level: str) -> None:
        if level:
            self._dialogue.effort = check_effort(level)
        widths = ", ".join(f"{name} n={width['n']}" for name, width in EFFORTS.items())
        self._screen.note(f"Effort is {self._dialogue.effort} (searches: {widths}).")

    def _use(self, name: str, **arguments: str) -> None:
        outcome = self._toolbox.run(ReplyCall(name=name, arguments=arguments))
        (self._screen.hint if outcome.is_error else self._screen.said)(outcome.text)

    def _read(self, path: str) -> None:
        if self._folder is None:
            raise ConfigurationError("start the chat with --files DIRECTORY to read files below it")
        text = self._folder.read(path).strip()
        self._dialogue.documents.append(text)
        self._screen.note(f"{path}: {len(text):,} characters, for your next message:")
        self._screen.said(_beginning(text))

    def _resume(self, name: str) -> None:
        if not name:
            self._screen.conversations(self._store.recent(NUM_LISTED))
            return
        self._dialogue.conversation = self._store.find(name, NUM_LISTED)
        self._screen.resumed(self._current)

    def _new(self, _: str) -> None:
        self._dialogue.conversation = self._store.new()
        self._dialogue.documents.clear()
        self._screen.note("A new conversation.")

    def _quit(self, _: str) -> None:
        self._is_over = True


def _beginning(text: str, num_chars: int = 300) -> str:
    return text if len(text) <= num_chars else f"{text[:num_chars]} ..."
