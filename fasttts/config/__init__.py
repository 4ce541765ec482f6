"""Every option of an engine and of a search, checked before anything is allocated."""

from fasttts.config.engine import Dtype, EngineConfig, Offloading, engine_config
from fasttts.config.names import (
    DEMO,
    JUDGE,
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

__all__ = [
    "ANSWER_RULES",
    "DEMO",
    "JSON_FIELD",
    "JUDGE",
    "PLAIN",
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
    "engine_config",
    "import_function",
    "is_function_name",
    "option_hint",
    "option_name",
    "search_config",
]
