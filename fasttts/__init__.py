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
from fasttts.registry import shared_engine
from fasttts.types import (
    Candidate,
    Event,
    Finished,
    Message,
    Occupancy,
    ParsedOutput,
    Progress,
    SearchResult,
    Step,
    TextDelta,
    Timings,
    ToolCall,
    TreeNode,
    Usage,
)

__all__ = [
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
    "Message",
    "Occupancy",
    "ParsedOutput",
    "Progress",
    "SchedulingConfig",
    "SearchConfig",
    "SearchError",
    "SearchResult",
    "Step",
    "TextDelta",
    "Timings",
    "ToolCall",
    "TreeNode",
    "Usage",
    "__version__",
    "shared_engine",
]

__version__ = "0.1.0"
