"""Every option of an engine and of a search, checked before anything is allocated."""

from fasttts.config.engine import Dtype, EngineConfig, Offloading, engine_config
from fasttts.config.names import (
    DEMO,
    JUDGE,
    SIGNALS,
    import_function,
    is_function_name,
    option_hint,
    option_name,
)
from fasttts.config.scheduling import PLAIN, SchedulingConfig
from fasttts.config.search import (
    ANSWER_RULES,
    JSON_FIELD,
    Aggregation,
    CandidateSearch,
    SearchConfig,
    SearchMethod,
    Selection,
    Stopping,
    search_config,
)
from fasttts.config.tracing import TracingConfig

__all__ = [
    "ANSWER_RULES",
    "DEMO",
    "JSON_FIELD",
    "JUDGE",
    "PLAIN",
    "SIGNALS",
    "Aggregation",
    "CandidateSearch",
    "Dtype",
    "EngineConfig",
    "Offloading",
    "SchedulingConfig",
    "SearchConfig",
    "SearchMethod",
    "Selection",
    "Stopping",
    "TracingConfig",
    "engine_config",
    "import_function",
    "is_function_name",
    "option_hint",
    "option_name",
    "search_config",
]
