"""Shared by the chat classes of every framework: their options, and the reading of replies.

This package imports neither LangChain nor LlamaIndex.
"""

from fasttts.chat.options import ChatOptions
from fasttts.chat.reply import Delta, Reply, ReplyCall, ReplyFormat, ReplyStream
from fasttts.chat.request import ChatRequest, ReplyChunk
from fasttts.chat.tool_calls import written_call
from fasttts.chat.tools import Tool, forced_tools, offered_tools
from fasttts.chat.truncation import fitting_messages, overflows
from fasttts.chat.usage import cost_report, token_usage

__all__ = [
    "ChatOptions",
    "ChatRequest",
    "Delta",
    "Reply",
    "ReplyCall",
    "ReplyChunk",
    "ReplyFormat",
    "ReplyStream",
    "Tool",
    "cost_report",
    "fitting_messages",
    "forced_tools",
    "offered_tools",
    "overflows",
    "token_usage",
    "written_call",
]
