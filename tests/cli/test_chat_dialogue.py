"""Turns of the chat on an engine without models, and the program without a terminal."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import BackendError, ConfigurationError, FastTTS, SearchConfig, SearchError
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.chat.efforts import check_effort
from fasttts.cli.chat.commands import COMMANDS
from fasttts.cli.chat.dialogue import MAX_ROUNDS, Dialogue
from fasttts.cli.chat.events import Grown, LeftOut, Replied, ToolRan
from fasttts.cli.chat.files import Folder
from fasttts.cli.chat.history import Store
from fasttts.cli.chat.tools import Toolbox
from fasttts.routing import Decided
from fasttts.routing.threshold_store import save_threshold
from fasttts.testing.faults import FaultyGenerator
from tests.engines import OpenWith
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

BASE = SearchConfig(search="beam_search", max_tokens=200)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's is read or written."""
    for kind in ("CACHE", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))


@pytest.fixture
def generator() -> HermesGenerator:
    return HermesGenerator()


@pytest.fixture
def engine(generator: HermesGenerator) -> Iterator[FastTTS]:
    with FastTTS(generator, FakeVerifier(), scheduling=UNTIMED) as engine:
        yield engine


@pytest.fixture
def dialogue(engine: FastTTS, tmp_path: Path) -> Dialogue:
    (tmp_path / "eggs.txt").write_text("45 eggs")
    conversation = Store(tmp_path / "chats").new()
    return Dialogue(engine, conversation, toolbox=Toolbox(Folder(tmp_path)), base=BASE)


def call(name: str, **arguments: Any) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


def content(events: list[Any]) -> str:
    return "".join(event.delta.content for event in events if isinstance(event, Grown))


def replies(events: list[Any]) -> list[Replied]:
    return [event for event in events if isinstance(event, Replied)]


def test_a_plain_answer_grows_and_is_kept(dialogue: Dialogue, generator: HermesGenerator) -> None:
    generator.answers["Hello"] = "Good day to you."
    events = list(dialogue.answer("Hello", "plain"))
    assert content(events) == "Good day to you."
    assert sum(isinstance(event, Grown) for event in events) > 2
    (turn,) = dialogue.conversation.turns
    assert [message["content"] for message in turn.messages] == ["Hello", "Good day to you."]
    assert (turn.asked, turn.costs[0].search, turn.costs[0].n) == ("Hello", "none", 1)


@pytest.mark.parametrize(("effort", "n"), [("low", 4), ("medium", 16), ("high", 64)])
def test_a_deliberated_answer_is_that_of_the_engine(
    dialogue: Dialogue, engine: FastTTS, effort: str, n: int
) -> None:
    dialogue.effort = check_effort(effort)
    (replied,) = replies(list(dialogue.answer("What is 2 + 2?", "deliberate")))
    messages = [{"role": "user", "content": "What is 2 + 2?"}]
    tools = Toolbox(Folder(dialogue.conversation.path.parents[1])).schemas
    alone = engine.search(messages, tools=tools, config=dialogue.search_config)
    assert (replied.result.text, replied.result.score) == (alone.text, alone.score)
    assert dialogue.conversation.turns[0].costs[0].n == n


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'high'"):
        check_effort("hig")


def test_tools_run_until_the_model_answers(dialogue: Dialogue, generator: HermesGenerator) -> None:
    generator.answers |= {
        "How many?": call("read_file", path="../eggs.txt"),
        "leading '/'": call("read_file", path="eggs.txt"),
        "45 eggs": call("calculator", expression="45 * 2"),
        "90": "There are 90.",
    }
    events = list(dialogue.answer("How many?", "plain"))
    ran = [event for event in events if isinstance(event, ToolRan)]
    assert [each.outcome.is_error for each in ran] == [True, False, False]
    assert content(events) == "There are 90."
    (turn,) = dialogue.conversation.turns
    roles = [message["role"] for message in turn.messages]
    assert roles == ["user", *["assistant", "tool"] * 3, "assistant"]
    assert turn.messages[2]["content"].startswith("error: '../eggs.txt' leads out")
    assert turn.messages[2]["tool_call_id"] == turn.messages[1]["tool_calls"][0]["id"]
    assert len(turn.costs) == 4


def test_a_model_that_only_calls_tools_is_stopped(
    dialogue: Dialogue, generator: HermesGenerator
) -> None:
    sums = [f"{number} + 1" for number in range(20)]
    generator.answers["Go!"] = call("calculator", expression=sums[0])
    for number, following in enumerate(sums[1:], 1):
        generator.answers[f"{number}"] = call("calculator", expression=following)
    events = list(dialogue.answer("Go!", "plain"))
    assert len(replies(events)) == MAX_ROUNDS
    assert replies(events)[-1].reply.calls == ()
    assert content(events) == f"{MAX_ROUNDS - 1}", "what the last call gave"
    assert len(dialogue.conversation.turns) == 1


