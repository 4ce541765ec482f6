"""What one search may spend, and what it may take to end well once that is gone."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Budget(BaseModel):
    """Limits of one search; what is None is not limited.

    Tokens and verifier calls are counted as the tree needs them, on the schedule of a loop with
    room for every beam: the same budget gives the same result, whatever runs ahead or waits. No
    result is a function of seconds.

    Attributes:
        seconds: From the call on, time in the queue included.
        tokens: Of the tree, on all its paths.
        verifier_calls: Nodes of the tree that are scored.
        grace_tokens: Where no candidate is complete at the limit, the best partial path may run on
            for as many tokens; 0 ends the search at once.
        grace_seconds: The longest that may take beyond `seconds`.
        refuse_late: Whether a search that will not end within `seconds`, by the pace of those
            before it, is refused at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Seconds | None = None
    tokens: Count | None = None
    verifier_calls: Count | None = None
    grace_tokens: int = Field(default=128, ge=0)
    grace_seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    refuse_late: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether something is limited that the tree determines."""
        return self.tokens is not None or self.verifier_calls is not None
