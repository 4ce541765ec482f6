"""Replies of `/v1/responses`, whole and as events."""

import json
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from openai.types.responses import Response

from fasttts.chat import Delta, ReplyCall
from fasttts.serving.api_errors import api_error
from fasttts.serving.call import Call, Choice, Listen, Outcome, report, total_cost
from fasttts.serving.responses_body import ResponsesBody
from fasttts.serving.streams import json_event

Item = dict[str, Any]


def response(asked: ResponsesBody, call: Call, outcome: Outcome, page: str | None) -> Response:
    """Makes the whole reply.

    Args:
        asked: The request.
        call: Its call.
        outcome: What became of it.
        page: Address of the page that shows its search; None without one.
    """
    choice = outcome.choices[0]
    ids = _Ids()
    items = [_thought_item(ids.thought, choice.reply.reasoning)] if choice.reply.reasoning else []
    if choice.reply.content or not choice.reply.calls:
        items.append(_message_item(ids.message, choice.reply.content))
    items += [_call_item(_new_id("fc"), each) for each in choice.reply.calls]
    return Response.model_validate(_ended(asked, call, outcome, items, page))


class _Ids:
    """The ids of a reply's items."""

    def __init__(self) -> None:
        self.thought = _new_id("rs")
        self.message = _new_id("msg")


def _new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"


def _ended(
    asked: ResponsesBody, call: Call, outcome: Outcome, items: list[Item], page: str | None
) -> dict[str, Any]:
    choice = outcome.choices[0]
    is_cut = choice.reply.finish_reason == "length"
    return {
        **_head(asked, call),
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": items,
        "usage": _usage(choice, call, outcome),
        "fasttts": report(outcome, page),
    }


def _head(asked: ResponsesBody, call: Call) -> dict[str, Any]:
    """The fields of a response that are known before it."""
    return {
        "id": call.id,
        "object": "response",
        "created_at": call.created,
        "model": call.model,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "metadata": asked.metadata or {},
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "temperature": asked.temperature,
        "tool_choice": asked.tool_choice or "auto",
        "tools": asked.tools or [],
        "top_p": asked.top_p,
        "store": False,
    }


def _usage(choice: Choice, call: Call, outcome: Outcome) -> dict[str, Any]:
    num_prompt = call.num_prompt_tokens
    return {
        "input_tokens": num_prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": choice.num_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": num_prompt + choice.num_tokens,
        "fasttts": total_cost(outcome),
    }


