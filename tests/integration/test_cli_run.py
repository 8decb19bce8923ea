"""`guardrails run`: what `check` says, done on a real database and signed into a ledger."""

from __future__ import annotations

import json
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest

from guardrails.demo.shop import TICKET_ORDER, build_shop
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from tests.support.command_line import Done, call

SUPPORT = json.dumps({"id": "support@shop.example", "groups": ["support"], "attributes": {"region": "west"}})
REFUND = f"UPDATE payments SET refunded = 1 WHERE order_id = {TICKET_ORDER}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    build_shop(folder / "shop.db")
    (folder / "policy.yaml").write_text(files("guardrails.demo").joinpath("policy.yaml").read_text("utf-8"))
    return folder


def _run(folder: Path, *arguments: str, stdin: bytes = b"") -> Done:
    places = ("--database", f"sqlite:///{folder}/shop.db", "--ledger", f"sqlite:///{folder}/audit.db")
    who = ("--principal-json", SUPPORT, "--purpose", "support", "--agent", "a-bot")
    return call("run", "--policy", str(folder / "policy.yaml"), *places, *who, *arguments, stdin=stdin)


def test_statements_run_and_are_recorded(folder: Path) -> None:
    asked = [
        {"id": "look", "sql": "SELECT name, email FROM customers WHERE id = :id", "params": {"id": 7}},
        {"id": "drop", "sql": "DROP TABLE customers"},
        {"id": "wrong", "sql": "SELECT abs('-9223372036854775808' + 0)"},
        {"id": "refund", "sql": REFUND},
        {"id": "nothing"},
        {"id": "overflow", "sql": "SELECT json(:text)", "params": {"text": "{"}},
    ]
    done = _run(folder, "--jsonl", stdin="".join(json.dumps(line) + "\n" for line in asked).encode())
    assert done.status == 1, done.stderr
    by_id = {line["id"]: line for line in done.lines()}
    assert list(by_id) == [line["id"] for line in asked]
    look, drop, refund = by_id["look"], by_id["drop"], by_id["refund"]
    assert (look["effect"], look["code"], look["columns"]) == ("allow", "ok", ["name", "email"])
    assert look["rows"][0][1].startswith("tok_")
    assert (drop["effect"], drop["code"]) == ("deny", "policy.no_rule")
    assert drop["receipt"]["intent_index"] is None
    assert "rows" not in drop
    assert (refund["effect"], refund["code"]) == ("approve", "approval.required")
    assert refund["request"]["id"]
    assert by_id["nothing"]["code"] == "usage.input_invalid"
    failed = by_id["overflow"]
    assert failed["code"] == failed["error"]["code"] == "engine.failed"
    assert "rows" not in failed
    with Ledger.open(f"sqlite:///{folder}/audit.db", read_only=True) as ledger:
        outcome = ledger.entry(look["receipt"]["leaf_index"])
        intent = ledger.entry(look["receipt"]["intent_index"])
        assert (outcome["type"], outcome["status"], intent["type"]) == ("outcome", "ok", "intent")
        assert intent["agent"] == {"name": "a-bot", "model": None}
        assert ledger.entry(drop["receipt"]["leaf_index"])["type"] == "refusal"
        assert ledger.entry(failed["receipt"]["leaf_index"])["status"] == "error"
    assert verify(f"sqlite:///{folder}/audit.db").is_verified


def test_an_approved_change_runs_once(folder: Path) -> None:
    (asked,) = _run(folder, REFUND).lines()
    ledger = ("--ledger", f"sqlite:///{folder}/audit.db")
    answer = ("approvals", "approve", asked["request"]["id"], *ledger, "--reason", "lost", "--by")
    assert call(*answer, "support@shop.example").status == 1
    approved = call(*answer, "lead@shop.example", "--group", "support-leads")
    assert approved.status == 0, approved.stderr
    done = _run(folder, REFUND)
    assert done.status == 0, done.stderr
    (ran,) = done.lines()
    assert (ran["effect"], ran["rows_changed"]) == ("approve", 1)
    assert _run(folder, REFUND).status == 1
    with sqlite3.connect(folder / "shop.db") as database:
        assert database.execute("SELECT order_id FROM payments WHERE refunded").fetchall() == [(TICKET_ORDER,)]


def test_without_a_ledger_nothing_runs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_bytes(b"this is no ledger" * 100)
    database = ("--database", f"sqlite:///{folder}/shop.db")
    done = call(
        "run", "--policy", str(folder / "policy.yaml"), *database, "--ledger", f"sqlite:///{tmp_path}/audit.db", "SELECT 1"
    )
    assert done.status == 2
    assert done.stdout == b""
    assert b"[ledger." in done.stderr
