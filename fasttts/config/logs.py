"""Options of the commands' log.

Environment variables set defaults: `FASTTTS_LOG_FORMAT=json`, `FASTTTS_LOG_LEVEL=debug`. The
library itself reads neither: an application decides where its messages go.
"""

import os
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from fasttts.config.names import LOG_PREFIX
from fasttts.config.validation import check_variables
from fasttts.errors import ConfigurationError, shown

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class LogConfig(BaseSettings):
    """Options of a command's log on standard error.

    Where none is set, a command shows warnings alone, in words.

    Attributes:
        format: "text", or "json" for one JSON object in each line.
        level: The least important messages that are logged.
    """

    model_config = SettingsConfigDict(
        env_prefix=LOG_PREFIX, extra="forbid", frozen=True, validate_default=True
    )

    format: LogFormat = "text"
    level: LogLevel = "info"

    @property
    def is_asked_for(self) -> bool:
        """Whether an option or a variable sets any of them."""
        return bool(self.model_fields_set)


def log_config(**options: Any) -> LogConfig:
    """Builds the options of a command's log from options and the environment.

    Args:
        options: Options of `LogConfig`; they take precedence over the environment.

    Raises:
        ConfigurationError: An option or a variable is unknown, or its value cannot work.
    """
    names = [name for name in os.environ if name.upper().startswith(LOG_PREFIX)]
    check_variables(LogConfig, LOG_PREFIX, names)
    try:
        return LogConfig(**options)
    except ValidationError as error:
        raise ConfigurationError("; ".join(map(_described, error.errors()))) from error


def _described(detail: ErrorDetails) -> str:
    """Names an invalid option by its flag and its variable, with its value and the valid ones."""
    name = str(detail["loc"][0])
    variable = f"{LOG_PREFIX}{name.upper()}"
    return f"--log-{name} ({variable}) is {shown(detail['input'], 200)}: {detail['msg']}"
