"""Tests that run in environments of their own, each as one test of this suite."""

from __future__ import annotations

import importlib
import os

import pytest

from guardrails import UsageError
from tests.support.environments import Environment, EnvironmentMissing, run_tests

APART = Environment(
    "apart",
    extras=("crewai", "llama-index"),
    # Both want an OpenAI client that is older than the other frameworks'.
    requirements=("llama-index-llms-openai",),
    tests=("tests/isolated/apart",),
    # No crew of a test says anything to its makers.
    variables={"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_DISABLE_VERSION_CHECK": "true", "CREWAI_TESTING": "true"},
)


@pytest.mark.apart
@pytest.mark.parametrize("environment", [APART], ids=lambda environment: environment.name)
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
