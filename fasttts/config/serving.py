"""Options of the server: names, keys and limits.

As for the engine, environment variables set defaults: `FASTTTS_SERVE_API_KEYS=...` and so on.
"""

import os
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from fasttts.config.names import SERVING_PREFIX
from fasttts.config.paths import user_path
from fasttts.config.search import SearchMethod
from fasttts.config.validation import check_variables, did_you_mean, refusal
from fasttts.network import checked_host, checked_origin, read_keys


def _split(value: Any) -> Any:
    """The parts of a text between commas or blanks; other values as they are."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _check_name(name: str) -> str:
    if not name or not name.isprintable() or " " in name:
        raise ValueError("a model's name has no blanks and no control characters")
    return name


def _check_search(name: str) -> str:
    if name not in _SEARCHES:
        raise ValueError(did_you_mean(name, _SEARCHES))
    return name


_SEARCHES = ("auto", *get_args(SearchMethod))

Origins = Annotated[
    tuple[Annotated[str, AfterValidator(checked_origin)], ...], NoDecode, BeforeValidator(_split)
]
Hosts = Annotated[
    tuple[Annotated[str, AfterValidator(checked_host)], ...], NoDecode, BeforeValidator(_split)
]
Names = Annotated[
    tuple[Annotated[str, AfterValidator(_check_name)], ...], NoDecode, BeforeValidator(_split)
]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]


class ServingConfig(BaseSettings):
    """Options of the server, besides the address that it listens on.

    Attributes:
        names: The names that clients may give the model; empty takes the generator's own.
        search: The search of calls that name the model alone: "none", "auto" or a search.
        api_keys: Keys of which a client must have one; none for a server that asks for no key.
        api_key_file: A file with further keys, one in each line.
        cors_origins: Web pages of these origins may call the server from a browser.
        allowed_hosts: Names that requests may call the server by; empty allows all.
        max_body_bytes: Longest body of a request.
        max_prompt_tokens: Longest prompt in tokens; None takes what the context holds.
        max_requests: Requests in work at a time; further ones are refused at once.
        max_beams: Most candidates or beams of one request.
        max_seconds: Most seconds that one request may take; None sets no limit.
        num_pages: Searches whose pages are kept, the newest; 0 keeps none.
        heartbeat_s: Seconds between two comments on a stream, which keep proxies from closing it.
        read_timeout_s: Most seconds that a client may take to send the body of a request.
        send_timeout_s: Most seconds that a client may take to read what was sent.
    """

    model_config = SettingsConfigDict(
        env_prefix=SERVING_PREFIX, extra="forbid", frozen=True, validate_default=True
    )

    names: Names = ()
    search: Annotated[str, AfterValidator(_check_search)] = "none"
    api_keys: Secrets = ()
    api_key_file: str | None = None
    cors_origins: Origins = ()
    allowed_hosts: Hosts = ()
    max_body_bytes: int = Field(default=4 << 20, ge=1024)
    max_prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    max_requests: int = Field(default=256, ge=1)
    max_beams: int = Field(default=256, ge=1, le=65_536)
    max_seconds: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    num_pages: int = Field(default=64, ge=0, le=10_000)
    heartbeat_s: float = Field(default=10.0, gt=0.0, allow_inf_nan=False)
    read_timeout_s: float = Field(default=60.0, gt=0.0, allow_inf_nan=False)
    send_timeout_s: float = Field(default=60.0, gt=0.0, allow_inf_nan=False)

    def keys(self) -> tuple[str, ...]:
        """All keys: those of the options and those of the file.

        Raises:
            ConfigurationError: The file cannot be read, or a key cannot be sent in a header.
        """
        file = None if self.api_key_file is None else user_path(self.api_key_file)
        return read_keys([key.get_secret_value() for key in self.api_keys], file)


def serving_config(**options: Any) -> ServingConfig:
    """Builds the configuration of a server from options and the environment.

    Args:
        options: Options of `ServingConfig`; they take precedence over the environment.

    Raises:
        ConfigurationError: An option or a variable is unknown, or its value cannot work.
    """
    names = [name for name in os.environ if name.upper().startswith(SERVING_PREFIX)]
    check_variables(ServingConfig, SERVING_PREFIX, names)
    try:
        return ServingConfig(**options)
    except (ValidationError, SettingsError) as error:
        raise refusal(ServingConfig, error) from error
