"""The page about impacts says what they are: its Python runs, and its words are the library's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from guardrails.codes import CODES
from guardrails.guard import Guard
from guardrails.model import ImpactMode, Principal
from guardrails.policy import Policy
from tests.support.guard_policies import SHOP
from tests.support.twins import fill_sqlite

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "impact.md").read_text("utf-8")


def test_every_way_of_finding_out_is_in_the_table() -> None:
    first = PAGE.split("## Rows")[1].split("\n\n")[2]
    assert set(re.findall(r"^\| `(\w+)`", first, re.MULTILINE)) - {"impact"} == set(get_args(ImpactMode))


def test_every_code_is_one() -> None:
    named = set(re.findall(r"`((?:preview|engine)\.[a-z_]+)`", PAGE))
    assert named - CODES.keys() == set()
    assert {"preview.conditions_masked", "preview.unsupported"} <= named


def test_the_example_shows_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    ana = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
    # Leads of this policy read as support does.
    block = block.replace('{"leads"})', '{"leads", "support"}, {"region": "EU"})')
    database, ledger = fill_sqlite(tmp_path / "shop.db", 1), f"sqlite:///{tmp_path / 'audit.db'}"
    with Guard.open(Policy.from_text(SHOP), database=database, ledger=ledger) as guard:
        with guard.session(principal=ana, agent="bot", purpose="support"), pytest.raises(Exception, match="approve"):
            guard.execute("UPDATE orders SET status = 'refunded' WHERE id = 2")
        exec(compile(block, "docs/impact.md", "exec"), {"guard": guard})
    assert "orders ('id', 'status') (2, " in capsys.readouterr().out
