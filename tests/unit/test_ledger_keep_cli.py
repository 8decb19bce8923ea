"""The keepers' commands, used as a stranger would: their output, exit status, and what the ledger is afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guardrails.cli.ledger import ledger as group
from guardrails.ledger import Ledger, Private


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audit.db"
    with Ledger.open(path) as ledger:
        ledger.append({"type": "note"}, private={"row": Private(b"Ada", keep=True, subjects=("ada@example.com",))})
        ledger.append({"type": "intent"})
        ledger.append_many([{"type": "note", "n": n} for n in range(300)])
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(group, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def reported(*arguments: object) -> dict[str, object]:
    result = run(*arguments, "--json")
    found = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_a_key_is_rotated_retired_and_verified_with_the_first_one(path: Path) -> None:
    first = path.with_name("audit.db.pub").read_text().strip()
    result = run("keys", "rotate", "--ledger", path, "--reason", "yearly")
    assert result.exit_code == 0, result.output
    assert "the key is now" in result.stdout
    lines = run("keys", "show", "--ledger", path).stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(first)
    assert "signs too" in lines[0]
    assert "current" in lines[1]
    old_id, new_id = (line.split("+")[1] for line in lines)
    assert run("keys", "retire", "--key", new_id, "--ledger", path, "--reason", "no").exit_code == 1
    assert run("keys", "retire", "--key", "00000000", "--ledger", path, "--reason", "no").exit_code == 2
    assert run("keys", "retire", "--key", old_id, "--ledger", path, "--reason", "done").exit_code == 0
    assert not path.with_name("audit.db.key.previous").exists()
    report = reported("verify", "--ledger", path, "--key", first)
    assert report["verified"] is True
    assert len(report["keys"]) == 2  # type: ignore[arg-type]
    assert "the signing key was rotated" in run("verify", "--ledger", path).stdout
    revoked = run("keys", "revoke", "--key", old_id, "--from-size", 304, "--ledger", path, "--reason", "leaked", "--json")
    assert revoked.exit_code == 0, revoked.output
    shown = [json.loads(line) for line in run("keys", "show", "--ledger", path, "--json").stdout.splitlines()]
    assert [(s["current"], s["revoked_from"]) for s in shown] == [(False, 304), (True, None)]
    assert reported("verify", "--ledger", path)["verified"] is True


def test_a_person_is_erased(path: Path) -> None:
    result = run("erase", "--subject", "ada@example.com", "--by", "dpo", "--reason", "request 1", "--ledger", path)
    assert result.exit_code == 0, result.output
    assert "1 values erased" in result.stdout
    report = reported("verify", "--ledger", path)
    assert report["verified"] is True
    assert report["erased"] == [{"index": 0, "name": "row"}]
    assert reported("erase", "--subject", "nobody", "--ledger", path) == {"erased": 0}
    assert run("erase", "--ledger", path).exit_code == 2


def test_lost_intents_are_recorded_and_old_entries_archived(path: Path, tmp_path: Path) -> None:
    refused = run("archive", tmp_path / "old", "--before", 256, "--ledger", path)
    assert refused.exit_code == 1
    assert "ledger.archive_open" in refused.stderr
    assert reported("recover", "--force", "--ledger", path) == {"unknown": [302]}
    assert reported("archive", tmp_path / "old", "--before", 300, "--ledger", path) == {"moved": 256, "archived": 256}
    without = run("verify", "--ledger", path)
    assert without.exit_code == 0
    assert "entries before 256 were checked by their hashes" in without.stdout
    assert reported("verify", "--ledger", path, "--archive", tmp_path / "old")["archived"] == 0
    shown = run("show", "--ledger", path, "--limit", 3, "--json")
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 3
    assert run("prove", 7, "--ledger", path).exit_code == 1  # its bytes are in the archive


def test_pins_refuse_to_go_back(path: Path, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    old = path.read_bytes()
    with Ledger.open(path) as ledger:
        ledger.append({"type": "note"})
    assert reported("verify", "--ledger", path, "--pins", pins)["verified"] is True
    report = reported("verify", "--ledger", path, "--pins", pins)
    assert (report["verified"], report["pins"], report["caveat"]) == (True, 1, "")
    path.write_bytes(old)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    result = run("verify", "--ledger", path, "--pins", pins)
    assert result.exit_code == 1
    assert "the checkpoint seen last" in result.stdout
    assert run("verify", "--ledger", path).exit_code == 0  # without a pin nobody can tell


def test_what_needs_witnesses_is_not_verified_without(path: Path, tmp_path: Path) -> None:
    key = path.with_name("audit.db.pub").read_text().strip()
    policy = tmp_path / "policy"
    policy.write_text(f"witness w {key} https://witness.example\nquorum w\n")
    result = run("verify", "--ledger", path, "--witnesses", policy)
    assert result.exit_code in (1, 2)
