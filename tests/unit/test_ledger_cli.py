"""The commands' output, exit status and errors."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guardrails.cli.ledger import ledger as group
from guardrails.ledger import Ledger, merkle
from guardrails.ledger.note import base64_text
from guardrails.ledger.proof import EntryProof


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audit.db"
    with Ledger.open(path) as ledger:
        for n in range(8):
            ledger.append({"type": "note", "session": f"s{n % 2}", "text": f"\x1b[31mred\u202e {n} [bold]"})
        ledger.append({"type": "intent", "session": "s0"}, private={"sql": b"secret"})
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(group, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def break_entry(path: Path, index: int) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET leaf = replace(CAST(leaf AS TEXT), 'note', 'Note') WHERE idx = ?", (index,))
        connection.execute("UPDATE entries SET leaf = CAST(leaf AS BLOB)")
    connection.close()


def test_verify_says_what_it_checked(path: Path) -> None:
    result = run("verify", "--ledger", f"sqlite:///{path}")
    assert result.exit_code == 0
    for said in ("VERIFIED", "9 entries", "audit.db.pub", "without a known outcome: entry 8", "Without a witness"):
        assert said in result.stdout
    report = json.loads(run("verify", "--ledger", path, "--json").stdout)
    assert (report["verified"], report["size"], report["unknown"], report["key_pinned"]) == (True, 9, [8], False)


def test_verify_points_at_the_changed_entry(path: Path) -> None:
    break_entry(path, 5)
    result = run("verify", "--ledger", path)
    assert result.exit_code == 1
    assert "NOT VERIFIED" in result.stdout
    assert "entry 5: its signature does not hold" in result.stdout
    result = run("verify", "--ledger", path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["first_bad"] == 5


def test_verify_against_pins(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        (tmp_path / "checkpoint").write_text(ledger.checkpoint())
        root, key = base64_text(ledger.root_at(4)), ledger.verifier_key
        ledger.append({})
    result = run("verify", "--ledger", path, "--key", key, "--checkpoint", tmp_path / "checkpoint", "--pin", 4, root)
    assert result.exit_code == 0
    assert "given as text" in result.stdout
    assert "pinned" in result.stdout
    assert run("verify", "--ledger", path, "--pin", 5, root).exit_code == 1
    assert run("verify", "--ledger", path, "--pin", 99, root).exit_code == 1
    assert run("verify", "--ledger", path, "--pin", 4, "?").exit_code == 2


def test_show_prints_the_latest_entries_without_control_sequences(path: Path) -> None:
    result = run("show", "--ledger", path, "--limit", 3)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4
    assert "[bold]" in result.stdout
    assert not {"\x1b", "\u202e"} & set(result.stdout)
    rows = [json.loads(line) for line in run("show", "--ledger", path, "--session", "s1", "--json").stdout.splitlines()]
    assert [row["index"] for row in rows] == [1, 3, 5, 7]
    with Ledger.open(path, read_only=True) as ledger:
        assert all(row["entry"] == ledger.entry(row["index"]) for row in rows)
    assert run("show", "--ledger", path, "--session", "nobody", "--json").stdout == ""


def test_prove_prints_a_proof_that_stands_alone(path: Path) -> None:
    result = run("prove", 3, "--ledger", path)
    assert result.exit_code == 0
    assert "verified: entry 3" in result.stderr
    with Ledger.open(path, read_only=True) as ledger:
        leaf, root = ledger.leaf(3), ledger.root
        from guardrails.ledger.note import Verifier

        assert EntryProof.parse(result.stdout).verify(leaf, Verifier.parse(ledger.verifier_key)).root == root
    shown = json.loads(run("prove", 3, "--ledger", path, "--json").stdout)
    merkle.verify_inclusion(
        bytes.fromhex(shown["leaf_hash"]), 3, shown["size"], [bytes.fromhex(h) for h in shown["proof"]], root
    )


def test_prove_refuses_a_changed_entry_and_another_key(path: Path) -> None:
    other = "other.example+" + "00000000+AAAA"
    assert run("prove", 3, "--ledger", path, "--key", other).exit_code == 1
    break_entry(path, 3)
    result = run("prove", 3, "--ledger", path)
    assert result.exit_code == 1
    assert "ledger.tampered" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("verify", "--ledger", "none.db"), "usage.file_missing"),
        (("verify", "--ledger", "mysql://x"), "usage.database_unsupported"),
        (("verify", "--ledger", "sqlite:///:memory:"), "usage.database_unsupported"),
        (("show", "--ledger", "none.db"), "usage.file_missing"),
        (("show", "--ledger", "sqlite:///:memory:"), "ledger.unavailable"),
        (("prove", "0", "--ledger", "none.db"), "usage.file_missing"),
        (("export", "x", "--ledger", __file__), "ledger.unavailable"),
        (("show", "--ledger", __file__), "ledger.unavailable"),
    ],
)
def test_usage_errors_have_a_code_and_status_2(arguments: tuple[str, ...], code: str) -> None:
    for extra in ((), ("--json",)):
        result = run(*arguments, *extra)
        assert result.exit_code == 2
        assert code in result.stderr
        assert result.stdout == ""


def test_an_index_beyond_the_end_is_usage(path: Path) -> None:
    result = run("prove", 9, "--ledger", path)
    assert result.exit_code == 2
    assert "ledger.index_range" in result.stderr
