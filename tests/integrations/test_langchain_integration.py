"""LangChain's integration suite for chat models, on the bundled models and on a scripted one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

import fasttts.demo
from fasttts import FastTTS, release_engine, shared_engine
from fasttts.config import engine_config
from langchain_fasttts import ChatFastTTS
from tests.hermes import HermesGenerator

OTHER_MODEL = str(Path(fasttts.demo.__file__).parent / "generator")
NEEDS_INSTRUCTIONS = pytest.mark.xfail(
    reason="the demonstration model knows sums only: it copies no argument and chooses no tool"
)


class ChatModelSuite(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatFastTTS

    @property
    def supports_json_mode(self) -> bool:
        return True


@pytest.mark.vllm
@pytest.mark.usefixtures("unmeasured")
class TestDemoModel(ChatModelSuite):
    @pytest.fixture(autouse=True)
    def _engine(self, demo_engine: FastTTS) -> None:
        self.engine = demo_engine

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _other_engine(cls) -> Iterator[None]:
        config = engine_config(generator=OTHER_MODEL, max_num_seqs=4, max_model_len=512)
        other = shared_engine(config)
        yield
        release_engine(other)

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """So warm that the model, which knows no prose, ends the strings of a JSON object."""
        return {"engine": self.engine, "max_tokens": 1000, "temperature": 2.0, "seed": 2}

    @property
    def model_override_value(self) -> str:
        return OTHER_MODEL

    @NEEDS_INSTRUCTIONS
    @pytest.mark.parametrize("model", [{}, {"output_version": "v1"}], indirect=True)
    def test_tool_calling(self, model: BaseChatModel) -> None:
        super().test_tool_calling(model)

    @NEEDS_INSTRUCTIONS
    async def test_tool_calling_async(self, model: BaseChatModel) -> None:
        await super().test_tool_calling_async(model)

    @NEEDS_INSTRUCTIONS
    @pytest.mark.parametrize("model", [{}, {"output_version": "v1"}], indirect=True)
    def test_agent_loop(self, model: BaseChatModel) -> None:
        super().test_agent_loop(model)

    @NEEDS_INSTRUCTIONS
    def test_unicode_tool_call_integration(self, model: BaseChatModel, **options: Any) -> None:
        super().test_unicode_tool_call_integration(model, **options)


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


SCRIPT = {
    "magic_function(3)? Use the tool.": call("magic_function", '{"input": 3}'),
    "What is the weather in San Francisco, CA?": call(
        "get_weather", '{"location": "San Francisco, CA"}'
    ),
    "It's sunny.": "It is sunny in San Francisco.",
    "a Chinese technology company": call(
        "unicode_customer", '{"customer_name": "你好啊集团", "description": "技术"}'
    ),
    "a Japanese company": call(
        "unicode_customer", '{"customer_name": "こんにちは株式会社", "description": "会社"}'
    ),
}


class TestScriptedModel(ChatModelSuite):
    """A model that answers what the suite asks, where the demonstration model cannot."""

    @pytest.fixture(autouse=True)
    def _engine(self, engine: FastTTS, generator: HermesGenerator) -> None:
        self.engine = engine
        generator.answers |= SCRIPT

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"engine": self.engine}

    @property
    def supports_model_override(self) -> bool:
        """One engine without a name to load others by."""
        return False
