"""The tools as a server of the Model Context Protocol, on the official SDK."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from fasttts import FastTTSError, __version__
from fasttts_agents.mcp.tools import TOOLS, Outcome, ToolService

PROGRESS_INTERVAL_S: Final = 0.5

_INSTRUCTIONS = (
    "A small local model that searches for answers and scores its steps. Pass whole problems: it "
    "sees nothing of the conversation."
)

Context = ServerRequestContext[Any, Any]


def make_server(service: ToolService) -> Server[Any]:
    """Makes a server of the tools, for any transport and any number of clients.

    Args:
        service: Executes the tools.
    """

    async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=_tools())

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        progress = _Progress(context, service.time_limit_s)
        work = service.call(params.name, params.arguments or {}, progress.tell)
        try:
            outcome = await progress.reported(work)
        except FastTTSError as error:
            text = f"{params.name} failed: {error}"
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
        return CallToolResult(
            content=[TextContent(type="text", text=outcome.text)],
            structured_content=outcome.value.model_dump(mode="json"),
        )

    return Server(
        "fasttts",
        version=__version__,
        title="FastTTS",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _tools() -> list[Tool]:
    return [
        Tool(
            name=name,
            title=tool.title,
            description=tool.description,
            input_schema=tool.arguments.model_json_schema(),
            output_schema=tool.result.model_json_schema(),
            annotations=ToolAnnotations(
                read_only_hint=True, idempotent_hint=True, open_world_hint=False
            ),
        )
        for name, tool in TOOLS.items()
    ]


class _Progress:
    """Progress of one call: its seconds of those it may take, and the state of its search."""

    def __init__(self, context: Context, limit_s: float) -> None:
        self._context = context
        self._limit_s = limit_s
        self._began = time.monotonic()
        self._message = "started"

    def tell(self, progress: dict[str, Any]) -> None:
        """Keeps the newest state, for the next report."""
        self._message = _message(progress)

    async def reported(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Waits for the call, and reports meanwhile; who stops waiting stops the call."""
        task = asyncio.create_task(work)
        try:
            await self._report()
            while not task.done():
                await asyncio.wait({task}, timeout=PROGRESS_INTERVAL_S)
                await self._report()
            return task.result()
        finally:
            task.cancel()

    async def _report(self) -> None:
        """Sends a report, where the client asked for them."""
        elapsed_s = round(time.monotonic() - self._began, 3)
        await self._context.session.report_progress(elapsed_s, self._limit_s, self._message)


def _message(progress: dict[str, Any]) -> str:
    if "state" in progress:
        return str(progress["state"])
    score = progress["best_score"]
    return (
        f"step {progress['depth']}, {progress['num_beams']} beams, "
        f"{progress['num_finished']} finished, {progress['generated_tokens']} tokens, "
        f"best score {'none' if score is None else f'{score:.2f}'}"
    )
