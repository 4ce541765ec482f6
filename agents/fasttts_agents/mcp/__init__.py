"""The tools of an engine for clients of the Model Context Protocol.

`make_server` gives a server of the official SDK, which `serve_stdio` and `HttpServer` connect to
clients. It needs the extra `mcp`; `fasttts mcp` is the same on the command line.
"""

from fasttts_agents.mcp.http import HttpOptions, HttpServer, http_app
from fasttts_agents.mcp.loading import BackgroundEngine
from fasttts_agents.mcp.server import make_server
from fasttts_agents.mcp.stdio import ProtocolStreams, serve_stdio
from fasttts_agents.mcp.tools import ToolService

__all__ = [
    "BackgroundEngine",
    "HttpOptions",
    "HttpServer",
    "ProtocolStreams",
    "ToolService",
    "http_app",
    "make_server",
    "serve_stdio",
]