def test_a_repeated_call_is_the_last_one(dialogue: Dialogue, generator: HermesGenerator) -> None:
    generator.answers |= {
        "What is 17 * 23?": call("calculator", expression="17 * 23"),
        "391": call("calculator", expression="391"),
    }
    events = list(dialogue.answer("What is 17 * 23?", "plain"))
    ran = [event.call.arguments["expression"] for event in events if isinstance(event, ToolRan)]
    assert ran == ["17 * 23", "391", "391"]
    assert content(events) == "391"
    assert [message["role"] for message in dialogue.conversation.turns[0].messages][-1] == (
        "assistant"
    )


def test_a_turn_without_a_problem_is_offered_no_tools(
    dialogue: Dialogue, generator: HermesGenerator
) -> None:
    generator.answers["Hi"] = call("clock")
    events = list(dialogue.answer("Hi", "plain"))
    assert not any(isinstance(event, ToolRan) for event in events)
    assert content(events).startswith("(The model called a tool")


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_by_default_a_draft_decides(
    dialogue: Dialogue, generator: HermesGenerator, threshold: float
) -> None:
    generator.answers["What is 2 + 2?"] = "It is 4."
    save_threshold("fake-hermes", "fake-verifier", threshold)
    events = list(dialogue.answer("What is 2 + 2?"))
    (decided,) = (event.decision for event in events if isinstance(event, Decided))
    (cost,) = dialogue.conversation.turns[0].costs
    assert (cost.search, cost.n) == (("none", 1) if threshold == 0.0 else ("beam_search", 16))
    assert decided.route == ("plain" if threshold == 0.0 else "search")
    assert content(events) == ("It is 4." if threshold == 0.0 else "")
    assert dialogue.conversation.messages[-1]["content"] == "It is 4."
    assert cost.verifier_tokens > 0


def test_a_greeting_is_answered_without_a_draft(dialogue: Dialogue) -> None:
    events = list(dialogue.answer("Hello"))
    (decided,) = (event.decision for event in events if isinstance(event, Decided))
    (cost,) = dialogue.conversation.turns[0].costs
    assert decided.reason == "there is no problem in the turn"
    assert (cost.search, cost.n, cost.verifier_tokens) == ("none", 1, 0)


def test_without_a_verifier_nobody_can_decide(tmp_path: Path) -> None:
    with FastTTS(FakeGenerator(), scheduling=UNTIMED) as engine:
        dialogue = Dialogue(engine, Store(tmp_path).new(), base=BASE)
        assert dialogue.mode == "plain"
        with pytest.raises(ConfigurationError, match="without a verifier"):
            list(dialogue.answer("What is 2 + 2?", "auto"))


@pytest.mark.parametrize("mode", ["auto", "plain", "deliberate"])
def test_an_answer_that_is_left_leaves_no_trace(
    dialogue: Dialogue, engine: FastTTS, generator: HermesGenerator, mode: Any
) -> None:
    generator.answers["Go!"] = "word " * 100
    with closing(dialogue.answer("Go!", mode)) as events:
        next(events)
    assert dialogue.conversation.turns == []
    assert not dialogue.conversation.path.exists()
    generator.answers["Hello"] = "Good day."
    assert content(list(dialogue.answer("Hello", "plain"))) == "Good day."
    assert generator.num_unfinished() == 0
    assert "Go!" not in generator.prompts[-1]


def test_an_answer_that_fails_leaves_no_trace(dialogue: Dialogue) -> None:
    def broken(problem: str, steps: Any) -> float:
        raise ValueError("broken")

    with FastTTS(FakeGenerator(), broken, scheduling=UNTIMED) as engine:
        failing = Dialogue(engine, dialogue.conversation, base=BASE)
        failing.documents.append("fact")
        with pytest.raises(Exception, match="broken"):
            list(failing.answer("What is 2 + 2?"))
    assert (dialogue.conversation.turns, failing.documents) == ([], ["fact"])


def test_documents_stand_before_the_next_question_only(
    dialogue: Dialogue, generator: HermesGenerator
) -> None:
    generator.answers |= {"Query: How many?\nAnswer: ": "45.", "And now?": "None."}
    dialogue.documents += ["45 eggs", "no milk"]
    assert content(list(dialogue.answer("How many?", "plain"))) == "45."
    assert "\n45 eggs\n\nno milk\n" in generator.prompts[-1]
    assert content(list(dialogue.answer("And now?", "plain"))) == "None."
    assert dialogue.conversation.turns[0].asked == "How many?"


def test_the_oldest_turns_make_room(tmp_path: Path) -> None:
    conversation = Store(tmp_path).new()
    with FastTTS(FakeGenerator(max_model_len=300), scheduling=UNTIMED) as engine:
        base = BASE.model_copy(update={"search": "self_consistency", "max_tokens": 100})
        dialogue = Dialogue(engine, conversation, base=base, system="Be brief.")
        for _ in range(4):
            events = list(dialogue.answer("x" * 50, "plain"))
        left_out = [event.num_turns for event in events if isinstance(event, LeftOut)]
        assert left_out
        assert 0 < left_out[0] < 4
        with pytest.raises((ConfigurationError, SearchError, RuntimeError)):
            list(dialogue.answer("x" * 400, "plain"))


