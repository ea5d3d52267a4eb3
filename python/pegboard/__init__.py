"""Pegboard: a plugin host for LLM agents. Tools found by meaning, each call in a fresh sandbox.

The engine is the `pegboard` program that this package carries; what is here is its client. LangChain's classes are in `pegboard.langchain`.
"""

from __future__ import annotations

from ._core import __version__
from ._errors import (
    BadArguments,
    BadOutput,
    CallError,
    Denied,
    EngineError,
    EngineGone,
    InvalidManifest,
    NotInstalled,
    NotReady,
    PegboardError,
    ProtocolError,
    ToolboxClosed,
    ToolCrashed,
    ToolFailed,
    ToolOutOfMemory,
    ToolTimedOut,
    UnknownTool,
    Unsupported,
    UnsupportedError,
)
from ._evaluation import evaluate
from ._manifests import check_manifest, manifest_schema, validate
from ._results import Result, Tool, ToolList, provider_name
from ._toolbox import Toolbox

__all__ = [
    "BadArguments",
    "BadOutput",
    "CallError",
    "Denied",
    "EngineError",
    "EngineGone",
    "InvalidManifest",
    "NotInstalled",
    "NotReady",
    "PegboardError",
    "ProtocolError",
    "Result",
    "Tool",
    "ToolCrashed",
    "ToolFailed",
    "ToolList",
    "ToolOutOfMemory",
    "ToolTimedOut",
    "Toolbox",
    "ToolboxClosed",
    "UnknownTool",
    "Unsupported",
    "UnsupportedError",
    "__version__",
    "check_manifest",
    "evaluate",
    "manifest_schema",
    "provider_name",
    "validate",
]
