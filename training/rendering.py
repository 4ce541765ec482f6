"""Renders dialogues as the chat template does, with the assistant's parts marked."""

import json

from training.dialogues import DRILL_PROMPT, SEPARATOR, Dialogue, Message

Segment = tuple[str, bool]

_TOOLS_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_TOOLS_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments"
    ' within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, '
    '"arguments": <args-json-object>}\n</tool_call>'
)


def render(dialogue: Dialogue) -> list[Segment]:
    """Returns the dialogue's text in pieces, each with whether the assistant wrote it.

    Joined, the pieces equal `apply_chat_template(messages, tools=tools)`. Pieces are cut next to
    special tokens or behind " = ", so they may be tokenised one by one. Of a drill's equations only
    the results count as written by the assistant: the operands are unpredictable.
    """
    messages = list(dialogue.messages)
    system = messages.pop(0)["content"] if messages[0]["role"] == "system" else ""
    segments: list[Segment] = []
    if dialogue.tools:
        tools = "".join(f"\n{json.dumps(tool, ensure_ascii=False)}" for tool in dialogue.tools)
        system = f"{system}\n\n" if system else ""
        system = f"{system}{_TOOLS_BEFORE}{tools}{_TOOLS_AFTER}"
    if system:
        segments.append((f"<|im_start|>system\n{system}<|im_end|>\n", False))
    for message in messages:
        segments += _render_message(message)
    is_drill = messages[0]["content"] == DRILL_PROMPT
    return _only_results(segments) if is_drill else segments


def _only_results(segments: list[Segment]) -> list[Segment]:
    """Cuts equations into operands, which are not learnt, and results, which are."""
    (opening, prompt, (content, _), end) = segments
    pieces: list[Segment] = []
    for equation in content.removesuffix("<|im_end|>").split(SEPARATOR):
        operands, result = equation.split(" = ")
        pieces += [(f"{operands} = ", False), (result, True), (SEPARATOR, False)]
    return [opening, prompt, *pieces[:-1], ("<|im_end|>", False), end]


def _render_message(message: Message) -> list[Segment]:
    content = message["content"]
    if message["role"] == "tool":
        body = f"\n<tool_response>\n{content}\n</tool_response>"
        return [(f"<|im_start|>user{body}<|im_end|>\n", False)]
    if message["role"] != "assistant":
        return [(f"<|im_start|>{message['role']}\n{content}<|im_end|>\n", False)]
    for call in message.get("tool_calls", ()):
        content += (
            f"\n<tool_call>\n{json.dumps(call['function'], ensure_ascii=False)}\n</tool_call>"
        )
    return [
        ("<|im_start|>assistant\n", False),
        (content.removeprefix("\n") + "<|im_end|>", True),
        ("\n", False),
    ]
