"""The server on standard input and output, which belong to the protocol alone."""

import io
import os
import select
import sys
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from fasttts_agents.mcp.messages import ClientMessages


class _InterruptibleInput(io.RawIOBase):
    """A descriptor whose reader can be told that the input has ended.

    A read that blocks in a thread cannot be cancelled, and the server could not end before it.

    Args:
        descriptor: Where bytes come from.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting, self._waking = os.pipe()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        ready, _, _ = select.select([self._descriptor, self._waiting], [], [])
        return 0 if self._waiting in ready else os.readv(self._descriptor, [buffer])

    def end(self) -> None:
        """Ends the input; from any thread, also in a signal handler."""
        os.write(self._waking, b"0")

    def close(self) -> None:
        if not self.closed:
            os.close(self._waiting)
            os.close(self._waking)
        super().close()


class ProtocolStreams:
    """Standard input and output of the process, taken for the protocol while the body runs.

    Descriptor 1 writes to standard error meanwhile and descriptor 0 reads nothing: a print of
    Python, a message of a C++ library or a child process cannot get between the messages. Take them
    before the models are loaded.
    """

    def __enter__(self) -> Self:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self._descriptors = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._raw = _InterruptibleInput(self._descriptors[0])
        self.input = io.TextIOWrapper(
            io.BufferedReader(self._raw), encoding="utf-8", errors="replace"
        )
        self.output = os.fdopen(self._descriptors[1], "w", encoding="utf-8", closefd=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()  # also after an error, when a thread may still read
        sys.stdout.flush()
        for number, descriptor in enumerate(self._descriptors):
            os.dup2(descriptor, number)
        self.input.close()
        for descriptor in self._descriptors:
            os.close(descriptor)

    def end(self) -> None:
        """Ends the input, as the client does when it leaves."""
        self._raw.end()


async def serve_stdio(server: Server[Any], streams: ProtocolStreams) -> None:
    """Serves the client at the other end until it leaves.

    Args:
        server: The server.
        streams: Standard input and output.
    """
    messages = ClientMessages(streams.input)
    async with stdio_server(messages, anyio.wrap_file(streams.output)) as (received, sent):
        messages.answer = sent.send
        await server.run(received, sent, server.create_initialization_options())
