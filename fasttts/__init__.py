"""FastTTS: verifier-guided search over a small local model's reasoning, in one process.

from fasttts import FastTTS

with FastTTS.load("demo") as engine:
    result = engine.search("Tom has 3 boxes of 12 pencils. How many pencils does he have?")
    print(result.answer, result.score)
"""

import logging

from fasttts.config import EngineConfig, SchedulingConfig, SearchConfig
from fasttts.config.budget import Budget
from fasttts.engine import FastTTS
from fasttts.engine.handle import SearchHandle
from fasttts.engine.messages import SYSTEM_PRESETS
from fasttts.engine.registry import release_engine, shared_engine
from fasttts.errors import (
    BackendError,
    CapacityError,
    ConfigurationError,
    ContractError,
    FastTTSError,
    OverloadedError,
    SearchError,
)
from fasttts.observability.stats import EngineStats, RequestStats
from fasttts.types import (
    AnswerChosen,
    Candidate,
    Event,
    Finished,
    Health,
    Message,
    Occupancy,
    ParsedOutput,
    PrefixDelta,
    Progress,
    Pruned,
    RecordedNode,
    SearchRecord,
    SearchResult,
    SearchStarted,
    Step,
    StepFinished,
    StepScored,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCall,
    TreeNode,
    Usage,
    UsageReported,
    Vote,
)

__all__ = [
    "SYSTEM_PRESETS",
    "AnswerChosen",
    "BackendError",
    "Budget",
    "Candidate",
    "CapacityError",
    "ConfigurationError",
    "ContractError",
    "EngineConfig",
    "EngineStats",
    "Event",
    "FastTTS",
    "FastTTSError",
    "Finished",
    "Health",
    "Message",
    "Occupancy",
    "OverloadedError",
    "ParsedOutput",
    "PrefixDelta",
    "Progress",
    "Pruned",
    "RecordedNode",
    "RequestStats",
    "SchedulingConfig",
    "SearchConfig",
    "SearchError",
    "SearchHandle",
    "SearchRecord",
    "SearchResult",
    "SearchStarted",
    "Step",
    "StepFinished",
    "StepScored",
    "TextDelta",
    "Timings",
    "TokenLogprob",
    "ToolCall",
    "TreeNode",
    "Usage",
    "UsageReported",
    "Vote",
    "__version__",
    "release_engine",
    "shared_engine",
]

__version__ = "0.1.0"

# The application decides where messages go; see docs/observability.md.
logging.getLogger(__name__).addHandler(logging.NullHandler())
