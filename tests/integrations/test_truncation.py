"""Conversations that are longer than the context: an error, or without their oldest turns."""

import pytest

from fasttts import ConfigurationError, FastTTS
from fasttts.chat.truncation import fitting_messages
from langchain_fasttts import ChatFastTTS
from tests.hermes import HermesGenerator
from tests.searches import UNTIMED

SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def turn(number: int) -> list[dict[str, object]]:
    """A question, a call, its result and an answer: 400 tokens and more."""
    return [
        {"role": "user", "content": f"question {number} " + "x" * 300},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "assistant", "content": f"answer {number}"},
    ]


LAST = {"role": "user", "content": "And now?"}
LONG = [SYSTEM, *(message for number in range(60) for message in turn(number)), LAST]


def test_whole_turns_are_left_out_and_systems_stay(engine: FastTTS) -> None:
    kept = fitting_messages(engine, LONG, (), max_tokens=1000)
    assert kept[0] == SYSTEM
    assert kept[-1] == LAST
    assert kept[1]["role"] == "user"
    assert kept[1:] == LONG[-len(kept) + 1 :]
    room = engine.max_model_len - 1000
    assert len(engine.tokenizer.encode_chat(kept)) <= room
    longer = [SYSTEM, *LONG[-len(kept) - 3 :]]
    assert len(engine.tokenizer.encode_chat(longer)) > room


def test_what_fits_is_left_alone(engine: FastTTS) -> None:
    short = [SYSTEM, *turn(0), LAST]
    assert fitting_messages(engine, short, (), max_tokens=1000) == short


def test_a_long_history_is_an_error_or_cut(engine: FastTTS, generator: HermesGenerator) -> None:
    with pytest.raises(ConfigurationError, match=r"tokens, the context 16384: shorten"):
        ChatFastTTS(engine=engine).invoke(LONG)
    message = ChatFastTTS(engine=engine, on_overflow="truncate", max_tokens=100).invoke(LONG)
    assert message.usage_metadata["input_tokens"] < engine.max_model_len
    assert "question 0 " not in generator.prompts[-1]
    assert "Be brief." in generator.prompts[-1]


def test_a_last_turn_that_does_not_fit_is_an_error() -> None:
    with FastTTS(HermesGenerator(), scheduling=UNTIMED) as engine:
        model = ChatFastTTS(engine=engine, on_overflow="truncate")
        with pytest.raises(ConfigurationError, match="shorten the prompt"):
            model.invoke("x" * 20_000)
