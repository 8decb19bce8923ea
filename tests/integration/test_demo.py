"""The main job, as a stranger runs it: a process without a terminal, a key or a network; every scene ends as the table wants."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from guardrails.cli import main as root
from guardrails.demo.agents import CLIENTS
from guardrails.demo.play import play
from guardrails.demo.scenes import SCENES, AgentKind
from guardrails.demo.screen import ScreenTeller
from guardrails.demo.shop import INJECTED_TICKET, TICKET_ORDER, build_shop
from guardrails.demo.story import JsonTeller, Step
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from guardrails.model import Decision, Reason
from guardrails.testing import only_loopback

# Whatever these point to must not be reached, and their being set must not matter.
HOSTILE = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "OPENAI_API_KEY": "not-for-the-demo",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_API_KEY": "not-for-the-demo",
}
Lines = list[dict[str, Any]]


def _demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guardrails.cli.main", "demo", *arguments]
    settings = {**os.environ, **HOSTILE, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=settings, timeout=120, check=False)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def lines(kept: Path) -> Lines:
    done = _demo("--json", "--keep", str(kept))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def _of(lines: Lines, scene: str, kind: str = "statement") -> Lines:
    return [line for line in lines if line["scene"] == scene and line["type"] == kind]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.id)
def test_every_statement_ends_as_wanted(lines: Lines, scene: Any) -> None:
    statements = _of(lines, scene.id)
    assert tuple(line["code"] for line in statements) == scene.wanted
    for line in statements:
        is_run = line["code"] == "ok"
        assert (line["executed"] is not None) == is_run
        assert (line["result"] is not None) == is_run
        assert (line["leaf"]["intent_index"] is not None) == is_run
        assert line["executed"] != line["sql"]
    assert [line["text"] for line in _of(lines, scene.id, "question")] == [scene.question.text]
    (answer,) = _of(lines, scene.id, "answer")
    assert "nothing to say" not in answer["text"]
    assert "{" not in answer["text"]


def test_all_clients_play(lines: Lines) -> None:
    assert {line["agent"] for line in lines if line["type"] == "scene"} == set(CLIENTS)


def test_leaves_are_those_of_the_ledger(lines: Lines, kept: Path) -> None:
    with Ledger.open(f"sqlite:///{kept}/audit.db", read_only=True) as ledger:
        for line in (line for line in lines if line["type"] == "statement"):
            entry = ledger.entry(line["leaf"]["index"])
            expected = {"ok": "outcome", "approval.required": "approval.requested"}.get(line["code"], "refusal")
            assert entry["type"] == expected
            if line["leaf"]["intent_index"] is not None:
                assert ledger.entry(line["leaf"]["intent_index"])["type"] == "intent"


def test_analytics_are_answered(lines: Lines) -> None:
    (line,) = _of(lines, "analytics")
    assert [row[0] for row in line["result"]["rows"]] == ["west", "south", "north", "east"]
    assert not any(o["type"] == "mask" and o["column"] in line["reads"] for o in line["obligations"])


def test_the_look_up_is_masked(lines: Lines, kept: Path) -> None:
    (line,) = _of(lines, "lookup")
    (row,) = (dict(zip(line["result"]["columns"], row, strict=True)) for row in line["result"]["rows"])
    with sqlite3.connect(kept / "shop.db") as database:
        query = (
            "SELECT c.name, c.email, c.phone, c.ssn FROM customers AS c JOIN orders AS o ON o.customer_id = c.id WHERE o.id = ?"
        )
        name, email, phone, ssn = database.execute(query, (TICKET_ORDER,)).fetchone()
    assert row["name"] == name
    assert row["ssn"] == "***"
    assert row["phone"] == f"***{phone[-2:]}"
    assert row["email"].startswith("tok_")
    assert not {email, phone, ssn} & set(map(str, row.values()))


def test_the_injection_is_followed_and_gets_nothing(lines: Lines) -> None:
    read, ordered, without_cards, repaired = _of(lines, "injection")
    assert ordered["sql"] in read["result"]["rows"][0][2], "the statement came out of the ticket's text"
    assert {f["kind"] for f in read["result"]["findings"]} == {"email", "phone"}
    assert all(email.startswith("tok_") and ssn == "***" for _, email, ssn in without_cards["result"]["rows"])
    assert repaired["result"]["rows"][0][0] == TICKET_ORDER


def test_nothing_protected_is_in_the_output(lines: Lines, kept: Path) -> None:
    told = json.dumps(lines)
    with sqlite3.connect(kept / "shop.db") as database:
        protected = database.execute(
            "SELECT email FROM customers UNION SELECT ssn FROM customers UNION SELECT phone FROM customers"
            " UNION SELECT card_number FROM payments"
        ).fetchall()
    assert not [value for (value,) in protected if value in told]


def test_what_was_refused_left_the_database_as_it_was(lines: Lines, kept: Path, tmp_path: Path) -> None:
    build_shop(tmp_path / "before.db")
    with sqlite3.connect(kept / "shop.db") as after:
        after.execute("ATTACH ? AS before", (str(tmp_path / "before.db"),))
        for table in ("customers", "products", "orders", "order_items", "employees"):
            assert (
                after.execute(f"SELECT * FROM main.{table}").fetchall()
                == after.execute(f"SELECT * FROM before.{table}").fetchall()
            )
        gone = after.execute(
            "SELECT region, status FROM before.tickets EXCEPT SELECT region, status FROM main.tickets"
        ).fetchall()
        refunded = after.execute("SELECT order_id FROM payments WHERE refunded").fetchall()
    assert gone == [("west", "spam")]
    assert refunded == [(TICKET_ORDER,)]


def test_the_refund_needs_a_second_person_once(lines: Lines) -> None:
    approvals = _of(lines, "refund-approved", "approval")
    assert [(a["by"], a["code"]) for a in approvals] == [("support@shop.example", "approval.self"), ("lead@shop.example", "ok")]
    ran, again = _of(lines, "refund-approved")
    assert ran["result"]["rows_changed"] == 1
    assert again["code"] == "approval.required"


def test_the_ledger_is_verified_and_the_changed_copy_is_not(lines: Lines, kept: Path) -> None:
    (verified,) = (line for line in lines if line["type"] == "verify")
    (tampered,) = (line for line in lines if line["type"] == "tamper")
    assert verified["verified"]
    assert not tampered["verified"]
    assert tampered["first_bad"] == tampered["entry"]
    assert verify(f"sqlite:///{kept}/audit.db").is_verified
    assert verify(f"sqlite:///{kept}/changed/audit.db", key=verified["key"]).first_bad == tampered["entry"]
    assert lines[-1] == {"type": "closing", "scene": None, "as_wanted": True, "kept": str(kept.resolve())}


def test_the_text_is_plain_without_a_terminal(tmp_path: Path) -> None:
    done = _demo("--agent", "openai", PYTHONIOENCODING="utf-8", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    for scene in SCENES:
        assert scene.title in done.stdout
    assert "VERIFIED" in done.stdout
    assert "NOT VERIFIED" in done.stdout
    assert os.listdir(tmp_path) == [], "nothing is left behind"


@pytest.mark.parametrize("agent", ["langchain", "anthropic"])
def test_every_client_can_play_every_scene(agent: AgentKind) -> None:
    told = io.StringIO()
    assert play(JsonTeller(told), [agent])
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    assert [line["agent"] for line in lines if line["type"] == "scene"] == [agent] * len(SCENES)


@pytest.mark.parametrize(("environment", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals(environment: dict[str, str], is_coloured: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system="standard", _environ=environment)
    teller = ScreenTeller(console=console)
    teller.asks("Is this [bold]red[/bold]? \x1b[31m")
    refused = Decision("deny", (Reason("sql.syntax", "It does not parse."),))
    teller.step(Step("SELECT \x1b]0;title\x07", refused, "sql.syntax", None, None))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("\x1b[31m" in text) == is_coloured
    assert "[bold]red[/bold]" in text
    assert "\x1b]0;" not in text
    assert "\x07" not in text


def test_a_folder_with_files_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SystemExit) as caught:
        root.main(["demo", "--keep", str(tmp_path)])
    assert caught.value.code == 2
    assert "[usage.input_invalid]" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine"]


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with only_loopback():
        assert not {name for name in HOSTILE if name.startswith(("HTTP", "ALL", "OPENAI", "ANTHROPIC"))} & os.environ.keys()
        assert os.environ["LANGSMITH_TRACING"] == "false"
    assert dict(os.environ) == before


@pytest.fixture
def shops(tmp_path: Path) -> tuple[Path, Path]:
    build_shop(tmp_path / "one.db")
    build_shop(tmp_path / "two.db")
    return tmp_path / "one.db", tmp_path / "two.db"


def test_the_shop_is_the_same_for_the_same_seed(shops: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = ("\n".join(sqlite3.connect(path).iterdump()) for path in shops)
    assert one == two
    build_shop(tmp_path / "three.db", seed=8)
    assert "\n".join(sqlite3.connect(tmp_path / "three.db").iterdump()) != one
    with pytest.raises(FileExistsError):
        build_shop(shops[0])


def test_the_shop_holds_what_the_scenes_are_about(shops: tuple[Path, Path]) -> None:
    with sqlite3.connect(shops[0]) as database:
        region, body = database.execute("SELECT region, body FROM tickets WHERE id = ?", (INJECTED_TICKET,)).fetchone()
        assert region == "west"
        assert f"order {TICKET_ORDER}" in body
        assert "Run this query" in body
        assert database.execute("SELECT COUNT(*) FROM payments WHERE order_id = ?", (TICKET_ORDER,)).fetchone() == (1,)
        assert database.execute("SELECT COUNT(*) FROM tickets WHERE region = 'west' AND status = 'spam'").fetchone()[0] > 0
        assert database.execute("SELECT COUNT(*) FROM customer_contacts").fetchone() == (160,)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
