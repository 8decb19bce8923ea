"""The page about SQLAlchemy: its Python runs, one block after the other, and says what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from guardrails import Guard, Policy
from guardrails.codes import CODES
from tests.support.guarded_shop import ANA, POLICY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sqlalchemy.md").read_text("utf-8")


def test_the_blocks_run(sqlite_path: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{sqlite_path}"
    names: dict[str, Any] = {"ana": ANA, "database_url": url}
    with Guard.open(Policy.from_text(POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        names["guard"] = guard
        blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        assert len(blocks) == 8
        for block in blocks:
            exec(compile(block, "docs/sqlalchemy.md", "exec"), names)
        tools = {entry["tool"] for entry in guard.ledger.entries() if entry["type"] == "intent"}
    assert tuple(names["masked"]) == ("Ada", "hidden")
    assert names["names"] == ["Ada", "Bo", "Cy"]
    assert names["has_script"] is False
    assert names["status"] == "open"
    assert names["tables"] == ["customers", "orders"]
    assert set(names["frame"].email) == {"hidden"}
    assert names["row"] == (1, "hidden")
    assert names["receipt"].intent_index is not None
    assert tools == {"sqlalchemy", "nightly"}


def test_the_codes_exist() -> None:
    named = set(re.findall(r"`(usage\.[a-z_]+)`", PAGE))
    assert {"usage.no_rollback", "usage.not_guarded", "usage.other_database"} <= named <= CODES.keys()