Run = Callable[..., Result]


@pytest.fixture
def chat(
    run: Run,
    open_with: OpenWith,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """`fasttts chat` on a model that knows a few answers, fed with lines."""

    def open_engine(settings: Any) -> FastTTS:
        generator = HermesGenerator()
        generator.answers |= {"Hello": "Good [day].", "again": "Once more."}
        return FastTTS(generator, FakeVerifier(), scheduling=UNTIMED)

    open_with(open_engine)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, lines: run("chat", *arguments, stdin="\n".join(lines))


def test_every_command_does_something(chat: Run, tmp_path: Path) -> None:
    (tmp_path / "eggs.txt").write_text("45 eggs")
    lines = {
        "/plain": "From now on: plain decoding.",
        "Hello": "  Good [day].\n  \u25c7 plain, 12 tokens",
        "/auto": "From now on: drafts, and beam_search, n=16 (medium effort) where the verifier",
        "/deliberate": "From now on: deliberation with beam_search, n=16 (medium effort).",
        "/effort low": "Effort is low",
        "/deliberate Hello": "deliberated: beam_search, n=4, score 0.",
        "/calculator 6 * 7": "\n  42\n",
        "/calculator six": "'six' is no arithmetic",
        "/clock": ":",
        "/read eggs.txt": "eggs.txt: 7 characters",
        "/stats": "      replies      1            1         2\n",
        "/save talk.md": "Saved as talk.md.",
        "/resume": "  1  20",
        "/new": "A new conversation.",
        "/resume 1": "2 turns.\n> Hello\n",
        "/help": "/deliberate [MESSAGE]",
        "/wrong": "unknown command /wrong: /help lists the commands",
        "": "",
        "/quit": "",
    }
    done = chat("--files", str(tmp_path), lines=[*lines, "never read"])
    assert done.exit_code == 0, done.output
    rest = done.stdout
    for line, said in lines.items():
        assert said in rest, (line, rest)
        rest = rest[rest.index(said) + len(said) :]
    assert "never read" not in (tmp_path / "talk.md").read_text()
    assert max(map(len, done.stdout.splitlines())) <= 80
    typed = {line.split()[0].removeprefix("/") for line in lines if line.startswith("/")}
    assert typed >= set(COMMANDS)


def test_conversations_go_on(chat: Run) -> None:
    assert "there is no conversation to go on with" in chat("--resume", lines=[]).stderr
    chat(lines=["/plain Hello"])
    done = chat("--resume", lines=["/plain again", "/stats"])
    assert "1 turn.\n> Hello\n  Good [day].\n" in done.stdout
    assert "Once more." in done.stdout
    assert "replies      2 " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--search", "none"], "name a search"),
        (["--search", "dvst"], "did you mean 'dvts'?"),
        (["--effort", "hi"], "did you mean 'high'?"),
        (["--files", "missing"], "missing is no readable directory"),
    ],
)
def test_wrong_options_are_refused_before_models_load(
    run: Run, arguments: list[str], error: str
) -> None:
    done = run("chat", *arguments)
    assert (done.exit_code, error in done.stderr) == (2, True), done.stderr


def test_files_need_the_flag(chat: Run) -> None:
    assert "start the chat with --files DIRECTORY" in chat(lines=["/read x"]).stdout


def test_a_lost_engine_is_loaded_again(run: Run, open_with: OpenWith) -> None:
    def fresh() -> tuple[HermesGenerator, FakeVerifier]:
        generator = HermesGenerator()
        generator.answers["Hello"] = "Good day."
        return generator, FakeVerifier()

    def open_engine(settings: Any) -> FastTTS:
        generator, verifier = fresh()
        lost = FaultyGenerator(generator, {1: BackendError("lost", role="generator")}, dies=True)
        return FastTTS(lost, verifier, scheduling=UNTIMED, reload=fresh)

    open_with(open_engine)
    done = run("chat", stdin="/plain Hello\n/plain Hello\n")
    assert "lost" in done.stdout
    assert "The engine was lost; loading the models again." in done.stdout
    assert done.stdout.count("Good day.") == 1


def test_a_file_that_is_too_long_can_be_dropped(chat: Run, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("x" * 20_000)
    lines = ["/read long.txt", "/plain Hello", "/new", "/plain Hello"]
    done = chat("--files", str(tmp_path), lines=lines)
    assert done.exit_code == 0, done.output
    refused, answered = done.stdout.split("A new conversation.")
    assert "The files you read still wait for a message; /new drops them." in refused
    assert "Good [day]." not in refused
    assert "Good [day]." in answered