def _thought_item(item_id: str, text: str) -> Item:
    parts = [{"type": "reasoning_text", "text": text}]
    return {
        "type": "reasoning",
        "id": item_id,
        "summary": [],
        "content": parts,
        "status": "completed",
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def _message_item(item_id: str, text: str) -> Item:
    return {
        "type": "message",
        "id": item_id,
        "role": "assistant",
        "status": "completed",
        "content": [_part(text)],
    }


def _call_item(item_id: str, call: ReplyCall) -> Item:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {
        "type": "function_call",
        "id": item_id,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
        "status": "completed",
    }


class _Events:
    """Turns growing text into the events of a reply: items that begin, grow and end."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._ids = _Ids()
        self._open: str | None = None
        self._text = ""

    def grow(self, delta: Delta) -> Iterator[dict[str, Any]]:
        """Yields the events of new text."""
        if delta.reasoning:
            yield from self._begun("reasoning")
            yield self._delta("response.reasoning_text.delta", delta.reasoning)
        if delta.content:
            yield from self._begun("message")
            yield {**self._delta("response.output_text.delta", delta.content), "logprobs": []}

    def end(self, choice: Choice) -> Iterator[dict[str, Any]]:
        """Yields the events of a reply's end, its calls among them."""
        if not choice.reply.calls and not choice.reply.content:
            yield from self._begun("message")
        yield from self._ended()
        for call in choice.reply.calls:
            item = _call_item(_new_id("fc"), call)
            place = {"item_id": item["id"], "output_index": len(self.items)}
            begun = {**item, "arguments": "", "status": "in_progress"}
            yield self._item("response.output_item.added", begun)
            told = "response.function_call_arguments"
            yield {"type": f"{told}.delta", **place, "delta": item["arguments"]}
            whole = {"name": call.name, "arguments": item["arguments"]}
            yield {"type": f"{told}.done", **place, **whole}
            yield self._item("response.output_item.done", item)
            self.items.append(item)

    def _begun(self, kind: str) -> Iterator[dict[str, Any]]:
        if self._open == kind:
            return
        yield from self._ended()
        self._open, self._text = kind, ""
        item = self._whole()
        yield self._item(
            "response.output_item.added", {**item, "content": [], "status": "in_progress"}
        )
        if kind == "message":
            yield self._part_event("response.content_part.added")

    def _ended(self) -> Iterator[dict[str, Any]]:
        if self._open is None:
            return
        item = self._whole()
        if self._open == "message":
            yield {
                **self._place(),
                "type": "response.output_text.done",
                "text": self._text,
                "logprobs": [],
            }
            yield self._part_event("response.content_part.done")
        else:
            yield {**self._place(), "type": "response.reasoning_text.done", "text": self._text}
        yield self._item("response.output_item.done", item)
        self.items.append(item)
        self._open = None

    def _whole(self) -> Item:
        make = _message_item if self._open == "message" else _thought_item
        return make(self._id, self._text)

    @property
    def _id(self) -> str:
        return self._ids.message if self._open == "message" else self._ids.thought

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": len(self.items), "content_index": 0}

    def _delta(self, kind: str, text: str) -> dict[str, Any]:
        self._text += text
        return {"type": kind, **self._place(), "delta": text}

    def _part_event(self, kind: str) -> dict[str, Any]:
        return {"type": kind, **self._place(), "part": _part(self._text)}

    def _item(self, kind: str, item: Item) -> dict[str, Any]:
        return {"type": kind, "output_index": len(self.items), "item": item}


async def events(
    asked: ResponsesBody, call: Call, page: str | None, listen: Listen | None
) -> AsyncGenerator[bytes, None]:
    """Runs a call and yields the events of its reply.

    Args:
        asked: The request.
        call: Its call.
        page: Address of the page that shows its search; None without one.
        listen: Receives the events of a search; None for no calls.
    """
    async with aclosing(_told(asked, call, page, listen)) as told:
        number = 0
        async for event in told:
            yield _sent(event, number)
            number += 1


def failure(asked: ResponsesBody, call: Call, error: Exception, num_sent: int) -> bytes:
    """The last event of a reply that failed.

    Args:
        asked: The request.
        call: Its call.
        error: What it failed with.
        num_sent: Events before it.
    """
    message = api_error(error).body()["error"]["message"]
    failed = {
        **_head(asked, call),
        "status": "failed",
        "error": {"code": "server_error", "message": message},
    }
    return _sent({"type": "response.failed", "response": failed}, num_sent)


async def _told(
    asked: ResponsesBody, call: Call, page: str | None, listen: Listen | None
) -> AsyncGenerator[dict[str, Any], None]:
    items = _Events()
    is_begun = False
    async with aclosing(call.stream(listen)) as growths:
        async for growth in growths:
            if not is_begun:
                is_begun = True
                for kind in ("response.created", "response.in_progress"):
                    yield {"type": kind, "response": _head(asked, call)}
            if isinstance(growth, Outcome):
                ended = _ended(asked, call, growth, items.items, page)
                yield {"type": f"response.{ended['status']}", "response": ended}
                continue
            for event in items.grow(growth.delta):
                yield event
            if growth.ended is not None:
                for event in items.end(growth.ended):
                    yield event


def _sent(event: dict[str, Any], number: int) -> bytes:
    return json_event({**event, "sequence_number": number}, kind=event["type"])
