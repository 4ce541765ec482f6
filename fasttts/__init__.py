"""FastTTS: verifier-guided search over a small local model's reasoning, in one process.

from fasttts import FastTTS

with FastTTS.load("demo") as engine:
    result = engine.search("Tom has 3 boxes of 12 pencils. How many pencils does he have?")
    print(result.answer, result.score)
"""

from fasttts.budget import Budget
from fasttts.config import EngineConfig, SchedulingConfig, SearchConfig
from fasttts.engine import FastTTS
from fasttts.errors import (
    BackendError,
    CapacityError,
    ConfigurationError,
    ContractError,
    FastTTSError,
    SearchError,
)
from fasttts.handle import SearchHandle
from fasttts.registry import release_engine, shared_engine
from fasttts.types import (
    AnswerChosen,
    Candidate,
    Event,
    Finished,
    Health,
    Message,
    Occupancy,
    ParsedOutput,
    Progress,
    Pruned,
    SearchResult,
    SearchStarted,
    Step,
    StepFinished,
    StepScored,
    TextDelta,
    Timings,
    ToolCall,
    TreeNode,
    TrunkDelta,
    Usage,
    UsageReported,
)

__all__ = [
    "AnswerChosen",
    "BackendError",
    "Budget",
    "Candidate",
    "CapacityError",
    "ConfigurationError",
    "ContractError",
    "EngineConfig",
    "Event",
    "FastTTS",
    "FastTTSError",
    "Finished",
    "Health",
    "Message",
    "Occupancy",
    "ParsedOutput",
    "Progress",
    "Pruned",
    "SchedulingConfig",
    "SearchConfig",
    "SearchError",
    "SearchHandle",
    "SearchResult",
    "SearchStarted",
    "Step",
    "StepFinished",
    "StepScored",
    "TextDelta",
    "Timings",
    "ToolCall",
    "TreeNode",
    "TrunkDelta",
    "Usage",
    "UsageReported",
    "__version__",
    "release_engine",
    "shared_engine",
]

__version__ = "0.1.0"
