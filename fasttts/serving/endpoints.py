"""What the endpoints that generate have in common, and what each of them has of its own."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from fasttts.serving import chat_reply, completions, responses_reply
from fasttts.serving.bodies import parse
from fasttts.serving.call import Call, Listen, Outcome
from fasttts.serving.chat_body import ChatBody
from fasttts.serving.completions import CompletionBody
from fasttts.serving.model import ServedModel
from fasttts.serving.responses_body import ResponsesBody
from fasttts.serving.streams import openai_failure


class Endpoint(Protocol):
    """One form of requests and replies."""

    def parse(self, body: bytes) -> Any:
        """Reads a request.

        Raises:
            ApiError: It cannot be read.
        """
        ...

    def call(self, served: ServedModel, asked: Any) -> Call:
        """Makes the call that a request asks for; takes as long as rendering does.

        Args:
            served: The model.
            asked: The request.

        Raises:
            ApiError: It is not served, or a field has no counterpart here.
            ConfigurationError: An option, a message or a tool cannot work.
        """
        ...

    def reply(self, asked: Any, call: Call, outcome: Outcome, page: str | None) -> BaseModel:
        """Makes the whole reply.

        Args:
            asked: The request.
            call: Its call.
            outcome: What became of it.
            page: Address of the page that shows its search; None without one.
        """
        ...

    def stream(
        self, asked: Any, call: Call, page: str | None, listen: Listen | None
    ) -> AsyncGenerator[bytes, None]:
        """Runs the call and yields the events of its reply; its errors are raised.

        Args:
            asked: The request.
            call: Its call.
            page: As for `reply`.
            listen: Receives the events of a search; None for no calls.
        """
        ...

    def failure(self, asked: Any, call: Call, error: Exception, num_sent: int) -> Sequence[bytes]:
        """Makes the last events of a stream that failed.

        Args:
            asked: The request.
            call: Its call.
            error: What it failed with.
            num_sent: Events before it.
        """
        ...


class ChatEndpoint:
    """`/v1/chat/completions`."""

    def parse(self, body: bytes) -> ChatBody:
        """Reads a request."""
        return parse(ChatBody, body)

    def call(self, served: ServedModel, asked: ChatBody) -> Call:
        """Makes the call that a request asks for."""
        return asked.call(served)

    def reply(self, asked: ChatBody, call: Call, outcome: Outcome, page: str | None) -> BaseModel:
        """Makes the whole reply."""
        return chat_reply.completion(outcome, call, page)

    def stream(
        self, asked: ChatBody, call: Call, page: str | None, listen: Listen | None
    ) -> AsyncGenerator[bytes, None]:
        """Runs the call and yields the events of its reply."""
        return chat_reply.chunks(call, page, listen, includes_usage=asked.includes_usage)

    def failure(
        self, asked: ChatBody, call: Call, error: Exception, num_sent: int
    ) -> Sequence[bytes]:
        """Makes the last events of a stream that failed."""
        return openai_failure(error)


class CompletionEndpoint:
    """`/v1/completions`."""

    def parse(self, body: bytes) -> CompletionBody:
        """Reads a request."""
        return parse(CompletionBody, body)

    def call(self, served: ServedModel, asked: CompletionBody) -> Call:
        """Makes the call that a request asks for."""
        return asked.call(served)

    def reply(
        self, asked: CompletionBody, call: Call, outcome: Outcome, page: str | None
    ) -> BaseModel:
        """Makes the whole reply."""
        return completions.completion(outcome, call, page)

    def stream(
        self, asked: CompletionBody, call: Call, page: str | None, listen: Listen | None
    ) -> AsyncGenerator[bytes, None]:
        """Runs the call and yields the events of its reply."""
        return completions.chunks(call, listen, includes_usage=asked.includes_usage)

    def failure(
        self, asked: CompletionBody, call: Call, error: Exception, num_sent: int
    ) -> Sequence[bytes]:
        """Makes the last events of a stream that failed."""
        return openai_failure(error)


class ResponsesEndpoint:
    """`/v1/responses`."""

    def parse(self, body: bytes) -> ResponsesBody:
        """Reads a request."""
        return parse(ResponsesBody, body)

    def call(self, served: ServedModel, asked: ResponsesBody) -> Call:
        """Makes the call that a request asks for."""
        return asked.call(served)

    def reply(
        self, asked: ResponsesBody, call: Call, outcome: Outcome, page: str | None
    ) -> BaseModel:
        """Makes the whole reply."""
        return responses_reply.response(asked, call, outcome, page)

    def stream(
        self, asked: ResponsesBody, call: Call, page: str | None, listen: Listen | None
    ) -> AsyncGenerator[bytes, None]:
        """Runs the call and yields the events of its reply."""
        return responses_reply.events(asked, call, page, listen)

    def failure(
        self, asked: ResponsesBody, call: Call, error: Exception, num_sent: int
    ) -> Sequence[bytes]:
        """Makes the last events of a stream that failed."""
        return [responses_reply.failure(asked, call, error, num_sent)]
