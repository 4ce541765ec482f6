"""The ways of running one search that benchmarks on real engines compare."""

from dataclasses import dataclass

from fasttts.config import PLAIN, SchedulingConfig

FULL = SchedulingConfig()
SWITCHES = (
    "speculation",
    "early_verification",
    "lookahead_verification",
    "prefix_order",
    "early_stop",
    "two_phase",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way of running a search.

    Attributes:
        scheduling: The loop's options.
        rescores: Whether every path is scored anew at each step, as search-and-learn does.
        waits: Whether the generator waits for the verifier, even where that has its own process.
    """

    scheduling: SchedulingConfig
    rescores: bool = False
    waits: bool = False


ARMS: dict[str, Arm] = {
    "plain": Arm(scheduling=PLAIN, rescores=True, waits=True),
    "plain+cache": Arm(scheduling=PLAIN, waits=True),
    "paper": Arm(
        scheduling=SchedulingConfig(speculation_rule="paper", early_verification=False), waits=True
    ),
    "deep": Arm(scheduling=FULL),
    "no_drafts": Arm(scheduling=FULL.model_copy(update={"draft_tokens": 0})),
    "drafts": Arm(scheduling=FULL.model_copy(update={"draft_rule": "always"})),
    "drafts_2": Arm(scheduling=FULL.model_copy(update={"draft_rule": "always", "draft_tokens": 2})),
    "no_concurrency": Arm(scheduling=FULL, waits=True),
    "no_measuring": Arm(scheduling=FULL.model_copy(update={"speculation_rule": "score"})),
    **{
        f"verify_{size}": Arm(
            scheduling=FULL.model_copy(update={"verification_batch_tokens": size})
        )
        for size in (256, 1024, 4096)
    },
    **{f"no_{name}": Arm(scheduling=FULL.model_copy(update={name: False})) for name in SWITCHES},
}
MAIN_ARMS = ("plain", "plain+cache", "paper", "deep")
