"""The console's page says what the console does: every option and role, pictures that are there, Python that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from guardrails.cli.console import console
from guardrails.console.viewer import Role

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "console.md").read_text("utf-8")


def test_every_option_and_role_is_on_the_page() -> None:
    names = {name for parameter in console.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
    assert {role for role in get_args(Role) if f"| {role} |" not in PAGE} == set()


def test_every_picture_is_there_and_shown() -> None:
    files = ("docs/console.md", "docs/console-api.md", "docs/console-records.md", "README.md")
    pages = "\n".join((ROOT / file).read_text("utf-8") for file in files)
    shown = set(re.findall(r"console/([a-z-]+\.png)", pages))
    made = {file.name for file in (ROOT / "docs" / "console").glob("*.png")}
    assert shown - made == set()
    assert {name for name in made - shown if not re.search(r"-(dark|phone)\.png$", name)} == {"signin.png"}


def test_the_pages_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(block, "console.md", "exec"), names)
    assert names["app"]
