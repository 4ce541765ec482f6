"""Process reward models from rollouts: labels, training, and how good a model is.

`fasttts label` and `fasttts train-verifier` are the commands; the same in Python:

    labeling = Labeling(engine=engine, problems=problems, config=rollout_config(seed=0))
    records = list(labeling.run())
"""

from fasttts.prm.examples import hold_out
from fasttts.prm.labeling import Labeling, rollout_config
from fasttts.prm.labels import (
    LabelCost,
    LabeledRollout,
    LabeledStep,
    LabelRecord,
    Target,
    known_target,
    label_digest,
    read_labels,
)
from fasttts.prm.prefixes import LabelRule
from fasttts.prm.quality import Quality, judge_scores
from fasttts.prm.summary import LabelSummary

__all__ = [
    "LabelCost",
    "LabelRecord",
    "LabelRule",
    "LabelSummary",
    "LabeledRollout",
    "LabeledStep",
    "Labeling",
    "Quality",
    "Target",
    "hold_out",
    "judge_scores",
    "known_target",
    "label_digest",
    "read_labels",
    "rollout_config",
]
