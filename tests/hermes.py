"""A generator without models that answers by a table and calls tools as Hermes models do."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fasttts import ParsedOutput, ToolCall
from fasttts.backends.fake import FakeGenerator, Script
from fasttts.interfaces import HERMES, GenerationOutput

CALL = re.compile(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", re.DOTALL)
PROMPT_END = "assistant: "


class HermesGenerator(FakeGenerator):
    """Answers prompts by their ending, and reads tool calls as vLLM's Hermes parser does.

    Args:
        script: Answers in place of the table `answers`.
        options: Of `FakeGenerator`.
    """

    name = "fake-hermes"
    call_marker = "<tool_call>"
    call_format = HERMES

    def __init__(self, script: Script | None = None, **options: Any) -> None:
        super().__init__(script or self._answer, max_model_len=16_384, **options)
        self.answers: dict[str, str] = {}
        self.prompts: list[str] = []
        self.step_s = 0.0

    def step(self) -> list[GenerationOutput]:
        time.sleep(self.step_s)
        return super().step()

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput:
        found = [closed or cut_off for closed, cut_off in CALL.findall(text)]
        try:
            calls = tuple(_call(json.loads(body)) for body in found)
        except (ValueError, KeyError, RecursionError):
            calls = ()
        content = text.partition("<tool_call>")[0] if calls else text
        return ParsedOutput(content=content, tool_calls=calls)

    def _answer(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        asked = prompt.removesuffix(PROMPT_END)
        return next((text for end, text in self.answers.items() if asked.endswith(end)), None)


def _call(body: dict[str, Any]) -> ToolCall:
    return ToolCall(name=body["name"], arguments=json.dumps(body["arguments"]))
