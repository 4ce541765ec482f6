"""The protocol of those who listen to a search."""

from collections.abc import Sequence
from typing import Protocol

from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node


class Listener(Protocol):
    """Receives the events of one search, in the loop's thread; must not block."""

    @property
    def reads_tokens(self) -> bool:
        """Whether `on_tokens` has to be called with tokens that end nothing, which are most."""
        ...

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        """A node gained tokens.

        Args:
            run: The search.
            node: The node.
            token_ids: The new tokens.
        """
        ...

    def on_commit(self, run: SearchRun) -> None:
        """The search made a decision."""
        ...

    def on_done(self, run: SearchRun, error: BaseException | None) -> None:
        """The search ended; called exactly once.

        Args:
            run: The search.
            error: The error that ended it; None if none did.
        """
        ...
