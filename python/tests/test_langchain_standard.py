"""LangChain's own suites for tools and retrievers, as they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import RetrieversIntegrationTests, ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from pegboard import Toolbox
from pegboard.langchain import PegboardRetriever


class Shared:
    """The suites ask for properties, so the toolbox is a class's."""

    box: Toolbox

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _own(cls, home: Path, plugins: Path) -> Iterator[None]:
        with Toolbox(plugins=plugins, home=home, bundled=False) as box:
            cls.box = box
            yield


class TestToolUnit(Shared, ToolsUnitTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return self.box.get_tools(["bench_desk__echo"])[0]

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"text": "a", "style": {"casing": "upper"}}


class TestToolIntegration(Shared, ToolsIntegrationTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return self.box.get_tools(["bench_desk__echo"])[0]

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"text": "a", "style": {"casing": "upper"}}


class TestRetriever(Shared, RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return PegboardRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"box": self.box}

    @property
    def retriever_query_example(self) -> str:
        return "return a text some times over, add two numbers, wait for some seconds"
