"""Log records as JSON, one object in each line.

handler = logging.StreamHandler()
handler.setFormatter(JsonFormatter())
logging.getLogger("fasttts").addHandler(handler)
"""

import datetime
import json
import logging
from typing import Any

_OWN_FIELDS = frozenset({"message", "asctime", "taskName"})
"""What records have beside what the process's record factory gives to each."""

_DELETE = "\x7f"
"""The one control character that JSON leaves as it is."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON in ASCII.

    Each object has `time` (RFC 3339, UTC), `level`, `logger` and `message`, then the message's own
    fields, and `error` with `type`, `message` and `traceback` where there is an exception. A field
    that JSON has no word for is its text.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without its end."""
        usual = vars(logging.makeLogRecord({})).keys() | _OWN_FIELDS  # vLLM's factory adds some
        told = {name: _plain(value) for name, value in vars(record).items() if name not in usual}
        told = {**_head(record), **{name: told[name] for name in told if name not in _HEAD}}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            told["error"] = {
                "type": type(error).__qualname__,
                "message": str(error),
                "traceback": self.formatException(record.exc_info),
            }
        return json.dumps(told, allow_nan=False).replace(_DELETE, "\\u007f")


_HEAD = ("time", "level", "logger", "message")


def _head(record: logging.LogRecord) -> dict[str, Any]:
    when = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC)
    values = (
        when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        record.levelname.lower(),
        record.name,
        record.getMessage(),
    )
    return dict(zip(_HEAD, values, strict=True))


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return _text(value)
    return value


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001, a class of the application may raise anything
        return f"<{type(value).__qualname__}>"
