"""The ledger's page says what the ledger does: fields, kinds of entries, commands, and Python that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from guardrails.cli.ledger import COMMANDS
from guardrails.errors import Denied, EngineError
from guardrails.guard import Guard
from guardrails.ledger import Ledger
from guardrails.model import Principal
from guardrails.policy import Policy
from tests.support.guard_policies import SHOP
from tests.support.twins import fill_sqlite

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ledger.md").read_text("utf-8")
PAGES = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
FIELDS = {
    name for line in PAGE.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
}


@pytest.fixture
def entries(tmp_path: Path) -> Iterator[list[dict[str, object]]]:
    """Entries of every kind that a guard writes."""
    ana = Principal("ana@example.com", frozenset({"support"}), {"region": "EU"})
    lea = Principal("lea@example.com", frozenset({"leads", "support"}), {"region": "EU"})
    database = fill_sqlite(tmp_path / "shop.db", 1)
    with (
        Guard.open(Policy.from_text(SHOP), database=database, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        guard.session(principal=ana, agent="bot", model="m", purpose="support", agent_version="1"),
    ):
        guard.execute("SELECT email FROM customers")
        guard.execute("DELETE FROM orders WHERE id = 1")
        with pytest.raises(Denied):
            guard.execute("DROP TABLE orders")
        with pytest.raises(EngineError):
            guard.execute("INSERT INTO orders (id, customer_id, amount, status, region) VALUES (2, 1, 1, 'x', 'EU')")
        with pytest.raises(Exception, match="approve"):
            guard.execute("UPDATE orders SET status = 'refunded' WHERE id = 2")
        guard.approve(guard.pending()[0].id, by=lea, reason="fine")
        guard.execute("UPDATE orders SET status = 'refunded' WHERE id = 2")
        guard.action("email.send")(lambda to: to)("x")
        guard.ledger.erase_salts(1)
        yield list(guard.ledger.entries())


def test_every_field_of_an_entry_is_in_the_table(entries: list[dict[str, object]]) -> None:
    assert len(entries) > 12
    used = {name for entry in entries for name in entry}
    assert used - FIELDS - {"count", "erased", "by"} == set()


def test_every_kind_of_entry_is_named(entries: list[dict[str, object]]) -> None:
    kinds = {str(entry["type"]) for entry in entries}
    assert {"key.bind", "intent", "outcome", "refusal", "erasure", "approval.requested", "approval.decided"} <= kinds
    writers = [
        "entries.py",
        "sessions.py",
        *(f"approval/{n}.py" for n in ("desk", "evidence")),
        "rotation.py",
        *(f"ledger/{n}.py" for n in ("log", "administration", "signing", "rotation")),
    ]
    source = "\n".join((ROOT / "guardrails" / writer).read_text("utf-8") for writer in writers)
    kinds |= set(re.findall(r'_facts\("([a-z_.]+)"', source))
    kinds |= set(re.findall(r'"type": "([a-z_.]+)"', source)) - {"note"} | set(
        re.findall(r'^[A-Z]+ = "(key\.[a-z]+)"', source, re.MULTILINE)
    )
    assert {kind for kind in kinds if f"`{kind}`" not in PAGE} == set()


def test_every_command_is_on_some_page() -> None:
    assert {name for name in COMMANDS if f"ledger {name}" not in PAGES} == set()


def test_the_pages_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "ledger.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == "True\nNone\n"
    assert Ledger.__doc__
