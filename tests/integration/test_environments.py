"""Tests that run in environments of their own, each as one test of this suite."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from guardrails import UsageError
from tests.support.environments import Environment, EnvironmentMissing, run_tests

_TESTS = Path(__file__).parent


def _named(*patterns: str) -> tuple[str, ...]:
    """Returns the files of this folder whose names fit, without `test_` and `.py`."""
    return tuple(sorted(str(path) for pattern in patterns for path in _TESTS.glob(f"test_{pattern}.py")))


APART = Environment(
    "apart",
    extras=("crewai", "llama-index"),
    # Both want an OpenAI client that is older than the other frameworks'.
    requirements=("llama-index-llms-openai",),
    tests=("tests/isolated/apart",),
    # No crew of a test says anything to its makers.
    variables={"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_DISABLE_VERSION_CHECK": "true", "CREWAI_TESTING": "true"},
)

MCP = Environment(
    "pydantic-ai-mcp",
    # Its client of MCP servers is a package that nothing else needs.
    requirements=("pydantic-ai-slim[openai,mcp]",),
    tests=("tests/isolated/pydantic_mcp",),
)

LOWEST = [
    Environment(
        "lowest",
        requirements=("openai==2.0.0", "anthropic==1.0.0", "mcp==2.0.0", "sqlalchemy[asyncio]==2.0.40", "pandas==2.2.3"),
        tests=_named(
            "openai_answers",
            "openai_story",
            "anthropic_*",
            "integration_openai",
            "integration_anthropic",
            "mcp_server_*",
            "pause_mcp",
            "mcp_gateway_failures",
            "integration_sqlalchemy",
            "sqlalchemy_*",
            "dbapi_driver",
            "transactions",
        ),
        has_fixtures=True,
    ),
    Environment(
        "lowest-langchain",
        requirements=(
            "langchain==1.2.12",
            "langchain-core==1.2.10",
            "langgraph==1.1.5",
            "langgraph-prebuilt==1.0.10",
            "langgraph-checkpoint-sqlite==3.1.2",
            "langchain-openai==1.1.8",
            "langchain-anthropic==1.3.2",
            "langchain-community==0.4",
        ),
        tests=_named("integration_langchain", "langchain_*", "pause_langgraph"),
        has_fixtures=True,
    ),
    Environment(
        "lowest-pydantic-ai",
        # The version handed clients of httpx to Anthropic's, which took them until then.
        requirements=("pydantic-ai-slim[openai,anthropic]==2.16.0", "anthropic==0.108.0", "llama-index-core==0.14.7"),
        tests=_named(
            "integration_pydantic_ai", "pause_pydantic_ai", "story_pydantic_ai", "integration_llama_index", "story_llama_index"
        ),
        has_fixtures=True,
    ),
    Environment(
        "lowest-agents",
        requirements=("openai-agents==0.19.2", "openai==2.54.0", "mcp==1.30.0"),
        tests=_named("openai_agents*"),
        has_fixtures=True,
    ),
    Environment(
        "lowest-apart",
        requirements=("crewai==1.15.10", "llama-index-core==0.14.7", "llama-index-llms-openai"),
        tests=("tests/isolated/apart",),
        variables=APART.variables,
    ),
]
"""Each framework at the lowest version that is supported, with the suite's own tests of it."""


@pytest.mark.apart
@pytest.mark.parametrize("environment", [APART, MCP, *LOWEST], ids=lambda environment: environment.name)
def test_in_an_environment_of_its_own(environment: Environment) -> None:
    try:
        done = run_tests(environment)
    except EnvironmentMissing as missing:
        if os.environ.get("GUARDRAILS_REQUIRE_ENGINES") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_its_environment_an_integration_says_what_is_missing() -> None:
    """CrewAI is never in the suite's own."""
    with pytest.raises(UsageError, match=r"usage\.extra_missing") as refused:
        importlib.import_module("guardrails.integrations.crewai")
    assert "guardrails-sql[crewai]" in refused.value.hint
