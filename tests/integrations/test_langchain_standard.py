"""LangChain's own suites for chat models and tools, on an engine without models."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, ToolsUnitTests

from fasttts import FastTTS
from fasttts_agents.langchain import DeliberateTool
from langchain_fasttts import ChatFastTTS


@pytest.mark.allow_hosts([])
class TestChatModel(ChatModelUnitTests):
    @pytest.fixture(autouse=True)
    def _engine(self, engine: FastTTS) -> None:
        self.engine = engine

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatFastTTS

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"engine": self.engine}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"FASTTTS_GENERATOR": "some/model"}, {}, {"model": "some/model"}

    @property
    def supports_model_override(self) -> bool:
        return False


class DeliberateTests:
    @pytest.fixture(autouse=True)
    def _engine(self, engine: FastTTS) -> None:
        self.engine = engine

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return DeliberateTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"engine": self.engine}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"problem": "Tom has 2 pens and buys 2 more. How many has he?"}


class TestDeliberate(DeliberateTests, ToolsUnitTests):
    pass


class TestDeliberateRuns(DeliberateTests, ToolsIntegrationTests):
    pass
