"""The values that travel between the parts of FastTTS.

Axis suffixes of nested sequences: `_B` beams or batch rows, `_S` steps of one path, `_T` tokens,
`_V` vocabulary. Counts are `num_*`; units are in the name (`_s`, `_tokens`, `_bytes`).
"""

from fasttts.types.documents import Document
from fasttts.types.events import (
    AnswerChosen,
    Event,
    Finished,
    PrefixDelta,
    Progress,
    Pruned,
    SearchStarted,
    StepFinished,
    StepScored,
    TextDelta,
    UsageReported,
)
from fasttts.types.logprobs import Distribution, TokenLogprobs
from fasttts.types.record import Fate, RecordedNode, SearchRecord, Step, Vote
from fasttts.types.results import (
    AnswerPrefix,
    Candidate,
    Occupancy,
    SearchResult,
    Timings,
    TokenLogprob,
    TreeNode,
    Usage,
)
from fasttts.types.values import (
    FinishReason,
    Health,
    Message,
    Numerics,
    ParsedOutput,
    Path,
    StopReason,
    ToolCall,
)

__all__ = [
    "AnswerChosen",
    "AnswerPrefix",
    "Candidate",
    "Distribution",
    "Document",
    "Event",
    "Fate",
    "FinishReason",
    "Finished",
    "Health",
    "Message",
    "Numerics",
    "Occupancy",
    "ParsedOutput",
    "Path",
    "PrefixDelta",
    "Progress",
    "Pruned",
    "RecordedNode",
    "SearchRecord",
    "SearchResult",
    "SearchStarted",
    "Step",
    "StepFinished",
    "StepScored",
    "StopReason",
    "TextDelta",
    "Timings",
    "TokenLogprob",
    "TokenLogprobs",
    "ToolCall",
    "TreeNode",
    "Usage",
    "UsageReported",
    "Vote",
]
