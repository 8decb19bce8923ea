"""Each integration imports its own framework and no other, and says which extra is missing when the framework is not there."""

from __future__ import annotations

import importlib.metadata
import json
import pkgutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

import guardrails.integrations

FRAMEWORKS = ("langchain_core", "langchain", "langgraph", "langchain_community", "openai", "anthropic", "agents", "pydantic_ai",
              "llama_index", "crewai", "mcp", "pandas")  # fmt: skip
"""Top-level packages of the frameworks, by their import names."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a module needs: packages of its framework, the extra that brings them, and frameworks that those stand on."""

    packages: tuple[str, ...] = ()
    extra: str | None = None
    below: frozenset[str] = frozenset()


WAYS = {
    "anthropic": Way(),
    "anthropic_runner": Way(("anthropic",), "anthropic"),
    "dbapi": Way(),
    "langchain": Way(("langchain_core",), "langchain"),
    "langchain_middleware": Way(("langchain",), "langchain-agents", frozenset({"langchain_core", "langgraph"})),
    "langchain_sql": Way(("langchain_community",), "langchain", frozenset({"langchain_core"})),
    "langgraph": Way(("langgraph",), "langgraph", frozenset({"langchain_core"})),
    "llama_index": Way(("llama_index",), "llama-index"),
    "mcp": Way(("mcp",), "mcp"),
    "openai": Way(),
    "openai_agents": Way(("agents",), "openai-agents"),
    "pydantic_ai": Way(("pydantic_ai",), "pydantic-ai"),
    "sqlalchemy": Way(),
}
APART = {"crewai"}
"""Those whose framework has an environment, and tests, of its own."""

PROBE = """
import importlib, json, sys
module, packages, frameworks = json.loads(sys.argv[1])
def loaded():
    return {name for name in frameworks if sys.modules.get(name) is not None}
refusal = None
for package in packages:
    sys.modules[package] = None
if packages:
    try:
        importlib.import_module(module)
    except Exception as error:
        refusal = [type(error).__name__, getattr(error, "code", None), getattr(error, "hint", None)]
for package in packages:
    del sys.modules[package]
    importlib.import_module(package)
before = loaded()
importlib.import_module(module)
ours = [name for name in sys.modules if name.startswith("guardrails.integrations.") and not name.rpartition(".")[2].startswith("_")]
print(json.dumps({"refusal": refusal, "more": sorted(loaded() - before), "ours": ours}))
"""


def _public() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(guardrails.integrations.__path__) if module.name[0] != "_"}


def test_every_integration_is_listed() -> None:
    assert _public() == set(WAYS) | APART & _public()


@pytest.mark.parametrize("name", sorted(WAYS))
def test_an_integration_stands_alone(name: str) -> None:
    way = WAYS[name]
    asked = json.dumps([f"guardrails.integrations.{name}", way.packages, FRAMEWORKS])
    done = subprocess.run([sys.executable, "-c", PROBE, asked], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if way.extra:
        kind, code, hint = found["refusal"]
        assert (kind, code) == ("UsageError", "usage.extra_missing")
        assert f"guardrails-sql[{way.extra}]" in hint
    else:
        assert found["refusal"] is None
    assert set(found["more"]) <= way.below


def test_extras_exist_and_all_but_one_are_in_all() -> None:
    known = set(importlib.metadata.metadata("guardrails-sql").get_all("Provides-Extra") or ())
    named = {way.extra for way in WAYS.values() if way.extra}
    assert named | {"crewai", "all"} <= known
    required = [
        r for r in importlib.metadata.requires("guardrails-sql") or () if 'extra == "all"' in r or "extra == 'all'" in r
    ]
    assert not any("crewai" in requirement for requirement in required)
