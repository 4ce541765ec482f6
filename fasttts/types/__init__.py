"""The values that travel between the parts of FastTTS.

Axis suffixes of nested sequences: `_B` beams or batch rows, `_S` steps of one path, `_T` tokens,
`_V` vocabulary. Counts are `num_*`; units stand in the name (`_s`, `_tokens`, `_bytes`).
"""

from fasttts.types.documents import Document
from fasttts.types.events import (
    AnswerChosen,
    Event,
    Finished,
    Progress,
    Pruned,
    SearchStarted,
    StepFinished,
    StepScored,
    TextDelta,
    TrunkDelta,
    UsageReported,
)
from fasttts.types.results import (
    Candidate,
    Occupancy,
    Opening,
    SearchResult,
    Step,
    Timings,
    TreeNode,
    Usage,
)
from fasttts.types.values import (
    FinishReason,
    Health,
    Message,
    ParsedOutput,
    Path,
    StopReason,
    ToolCall,
)

__all__ = [
    "AnswerChosen",
    "Candidate",
    "Document",
    "Event",
    "FinishReason",
    "Finished",
    "Health",
    "Message",
    "Occupancy",
    "Opening",
    "ParsedOutput",
    "Path",
    "Progress",
    "Pruned",
    "SearchResult",
    "SearchStarted",
    "Step",
    "StepFinished",
    "StepScored",
    "StopReason",
    "TextDelta",
    "Timings",
    "ToolCall",
    "TreeNode",
    "TrunkDelta",
    "Usage",
    "UsageReported",
]
