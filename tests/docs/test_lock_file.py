"""`uv.lock` is of the dependencies that `pyproject.toml` names now."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def _wanted(lines: Iterable[str]) -> set[tuple[str, str]]:
    return {(r.name, str(r.specifier)) for r in map(Requirement, lines) if r.name != "guardrails-sql"}


def _locked(entries: Iterable[Mapping[str, object]]) -> set[tuple[str, str]]:
    return {(str(e["name"]), str(e.get("specifier", ""))) for e in entries if e["name"] != "guardrails-sql"}


def test_the_lock_file_is_of_these_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    (own,) = (p for p in lock["package"] if p["name"] == "guardrails-sql")
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    assert _locked(own["metadata"]["requires-dist"]) == _wanted(wanted), "Run `uv lock`."
    assert _locked(own["metadata"]["requires-dev"]["dev"]) == _wanted(project["dependency-groups"]["dev"]), "Run `uv lock`."
    assert set(own["metadata"]["provides-extras"]) == set(extras)
    assert {package["name"] for package in lock["package"]} >= {name for name, _ in _wanted(wanted)}
