"""Log records as lines of JSON."""

import datetime
import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from fasttts import ConfigurationError, FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.config import engine_config
from fasttts.config.logs import log_config
from fasttts.observability.logs import JsonFormatter


def line(message: str = "hello", **fields: Any) -> str:
    record = logging.makeLogRecord(
        {"name": "fasttts.x", "levelname": "INFO", "msg": "%s", "args": (message,), **fields}
    )
    return JsonFormatter().format(record)


def test_a_record_is_an_object() -> None:
    told = json.loads(line("two words", seconds=0.5, search="none", created=0.25))
    assert told == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "fasttts.x",
        "message": "two words",
        "seconds": 0.5,
        "search": "none",
    }


def test_the_time_is_now() -> None:
    told = json.loads(line())
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(told["time"])
    assert abs(age) < datetime.timedelta(seconds=60)


def test_an_exception_is_part_of_it() -> None:
    try:
        raise ValueError("of\nno worth")
    except ValueError:
        told = json.loads(line(exc_info=sys.exc_info()))
    assert told["error"]["type"] == "ValueError"
    assert told["error"]["message"] == "of\nno worth"
    assert "test_json_logs.py" in told["error"]["traceback"]


def test_a_field_does_not_hide_what_every_line_has() -> None:
    told = json.loads(line(time="never", level=3, logger="mine"))
    assert (told["level"], told["logger"]) == ("info", "fasttts.x")
    assert told["time"] != "never"


class Shy:
    """Shows itself to nobody."""

    def __str__(self) -> str:
        raise RuntimeError


def test_a_field_that_cannot_be_shown_loses_no_message() -> None:
    told = json.loads(line(a=Shy(), b=10**5000))
    assert (told["a"], told["b"]) == ("<Shy>", "<int>")


def test_values_that_json_lacks_are_their_text() -> None:
    told = json.loads(line(a=float("nan"), b={1}, c=[float("inf")], d=b"x", e=None, f=[1, "x"]))
    assert (told["a"], told["b"], told["c"], told["d"]) == ("nan", "{1}", "[inf]", "b'x'")
    assert (told["e"], told["f"]) == (None, [1, "x"])


@given(st.text(st.characters(exclude_categories=())), st.text())
def test_any_text_is_one_line_of_harmless_characters(message: str, field: str) -> None:
    text = line(message, field=field)
    assert text.isascii()
    assert text.isprintable()
    told = json.loads(text)
    assert (told["message"], told["field"]) == (message, field)


def test_a_traced_call_names_its_span(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    with (
        caplog.at_level(logging.DEBUG, "fasttts.observability"),
        FastTTS(FakeGenerator()) as engine,
        trace.get_tracer("tests").start_as_current_span("agent") as agent,
    ):
        engine.search("hello", search="none")
    told = json.loads(JsonFormatter().format(caplog.records[-1]))
    assert int(told["trace_id"], 16) == agent.get_span_context().trace_id
    assert len(told["span_id"]) == 16


def test_options_come_from_arguments_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not log_config().is_asked_for
    monkeypatch.setenv("FASTTTS_LOG_FORMAT", "json")
    assert log_config().is_asked_for
    assert (log_config().format, log_config().level) == ("json", "info")
    assert log_config(format="text", level="error").format == "text"
    engine_config()  # the engine reads other variables
    monkeypatch.setenv("FASTTTS_LOG_FORMAT", "yaml")
    with pytest.raises(ConfigurationError, match=r"--log-format \(FASTTTS_LOG_FORMAT\) is 'yaml'"):
        log_config()
    monkeypatch.delenv("FASTTTS_LOG_FORMAT")
    monkeypatch.setenv("FASTTTS_LOG_LEVELS", "info")
    with pytest.raises(ConfigurationError, match="did you mean 'FASTTTS_LOG_LEVEL'"):
        log_config()
