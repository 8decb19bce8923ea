"""The page about frameworks: it tells the lowest versions that pyproject.toml asks for and the tests run with, and names every module."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import guardrails.integrations
from tests.integration.test_environments import APART, LOWEST

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "integrations.md").read_text("utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
FLOORS = {
    found[1]: found[2]
    for extra in ("langchain", "langchain-agents", "langgraph", "openai", "openai-agents", "anthropic", "pydantic-ai", "mcp",
                  "llama-index", "crewai")
    for requirement in EXTRAS[extra]
    if (found := re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)) and found[1] not in ("starlette", "uvicorn")
}  # fmt: skip
PINS = {pin for environment in LOWEST for pin in environment.requirements}
PAGES = {
    "anthropic": "anthropic", "anthropic_runner": "anthropic", "crewai": "crewai", "dbapi": "sqlalchemy", "langchain": "langchain",
    "langchain_middleware": "langchain", "langchain_sql": "langchain", "langgraph": "langchain", "llama_index": "llama-index",
    "mcp": "mcp", "openai": "openai", "openai_agents": "openai-agents", "pydantic_ai": "pydantic-ai", "sqlalchemy": "sqlalchemy",
}  # fmt: skip
"""The page of each public module."""


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_the_lowest_version_is_told_and_tested(package: str) -> None:
    floor = FLOORS[package]
    assert re.search(rf"\b{re.escape(package)} {re.escape(floor)}(\.0)* to ", PAGE), f"{package} {floor}"
    if package != "crewai":
        assert any(re.fullmatch(rf"{package}(\[.*\])?=={re.escape(floor)}(\.0)*", pin) for pin in PINS)


def test_an_environment_of_its_own_has_crewai() -> None:
    assert "crewai" in APART.extras


def test_every_module_has_a_page_that_names_it() -> None:
    public = {module.name for module in pkgutil.iter_modules(guardrails.integrations.__path__) if module.name[0] != "_"}
    assert public == set(PAGES)
    for module, page in PAGES.items():
        assert f"]({page}.md)" in PAGE
        assert f"guardrails.integrations.{module}" in (ROOT / "docs" / f"{page}.md").read_text("utf-8")


def test_every_extra_is_named() -> None:
    for extra in EXTRAS["frameworks"][0].partition("[")[2].rstrip("]").split(","):
        assert f"[{extra}]" in PAGE
