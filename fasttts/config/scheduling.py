"""Options of the step loop: slots, and one switch for each optimisation."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class SchedulingConfig(BaseModel):
    """Options of the step loop; none decides about a result.

    They change none where its `numerics` are "deterministic"; see `SearchResult`.

    Attributes:
        slots: Sequences decoded together; None takes the generator's `max_num_seqs`.
        speculation: Free slots run the predicted next steps.
        speculation_depth: Most speculative steps on one path; None is unlimited.
        speculation_rule: The choice of speculative steps: "score" fills every slot, following the
            policy on the scores so far; "likely" runs only steps that would still be continued if
            the missing scores were good; "measured" is "score" where a full batch decodes about as
            fast as a single sequence, and "likely" elsewhere; "paper" orders finished steps by
            their parent's score alone, one step deep.
        num_bins: Bins `B` of the parent's score for steps without a score: a step in bin `j` (1 is
            best) may have `B - j + 1` speculative children.
        early_verification: Finished steps are scored while their siblings decode.
        verification_batch_tokens: Queued tokens at which an early batch is worth running; None
            takes the plan's number where that rests on a calibration, and otherwise 16 for each
            beam of the search, but from 256 to 1024.
        lookahead_verification: A finished speculative step is scored in one request with its parent
            when both are queued.
        prefix_order: Steps start in depth-first order of the tree, siblings together, so that the
            blocks of a shared prefix are in use while they are needed; without it in the order of
            search-and-learn, which repeats the list of survivors.
        early_stop: Finished steps that can no longer survive are not scored, and the speculative
            steps behind them are freed.
        two_phase: Required steps take the slots of speculation at once, least likely first, and
            memory pressure shrinks it; without it they wait until a slot is free.
        draft_tokens: Most tokens that are drafted for a sequence in an iteration, from text that
            its search already has, where the generator can: those that are what the sampling rule
            draws are kept, so that an iteration gives several tokens. 0 drafts nothing.
        draft_rule: When tokens are drafted: "measured" drafts the number, up to `draft_tokens`,
            that gives the most tokens a second, by sequence where that pays, and none where none
            does; "always" drafts `draft_tokens` in every iteration. Neither drafts for speculative
            steps while memory is short.
        kv_usage_threshold: Share of the generator's KV cache above which memory is short.
        max_waiting: Most searches and plain decodings that wait for admission; further ones are
            refused at once with an `OverloadedError`.
        verifier_timeout_s: Most seconds that a call of a function as verifier, or a batch in the
            verifier's process, may take; then the searches that wait for it end with an error. None
            waits without limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: Annotated[int, Field(ge=1, le=65_536)] | None = None
    speculation: bool = True
    speculation_depth: Annotated[int, Field(ge=1)] | None = None
    speculation_rule: Literal["measured", "score", "likely", "paper"] = "measured"
    num_bins: int = Field(default=4, ge=1, le=64)
    early_verification: bool = True
    verification_batch_tokens: Annotated[int, Field(ge=1)] | None = None
    lookahead_verification: bool = True
    prefix_order: bool = True
    early_stop: bool = True
    two_phase: bool = True
    draft_tokens: int = Field(default=4, ge=0, le=16)
    draft_rule: Literal["measured", "always"] = "measured"
    kv_usage_threshold: float = Field(default=0.95, gt=0.0, le=1.0)
    max_waiting: int = Field(default=1024, ge=1)
    verifier_timeout_s: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None


PLAIN = SchedulingConfig(
    speculation=False,
    early_verification=False,
    lookahead_verification=False,
    prefix_order=False,
    early_stop=False,
    two_phase=False,
    draft_tokens=0,
)
"""Every optimisation off: decode all, score all, decide, as search-and-learn does."""
