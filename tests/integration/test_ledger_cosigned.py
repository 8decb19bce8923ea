"""A ledger and its witnesses, all in real processes: what they cosigned cannot be taken back unnoticed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from guardrails.ledger.witnessing.quorum import parse_policy
from tests.support.witnesses import LOG, make_witness, running


@pytest.fixture
def policy(tmp_path: Path) -> Iterator[Path]:
    """A policy of three witnesses, two of which are enough; the third is not running."""
    lines, names = [], ("w1", "w2", "w3")
    with ExitStack() as stack:
        for name in names:
            keys = make_witness(tmp_path / name, f"{name}.example")
            url = stack.enter_context(running(tmp_path / name)).url if name != "w3" else "http://127.0.0.1:9/"
            lines.append(f"witness {name} {keys[0]} {url}")
        path = tmp_path / "policy"
        path.write_text("\n".join([*lines, f"group enough 2 {' '.join(names)}", "quorum enough", ""]))
        yield path


def guardrails(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guardrails.cli.main", "ledger", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def write(path: Path, text: str, count: int = 1) -> None:
    with Ledger.open(path, signer=LOG) as ledger:
        ledger.append_many({"type": "note", "text": text} for _ in range(count))


def test_what_witnesses_cosigned_cannot_be_taken_back(tmp_path: Path, policy: Path) -> None:
    path, key = tmp_path / "audit.db", tmp_path / "signer"
    key.write_text(LOG.secret_text() + "\n")
    key.chmod(0o600)
    arguments = ("--ledger", path, "--signer", f"file:{key}", "--witnesses", policy)
    write(path, "first", 5)
    assert not verify(path, witnesses=parse_policy(policy.read_text())).is_verified
    shutil.copy(path, tmp_path / "early.db")
    write(path, "second", 300)
    done = guardrails("cosign", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("example.com/log\n305\n")
    assert done.stdout.count("\n— ") == 3
    write(path, "third")
    report = verify(path, witnesses=parse_policy(policy.read_text()))
    assert report.is_verified, report.problems
    assert report.witnessed == 305
    assert "Witnesses vouch" in report.caveat
    shown = json.loads(guardrails("verify", "--ledger", path, "--witnesses", policy, "--json").stdout)
    assert (shown["verified"], shown["witnessed"]) == (True, 305)
    done = guardrails("cosign", *arguments)
    assert done.returncode == 0, done.stderr

    shutil.copy(tmp_path / "early.db", path)  # an old backup, which the log's key would go on signing
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    done = guardrails("cosign", *arguments)
    assert done.returncode == 1
    assert "ledger.quorum_missing" in done.stderr
    write(path, "another past", 400)
    done = guardrails("cosign", *arguments)
    assert done.returncode == 1
    assert "ledger.quorum_missing" in done.stderr
    assert not verify(path, witnesses=parse_policy(policy.read_text())).is_verified
    assert verify(path).is_verified  # without witnesses nobody could tell


def test_a_cosigned_checkpoint_of_another_tree_is_found(tmp_path: Path, policy: Path) -> None:
    path, key = tmp_path / "audit.db", tmp_path / "signer"
    key.write_text(LOG.secret_text() + "\n")
    key.chmod(0o600)
    write(path, "first", 5)
    assert guardrails("cosign", "--ledger", path, "--signer", f"file:{key}", "--witnesses", policy).returncode == 0
    with Ledger.open(path, read_only=True) as ledger:
        published = ledger.published()
    path.unlink()
    path.with_name("audit.db.pub").unlink()
    write(path, "other", 9)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE head SET published = ?", (published,))
    report = verify(path)
    assert any("differs from the published checkpoint" in str(p) for p in report.problems)
