"""The page about the console's records: its Python runs, its pictures and addresses exist, and what it says is recorded is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guardrails import Guard, Principal
from guardrails.console.app import PAGES
from guardrails.policy import Policy
from tests.support.guard_policies import SHOP
from tests.support.twins import fill_sqlite

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "console-records.md").read_text("utf-8")


def test_the_pages_python_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {
        "Guard": Guard,
        "policy": Policy.from_text(SHOP),
        "database": fill_sqlite(tmp_path / "shop.db", 1),
        "ledger": f"sqlite:///{tmp_path / 'audit.db'}",
        "ana": Principal("ana@example.com", frozenset({"support"}), {"region": "EU"}),
    }
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "console-records.md", "exec"), names)
    assert capsys.readouterr().out == "ana@example.com refund-bot 1 2\n"
    names["guard"].close()


def test_the_addresses_that_it_names_are_served() -> None:
    served = {route.path.split("{")[0].rstrip("/") for module in PAGES for route in module.ROUTES}
    named = {address.rstrip("/") for address in re.findall(r"`(/[a-z/]+)", PAGE)}
    assert named <= served


def test_its_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)
    assert len(pictures) >= 3
    assert [name for name in pictures if not (ROOT / "docs" / name).is_file()] == []
