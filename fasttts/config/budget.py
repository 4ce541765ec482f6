"""Limits of one search, and the grace in which it may still complete an answer."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Budget(BaseModel):
    """Limits of one search; None is no limit.

    Tokens and verifier calls are counted on the tree, on the schedule of a loop with room for every
    beam: the same budget ends the same tree at the same place, whatever is speculative or waits. No
    result is a function of seconds.

    Attributes:
        seconds: Seconds from the call on, time in the queue included.
        tokens: Tokens of the tree, on all its paths.
        verifier_calls: Nodes of the tree that are scored.
        grace_tokens: Further tokens for the best partial path where no candidate is complete at the
            limit; 0 ends the search at once.
        grace_seconds: Most seconds that the grace may take beyond `seconds`.
        refuse_late: Whether a search that will not end within `seconds`, judging by the latency of
            earlier searches, is refused at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Seconds | None = None
    tokens: Count | None = None
    verifier_calls: Count | None = None
    grace_tokens: int = Field(default=128, ge=0)
    grace_seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    refuse_late: bool = False
