"""Ledger files of the first format are carried over to this one with everything that was signed in them, or left as they are."""

from __future__ import annotations

import runpy
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

import guardrails.ledger.migrations
from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.entry import encode, format_time
from guardrails.ledger.keys import create_key
from guardrails.ledger.merkle import EMPTY_ROOT, fold, grow, leaf_hash, verify_consistency
from guardrails.ledger.migrations import migrate
from guardrails.ledger.stores.sqlite_schema import FORMAT, schema_differences
from guardrails.ledger.verify import verify

REVISIONS = Path(guardrails.ledger.migrations.__file__).parent / "sqlite"
MIGRATE = "import sys; from guardrails.ledger.migrations import migrate; print('ready', flush=True); migrate(sys.argv[1])"


def old_ledger(path: Path, size: int) -> Path:
    """Writes a ledger as the first release did: entries without signatures, and a row for each node of the tree."""
    signer = create_key(path.with_name(path.name + ".key"), "old.test/log")
    path.with_name(path.name + ".pub").write_text(f"{signer.verifier()}\n")
    writer = {"host": "somewhere", "pid": 1, "start": ""}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        for statement in runpy.run_path(str(REVISIONS / "revision_0001.py"))["_STATEMENTS"]:
            connection.execute(statement)
        peaks: list[tuple[int, bytes]] = []
        for index in range(size):
            session, seq, entry_id, salt = f"s{index % 3}", index // 3, uuid4().hex, secrets.token_bytes(32)
            entry: dict[str, object] = {"type": "note", "session": session, "text": f"{index}"}
            if index < 2:
                entry["type"] = "intent"
                connection.execute("INSERT INTO open_intents VALUES (?, ?, ?)", (entry_id, index, 0))
            if index % 100 == 0:
                entry["commitments"] = {"sql": sha256(salt + b"SELECT 1").hexdigest()}
                connection.execute("INSERT INTO salts VALUES (?, 'sql', ?)", (index, salt))
            stamps = {"v": 1, "id": entry_id, "time": format_time(10**15 + index), "seq": seq, "writer": writer}
            leaf = encode(entry | stamps)
            connection.execute("INSERT INTO entries VALUES (?, ?)", (index, leaf))
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", (session, seq, index))
            connection.executemany("INSERT INTO nodes VALUES (?, ?, ?)", grow(peaks, index, leaf_hash(leaf)))
        root = fold([digest for _, digest in peaks]) if peaks else EMPTY_ROOT
        note = sign_checkpoint(Checkpoint("old.test/log", size, root), signer)
        connection.execute("INSERT INTO head VALUES (1, ?, ?)", (str(signer.verifier()), note))
        connection.execute("COMMIT")
    return path


def contents(path: Path) -> list[tuple[object, ...]]:
    """Everything in a file, its version first."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        rows = [row for name in names for row in connection.execute(f"SELECT '{name}', * FROM {name}")]
        return [connection.execute("PRAGMA user_version").fetchone(), *rows]


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 700, 65_537])
def test_everything_that_was_signed_is_carried_over(tmp_path: Path, size: int) -> None:
    path = old_ledger(tmp_path / "audit.db", size)
    with pytest.raises(LedgerError):
        Ledger.open(path)
    assert migrate(path) == ("0001", "0002")
    assert migrate(f"sqlite:///{path}") == ("0002", "0002")
    with closing(sqlite3.connect(path)) as connection:
        assert schema_differences(connection) == []
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    report = verify(path)
    assert report.is_verified, report.problems
    assert report.size == size
    assert report.unknown == tuple(range(min(size, 2)))
    with Ledger.open(path) as ledger:
        if size:
            assert ledger.entry(size - 1)["text"] == f"{size - 1}"
            assert ledger.commitment_holds(0, "sql", b"SELECT 1") is True
            assert ledger.commitment_holds(0, "sql", b"SELECT 2") is False
            root = ledger.root
            ledger.append({"type": "outcome", "session": "s0", "intent": ledger.entry(0)["id"]})
            assert ledger.entry(size)["seq"] == (size + 2) // 3
            verify_consistency(size, size + 1, root, ledger.root, ledger.consistency_proof(size))
        ledger.append_many([{"type": "note", "n": n} for n in range(300)])
    report = verify(path)
    assert report.is_verified, report.problems
    assert report.unknown == tuple(range(min(size, 2)))[1:]


CHANGES = {
    "an edited entry": "UPDATE entries SET leaf = replace(CAST(leaf AS TEXT), 'note', 'nope') WHERE idx = 300",
    "an entry less": "DELETE FROM entries WHERE idx = 300",
    "the end cut off": "DELETE FROM entries WHERE idx >= 690",
    "an entry more": "INSERT INTO entries VALUES (700, 'x')",
    "a head less": "DELETE FROM head",
    "an edited checkpoint": "UPDATE head SET note = replace(note, '700', '699')",
    "another key": "UPDATE head SET verifier_key = replace(verifier_key, 'old', 'new')",
    "a session's entry less": "DELETE FROM sessions WHERE idx = 300",
    "an entry twice in a session": "INSERT INTO sessions VALUES ('s0', 7000, 300)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_ledger_that_was_changed_is_left_as_it_is(tmp_path: Path, change: str) -> None:
    path = old_ledger(tmp_path / "audit.db", 700)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(CHANGES[change])
    before = contents(path)
    with pytest.raises(LedgerError) as refused:
        migrate(path)
    assert isinstance(refused.value, TamperedError) or change == "an entry twice in a session"
    assert contents(path) == before


def test_what_is_no_old_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        migrate(tmp_path / "none.db")
    with pytest.raises(UsageError):
        migrate("sqlite:///:memory:")
    (tmp_path / "text.db").write_text("a text that is long enough to be taken for the header of a database" * 10)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    newer = old_ledger(tmp_path / "newer.db", 3)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for name in ("text.db", "other.db", "newer.db"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(LedgerError):
            migrate(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    assert not (tmp_path / "none.db").exists()


def test_a_new_file_is_like_a_migrated_one(tmp_path: Path) -> None:
    old = old_ledger(tmp_path / "old.db", 3)
    migrate(old)
    Ledger.open(tmp_path / "new.db").close()
    tables = []
    for path in (old, tmp_path / "new.db"):
        with closing(sqlite3.connect(path)) as connection:
            tables.append(sorted(connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall(), key=str))
    assert tables[0] == tables[1]


def test_a_migration_that_is_killed_has_happened_or_not(tmp_path: Path) -> None:
    path = old_ledger(tmp_path / "audit.db", 6000)
    before, whole_s = contents(path), 0.3
    found = set()
    for attempt in range(8):
        child = subprocess.Popen([sys.executable, "-c", MIGRATE, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(whole_s * attempt / 8)
        child.kill()
        child.communicate()
        with closing(sqlite3.connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        found.add((version, child.returncode == -signal.SIGKILL))
        if version == FORMAT:
            break
        assert contents(path) == before
    migrate(path)
    assert verify(path).is_verified
    assert (1, True) in found, "no kill came early enough to hit anything"
