"""Answers messages: replies of the model, tool calls, and the record of both.

A dialogue yields events and prints nothing. A turn is kept once its answer is complete; an
interrupted one, by Ctrl-C or an error, leaves no trace.
"""

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from fasttts.chat import Reply, ReplyCall, ReplyFormat, ReplyStream, Tool, fitting_messages
from fasttts.chat.efforts import EFFORTS, Effort
from fasttts.cli.chat.events import ChatEvent, Grown, LeftOut, Replied, ToolRan
from fasttts.cli.chat.history import Cost, StoredConversation, Turn, is_plain
from fasttts.cli.chat.modes import Mode, router_of
from fasttts.cli.chat.tools import Toolbox, ToolOutcome, sound_call
from fasttts.config import SearchConfig
from fasttts.config.unicode_text import check_text
from fasttts.engine import FastTTS
from fasttts.routing import Decided
from fasttts.routing.problem import has_problem
from fasttts.types import Finished, Message, TextDelta

MAX_ROUNDS = 6
"""Replies of the model to one message; tools are offered to all but the last, and to none where the
message holds no problem. A model that repeats a call has its result, and is offered none either."""

_WITH_DOCUMENTS = (
    "Context information is below.\n"
    "---------------------\n"
    "{documents}\n"
    "---------------------\n"
    "Given the context information and not prior knowledge, answer the query.\n"
    "Query: {question}\n"
    "Answer: "
)
"""LlamaIndex's wording, which small models handle best."""


class Dialogue:
    """Answers the messages of a conversation.

    Args:
        engine: Decodes and searches.
        conversation: Receives the answers of this dialogue.
        toolbox: Tools that the model is offered; None for none.
        base: Options of every answer; its `n` and `beam_width` come from the effort.
        system: A system message put before the conversation; None for none.

    Attributes:
        conversation: The conversation; it may be replaced between two answers.
        mode: Mode of messages that are sent without one.
        effort: Width of searches.
        documents: Texts that the next message is about.
    """

    def __init__(
        self,
        engine: FastTTS,
        conversation: StoredConversation,
        *,
        toolbox: Toolbox | None = None,
        base: SearchConfig,
        system: str | None = None,
    ) -> None:
        self.conversation = conversation
        self.mode: Mode = "plain" if engine.verifier_name is None else "auto"
        self.effort: Effort = "medium"
        self.documents: list[str] = []
        self._engine = engine
        self._toolbox = toolbox
        self._base = base
        self._system = system

    @property
    def search_config(self) -> SearchConfig:
        """The search of a deliberated answer."""
        return self._base.model_copy(update=dict(EFFORTS[self.effort]))

    def answer(self, text: str, mode: Mode | None = None) -> Generator[ChatEvent, None, None]:
        """Answers a message; closing the generator stops the engine's work.

        Args:
            text: The message.
            mode: How it is answered; None takes the dialogue's own.

        Raises:
            FastTTSError: As `FastTTS.search` does, and for a message that is not UTF-8.
        """
        check_text(text, "the message")
        messages: list[Message] = [{"role": "user", "content": self._content(text)}]
        costs: list[Cost] = []
        num_left = MAX_ROUNDS if has_problem([*self.conversation.messages, *messages]) else 1
        known: set[str] = set()
        while num_left:
            num_left -= 1
            replied = yield from self._reply(messages, mode or self.mode, has_tools=num_left > 0)
            calls = [sound_call(call) for call in replied.reply.calls]
            messages.append(_assistant_message(replied.reply, [call for call, _ in calls]))
            costs.append(Cost.of(replied.result))
            keys = {_key(call) for call, _ in calls}
            if not keys:
                break
            num_left = 1 if keys <= known else num_left
            known |= keys
            for call, fault in calls:
                outcome = fault or self._run(call)
                yield ToolRan(call=call, outcome=outcome)
                messages.append(_tool_message(call, outcome))
        self.documents.clear()
        self.conversation.add(Turn(asked=text, messages=tuple(messages), costs=tuple(costs)))

    def _reply(
        self, new: list[Message], mode: Mode, *, has_tools: bool
    ) -> Generator[ChatEvent, None, Replied]:
        """Generates one reply of the model to the conversation and the messages of this turn."""
        known = tuple(self._toolbox.schemas) if self._toolbox else ()
        tools = known if has_tools else ()
        messages, num_left_out = self._fitting(new, tools)
        if num_left_out:
            yield LeftOut(num_turns=num_left_out)
        switches = self._base.chat_template_kwargs
        prompt = self._engine.render(messages, tools=tools or None, chat_template_kwargs=switches)
        reply_format = ReplyFormat.of_call(self._engine, prompt, known)
        growing = ReplyStream(reply_format)
        router = router_of(self._engine, mode)
        config = self.search_config
        with closing(router.stream(messages, config=config, tools=tools or None)) as events:
            for event in events:
                match event:
                    case TextDelta(text=text):
                        yield Grown(delta=growing.add(text))
                    case Finished(result=result):
                        break
                    case Decided() if mode != "auto":
                        continue
                    case _:
                        yield event
        reply = reply_format.read(result.text, result.finish_reason)
        if reply.calls and not tools:
            reply = replace(reply, calls=(), content=_last_result(new), finish_reason="stop")
        if is_plain(result):
            yield Grown(delta=growing.finish(reply))
        replied = Replied(reply=reply, result=result)
        yield replied
        return replied

    def _fitting(self, new: list[Message], tools: tuple[Tool, ...]) -> tuple[list[Message], int]:
        """The part of the conversation that fits, and the number of oldest turns that do not."""
        opening: list[Message] = []
        if self._system:
            opening.append({"role": "system", "content": self._system})
        messages = [*opening, *self.conversation.messages, *new]
        kept = fitting_messages(
            self._engine,
            messages,
            tools,
            max_tokens=self._base.max_tokens,
            chat_template_kwargs=self._base.chat_template_kwargs,
        )
        return kept, _num_turns(messages) - _num_turns(kept)

    def _content(self, text: str) -> str:
        if not self.documents:
            return text
        documents = "\n\n".join(self.documents)
        return _WITH_DOCUMENTS.format(documents=documents, question=text)

    def _run(self, call: ReplyCall) -> ToolOutcome:
        if self._toolbox is None:
            return ToolOutcome(text="there are no tools: answer yourself", is_error=True)
        return self._toolbox.run(call)


def _key(call: ReplyCall) -> str:
    """What two calls have in common that give the same result."""
    return json.dumps([call.name, call.arguments], sort_keys=True)


def _last_result(messages: list[Message]) -> str:
    """An answer for a model that goes on calling tools: what the last one of its calls gave."""
    results = [str(message["content"]) for message in messages if message["role"] == "tool"]
    return results[-1] if results else "(The model called a tool, where none was offered.)"


def _num_turns(messages: list[Message]) -> int:
    return sum(message["role"] == "user" for message in messages)


def _assistant_message(reply: Reply, calls: Sequence[ReplyCall]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if calls:
        message["tool_calls"] = [_call_message(call) for call in calls]
    return message


def _call_message(call: ReplyCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _tool_message(call: ReplyCall, outcome: ToolOutcome) -> dict[str, Any]:
    content = f"error: {outcome.text}" if outcome.is_error else outcome.text
    return {"role": "tool", "name": call.name, "tool_call_id": call.id, "content": content}
