"""Every stored byte that says something is checked; nothing else than a report or a library error comes out."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from json import loads
from pathlib import Path

import pytest

from guardrails.errors import GuardrailsError, LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.entry import decode, encode
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import fold, grow, leaf_hash, root_hash
from guardrails.ledger.stores.sqlite_schema import TABLES
from guardrails.ledger.verify import Report, verify

SIGNER = Ed25519Signer("example.com/log", b"k" * 32)
KEY = str(SIGNER.verifier())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "audit.db"
    with Ledger.open(path, signer=SIGNER) as ledger:
        for n in range(5):
            intent = ledger.append({"type": "intent", "session": f"s{n % 2}", "n": n}, private={"sql": b"SELECT 1"})
            if n != 3:
                ledger.append({"type": "outcome", "session": f"s{n % 2}", "intent": intent.entry_id, "rows": n})
        ledger.append_many({"type": "note", "text": "x" * 20} for _ in range(10))
    return path


@pytest.fixture(scope="module")
def long_original(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "audit.db"
    for name in ("audit.db", "audit.db.pub"):
        shutil.copy(original.with_name(name), path.with_name(name))
    with Ledger.open(path, signer=SIGNER) as ledger:
        ledger.append_many({"type": "note", "n": n} for n in range(520))
    return path


@pytest.fixture
def long_path(long_original: Path, tmp_path: Path) -> Path:
    for name in ("audit.db", "audit.db.pub"):
        shutil.copy(long_original.with_name(name), tmp_path / name)
    return tmp_path / "audit.db"


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    for name in ("audit.db", "audit.db.pub"):
        shutil.copy(original.with_name(name), tmp_path / name)
    return tmp_path / "audit.db"


def changed(path: Path, statement: str, *values: object) -> Report:
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement, values).rowcount != 0
    connection.close()
    return verify(path)


def resigned(path: Path, leaves: list[bytes]) -> Report:
    """Rewrites the log as the holder of the key could, and verifies it."""
    peaks: list[tuple[int, bytes]] = []
    for index, leaf in enumerate(leaves):
        grow(peaks, index, leaf_hash(leaf))
    note = sign_checkpoint(Checkpoint(SIGNER.verifier().name, len(leaves), fold([h for _, h in peaks])), SIGNER)
    rows = [
        (index, entry.get("session", ""), entry["seq"], leaf) for index, leaf in enumerate(leaves) for entry in [loads(leaf)]
    ]
    frontier = b"".join(digest for _, digest in peaks)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX IF EXISTS entries_by_session")
        connection.execute("DELETE FROM entries")
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        if len({row[1:3] for row in rows}) == len(rows):
            connection.execute(TABLES["entries_by_session"])
        connection.execute("UPDATE head SET note = ?, size = ?, frontier = ?", [note, len(leaves), frontier])
    connection.close()
    return verify(path)


def leaves_of(path: Path) -> list[bytes]:
    with Ledger.open(path, read_only=True) as ledger:
        return [leaf for _, leaf in ledger.leaves()]


def test_a_sound_ledger_verifies_and_says_whose_key_it_trusted(path: Path) -> None:
    before = path.read_bytes()
    report = verify(path)
    assert report.is_verified, report.problems
    assert (report.size, report.origin, report.unknown, report.first_bad) == (19, "example.com/log", (6,), None)
    assert not report.key.is_pinned
    assert "audit.db.pub" in report.key.source
    assert "cut off" in report.caveat
    for key in (KEY, path.with_name("audit.db.pub"), str(path.with_name("audit.db.pub"))):
        assert verify(f"sqlite:///{path}", key=key).key.is_pinned
    assert path.read_bytes() == before


def test_a_flipped_byte_anywhere_in_an_entry_names_the_entry(path: Path) -> None:
    leaves = leaves_of(path)
    connection = sqlite3.connect(path, isolation_level=None)
    checked = 0
    for index, leaf in enumerate(leaves):
        for at in range(index % 17, len(leaf), 17):
            flipped = bytearray(leaf)
            flipped[at] ^= 1 << (at % 8)
            connection.execute("UPDATE entries SET leaf = ? WHERE idx = ?", (bytes(flipped), index))
            report = verify(path)
            assert report.first_bad == index
            assert any("differs from the signed checkpoint" in str(p) for p in report.problems)
            checked += 1
        connection.execute("UPDATE entries SET leaf = ? WHERE idx = ?", (leaf, index))
    connection.close()
    assert checked > sum(map(len, leaves)) / 18, "one byte in seventeen"
    assert verify(path).is_verified


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [
        ("head", "note", "id"),
        ("head", "verifier_key", "id"),
        ("head", "size", "id"),
        ("head", "frontier", "id"),
        ("head", "time_us", "id"),
        ("entries", "session", "idx"),
        ("entries", "seq", "idx"),
        ("open_intents", "entry_id", "entry_id"),
        ("open_intents", "idx", "entry_id"),
        ("open_intents", "is_unknown", "entry_id"),
        ("secrets", "idx", "idx, name"),
        ("secrets", "name", "idx, name"),
    ],
)
def test_a_changed_value_in_any_other_column_is_reported(path: Path, table: str, column: str, key: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    keys = key.split(", ")
    rows = connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall()
    assert rows
    for row in rows:
        value = row[-1]
        data = value if isinstance(value, bytes) else str(value).encode()
        for at in range(0, len(data), 11):
            flipped = bytearray(data)
            flipped[at] ^= 1
            new: object = bytes(flipped)
            if isinstance(value, str):
                new = flipped.decode()
            elif isinstance(value, int):
                new = value + 1000
            where = " AND ".join(f"{name} = ?" for name in keys)
            connection.execute("BEGIN")
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (new, *row[:-1]))
            connection.execute("COMMIT")
            report = verify(path)
            assert not report.is_verified, (table, column, row)
            undo = [new if name == column else old for name, old in zip(keys, row, strict=False)]
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value, *undo))
    connection.close()
    assert verify(path).is_verified


def test_a_flipped_byte_anywhere_in_the_file_is_reported_or_says_nothing(path: Path) -> None:
    data, sound = path.read_bytes(), verify(path)
    verdicts = {"reported": 0, "refused": 0, "unused": 0}
    for at in range(0, len(data), 113):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        path.write_bytes(flipped)
        for side in ("-wal", "-shm"):
            path.with_name(path.name + side).unlink(missing_ok=True)
        try:
            report = verify(path)
        except GuardrailsError:
            verdicts["refused"] += 1
            continue
        if report.is_verified:
            assert (report.size, report.root, report.unknown) == (sound.size, sound.root, sound.unknown)
        verdicts["unused" if report.is_verified else "reported"] += 1
    assert verdicts["reported"] > 50, verdicts


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE idx = 18",
        "DELETE FROM entries WHERE idx = 0",
        "DELETE FROM entries",
        "DELETE FROM head",
        "DELETE FROM open_intents",
        "INSERT INTO entries SELECT 1 + max(idx), 'more', 0, leaf FROM entries",
        "INSERT INTO tiles VALUES (0, 19, zeroblob(32), zeroblob(8192))",
        "INSERT INTO tiles VALUES (60, 0, zeroblob(32), zeroblob(8192))",
        "INSERT INTO tiles VALUES ('x', 'y', 'z', 'z')",
        "INSERT INTO entries VALUES (-1, 'z', 0, x'7b7d')",
        "INSERT INTO entries VALUES (5000, 'z', 0, x'7b7d')",
        "INSERT INTO archived_sessions VALUES ('z', 99)",
        "INSERT INTO subjects VALUES (zeroblob(32), 0, 'x')",
        "INSERT INTO open_intents VALUES ('x', 1, 0)",
        "INSERT INTO secrets VALUES (1, 'sql', zeroblob(32), NULL)",
        "INSERT INTO secrets VALUES (99, 'sql', zeroblob(32), NULL)",
        "INSERT INTO secrets VALUES ('x', 5, 7, NULL)",
        "UPDATE secrets SET salt = x'00' WHERE idx = 0",
        "UPDATE secrets SET salt = 5 WHERE idx = 0",
        "UPDATE entries SET leaf = CAST(leaf AS TEXT) WHERE idx = 3",
        "UPDATE entries SET leaf = 5 WHERE idx = 3",
        "UPDATE head SET note = CAST(note AS BLOB) || x'ff'",
        "UPDATE head SET note = x'ff'",
        "CREATE VIEW v AS SELECT 1",
        "CREATE INDEX i ON entries (leaf)",
        "ALTER TABLE entries ADD COLUMN x",
    ],
)
def test_missing_foreign_and_odd_rows_are_reported(path: Path, statement: str) -> None:
    report = changed(path, statement)
    assert not report.is_verified
    assert report.problems


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM tiles WHERE idx = 1",
        "DELETE FROM tiles",
        "UPDATE tiles SET hashes = CAST(hashes AS TEXT)",
        "UPDATE tiles SET hashes = substr(hashes, 1, 8191) || x'ff' WHERE idx = 1",
        "UPDATE tiles SET hashes = substr(hashes, 1, 8160) WHERE idx = 1",
        "UPDATE tiles SET root = zeroblob(32) WHERE idx = 0",
        "UPDATE tiles SET idx = 2 WHERE idx = 1",
        "UPDATE tiles SET level = 1 WHERE idx = 0",
        "UPDATE tiles SET idx = 1 - idx, level = 5",
    ],
)
def test_a_changed_tile_is_reported(long_path: Path, change: str) -> None:
    assert verify(long_path, level="hash").is_verified
    assert not changed(long_path, change).is_verified
    assert not verify(long_path, level="hash").is_verified


def test_a_changed_entry_under_a_full_tile_is_named_from_the_hashes_alone(long_path: Path) -> None:
    changed(long_path, "UPDATE entries SET leaf = x'7b7d' WHERE idx = 300")
    report = verify(long_path, level="hash")
    assert report.first_bad == 300
    assert any(str(p) == "entry 300: leaf hash differs" for p in report.problems)


def test_the_cut_off_tail_is_named(path: Path) -> None:
    report = changed(path, "DELETE FROM entries WHERE idx >= 15")
    assert report.first_bad == 15


def test_entries_beyond_the_signed_size_are_named(path: Path) -> None:
    report = changed(path, "INSERT INTO entries SELECT 1 + max(idx), 'more', 0, leaf FROM entries")
    assert any(p.index == 19 and "beyond the signed size" in p.what for p in report.problems)


def test_damage_of_the_file_outside_the_rows_is_reported(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[39] += 1  # number of free pages in the header
    path.write_bytes(data)
    report = verify(path)
    assert any("damaged" in p.what for p in report.problems)


def test_erased_salts_are_told_apart_from_changes(path: Path) -> None:
    with Ledger.open(path, signer=SIGNER) as ledger:
        assert (ledger.erase_salts(0), ledger.erase_salts(2, "sql")) == (1, 1)
    report = verify(path)
    assert report.is_verified
    assert report.erased == ((0, "sql"), (2, "sql"))
    report = changed(path, "DELETE FROM secrets WHERE idx = 4")
    assert not report.is_verified
    assert report.erased == ((0, "sql"), (2, "sql"), (4, "sql"))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("v", 3, "version"),
        ("id", "short", "id"),
        ("time", "yesterday", "time"),
        ("time", "1999-01-01T00:00:00.000000Z", "time"),
        ("seq", 7, "place in the session"),
        ("seq", True, "place in the session"),
        ("session", 5, "session"),
        ("writer", {"host": "h"}, "writer"),
        ("commitments", {"a": "b"}, "commitments"),
        ("type", "outcome", "no earlier intent"),
    ],
)
def test_even_the_holder_of_the_key_must_keep_to_the_form(path: Path, field: str, value: object, said: str) -> None:
    leaves = leaves_of(path)
    leaves[12] = encode(decode(leaves[12]) | {field: value})
    report = resigned(path, leaves)
    assert not report.is_verified
    assert report.first_bad == 12
    assert any(said in p.what for p in report.problems if p.index == 12)


def test_repeated_entries_and_outcomes_are_reported(path: Path) -> None:
    leaves = leaves_of(path)
    assert any("another place in the log" in p.what for p in resigned(path, [*leaves, leaves[0]]).problems)
    again = encode(decode(leaves[18]) | {"type": "outcome", "intent": decode(leaves[0])["id"]})
    assert any("second outcome" in p.what for p in resigned(path, [*leaves[:18], again]).problems)


def test_an_earlier_state_shows_a_rewritten_log(path: Path, tmp_path: Path) -> None:
    leaves = leaves_of(path)
    pin = (15, root_hash([leaf_hash(leaf) for leaf in leaves[:15]]))
    note = sign_checkpoint(Checkpoint("example.com/log", *pin), SIGNER)
    (tmp_path / "checkpoint").write_text(note)
    report = verify(path, pin=pin, checkpoint=tmp_path / "checkpoint")
    assert report.is_verified
    assert (report.pins, report.caveat) == (2, "")
    assert verify(path, checkpoint=note).pins == 1
    shorter = resigned(path, leaves[:14])
    assert not any("checkpoint" in p.what for p in shorter.problems)
    for options in ({"pin": pin}, {"checkpoint": note}):
        report = verify(path, **options)  # type: ignore[arg-type]
        assert any("ends before this entry" in p.what for p in report.problems)
    rewritten = [*leaves[:18], encode(decode(leaves[18]) | {"text": "y"})]
    rewritten[3] = encode(decode(leaves[3]) | {"rows": 99})
    resigned(path, rewritten)
    assert any("differs from the pinned root" in p.what for p in verify(path, pin=pin).problems)


def test_only_the_trusted_key_counts(path: Path) -> None:
    other = str(Ed25519Signer.generate("example.com/log").verifier())
    report = verify(path, key=other)
    assert not report.is_verified
    assert any("not signed by a trusted key" in p.what for p in report.problems)
    note = sign_checkpoint(Checkpoint("example.com/log", 1, b"r" * 32), Ed25519Signer.generate("example.com/log"))
    with pytest.raises(LedgerError):
        verify(path, checkpoint=note)


def test_what_cannot_be_verified_is_an_error(path: Path) -> None:
    path.with_name("audit.db.pub").unlink()
    for arguments in ((path, None), (path.with_name("none"), KEY), ("sqlite:///:memory:", KEY), (path, "no-such-file")):
        with pytest.raises(UsageError):
            verify(arguments[0], key=arguments[1])
    with pytest.raises(LedgerError):
        verify(path, key="name+00000000+AAAA")
    with pytest.raises(LedgerError):
        verify(path, key=path)


def test_a_folder_that_cannot_be_written_is_enough(path: Path) -> None:
    folder = Path(tempfile.mkdtemp())  # not inside pytest's own, which other users may not enter
    shutil.copy(path, folder / "audit.db")
    (folder / "audit.db").chmod(0o444)
    folder.chmod(0o555)
    try:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:  # root writes anywhere
                    os.setuid(65534)
                status = 0 if verify(folder / "audit.db", key=KEY).is_verified else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sorted(p.name for p in folder.iterdir()) == ["audit.db"]
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_progress_is_told(path: Path) -> None:
    seen: list[tuple[int, int]] = []
    verify(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(19, 19)]


def test_verification_sees_one_state_while_others_append(path: Path) -> None:
    with Ledger.open(path, signer=SIGNER) as ledger:
        seen = []

        def append(done: int, total: int) -> None:
            ledger.append({"during": done})
            seen.append(total)

        report = verify(path, progress=append)
        assert report.is_verified, report.problems
        assert (report.size, ledger.size, seen) == (19, 20, [19])
