"""A stored ledger with one byte flipped, a page moved, a row changed or an old state put back: caught, or nothing is different.

A small ledger is closed cleanly, so that it is one file, and spoiled on a copy. What `verify` does not catch must read back equal:
every entry, the checkpoint, roots, proofs and commitments.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from guardrails.errors import GuardrailsError
from guardrails.ledger import Ledger, Private
from guardrails.ledger.entry import decode
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.verify import verify

KEY = Ed25519Signer("example.com/log", b"f" * 32)
PRIVATE = {"sql": b"SELECT name FROM customers", "params": b"(7,)"}
QUARTERS = 4
VERIFY_EVERY = 100
"""Of the bytes that change nothing in SQLite's eyes, one in so many is verified all the same."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: tens of thousands of states are verified."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as made:
        yield Path(made)


@pytest.fixture
def path(folder: Path) -> Path:
    path = folder / "audit.db"
    with Ledger.open(path, signer=KEY, vault_key=b"v" * 32) as ledger:
        for n in range(4):
            kept = Private(b"ana@example.com", keep=True, subjects=("ana",))
            intent = ledger.append({"type": "intent", "session": f"s{n % 2}", "n": n}, private={**PRIVATE, "who": kept})
            if n != 3:
                ledger.append({"type": "outcome", "session": f"s{n % 2}", "intent": intent.entry_id})
        ledger.append_many({"type": "note", "text": f"note {n}"} for n in range(4))
    assert sorted(p.name for p in folder.iterdir()) == ["audit.db", "audit.db.pub"]
    return path


State = dict[str, object]


def state(path: Path) -> State:
    """Everything that a ledger says."""
    with Ledger.open(path, read_only=True, vault_key=b"v" * 32) as ledger:
        leaves = [leaf for _, leaf in ledger.leaves()]
        sizes = range(1, len(leaves) + 1)
        sessions = sorted({str(decode(leaf).get("session", "")) for leaf in leaves})
        named = [(n, name) for n, leaf in enumerate(leaves) for name in dict(decode(leaf).get("commitments", {}))]  # type: ignore[call-overload]
        return {
            "leaves": leaves,
            "sessions": [list(ledger.leaves(session=session)) for session in sessions],
            "checkpoint": ledger.checkpoint(),
            "key": ledger.verifier_key,
            "roots": [ledger.root_at(size) for size in sizes],
            "inclusion": [ledger.inclusion_proof(size - 1) for size in sizes],
            "consistency": [ledger.consistency_proof(size) for size in sizes],
            "commitments": [(n, name, ledger.commitment_holds(n, name, PRIVATE.get(name, b""))) for n, name in named],
            "kept": [(n, name, ledger.kept(n, name)) for n, name in named],
        }


def judge(path: Path, sound: State) -> str:
    """Returns what became of a spoiled ledger.

    ``reported`` or ``refused`` by `verify`, ``crashed`` where that ended by an error of another kind than the library's; ``denied``
    where only commitments or kept values are other, which is seen when they are asked for; ``unchanged``.

    Raises:
        AssertionError: It verifies and says something else than before.
    """
    for side in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    try:
        report = verify(path)
    except GuardrailsError:
        return "refused"
    except TypeError:
        return "crashed"
    if not report.is_verified or report.erased:
        return "reported"
    try:
        found = state(path)
    except GuardrailsError as error:
        assert "kept" in str(error), f"verified, and then: {error.diagnostics()}"
        return "denied"
    different = {name for name in sound if found[name] != sound[name]}
    assert different <= {"commitments", "kept"}, f"silently different: {different}"
    return "denied" if different else "unchanged"


def content(path: Path) -> object:
    """Returns all that SQLite reads in a file, None where it finds it damaged."""
    with (
        suppress(sqlite3.Error, UnicodeDecodeError),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database,
    ):
        database.text_factory = bytes
        pragmas = [database.execute(f"PRAGMA {name}").fetchall() for name in ("user_version", "application_id", "journal_mode")]
        schema = database.execute("SELECT * FROM sqlite_master").fetchall()
        tables = [row[1].decode() for row in schema if row[0] == b"table"]
        rows = [database.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables]
        return pragmas, schema, rows, database.execute("PRAGMA integrity_check").fetchall()
    return None


def flip(path: Path, positions: range, masks: range, sound: State, *, verify_every: int) -> Counter[str]:
    """Flips bits at each position on the file itself, judges, and puts them back."""
    data, before = path.read_bytes(), content(path)
    verdicts: Counter[str] = Counter()
    for at in positions:
        for bit in masks:
            # One bit of each byte, another one from byte to byte, where only one is asked for.
            mask = 1 << (bit if len(masks) > 1 else at * 5 % 8)
            _put(path, at, data[at] ^ mask)
            if at % verify_every and content(path) == before:
                verdicts["unused"] += 1
            else:
                try:
                    verdicts[judge(path, sound)] += 1
                except AssertionError as error:
                    raise AssertionError(f"byte {at}, mask {mask:#x}: {error}") from error
            _put(path, at, data[at])
    assert path.read_bytes() == data
    return verdicts


def _put(path: Path, at: int, value: int) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, bytes([value]), at)
    os.close(descriptor)


@pytest.mark.parametrize("quarter", range(QUARTERS))
def test_every_byte_of_the_file_is_caught_or_says_nothing(path: Path, quarter: int) -> None:
    size = path.stat().st_size
    positions = range(quarter, size, QUARTERS)
    verdicts = flip(path, positions, range(1), state(path), verify_every=VERIFY_EVERY)
    assert verdicts.total() == len(positions)
    assert verdicts["reported"] + verdicts["refused"] > 1500, verdicts
    # Tests below hold what should not be: salts and kept values that nothing vouches for, and a name of another type.
    assert verdicts["denied"] < 200, verdicts
    assert verdicts["crashed"] < 20, verdicts


@pytest.mark.fuzz
@pytest.mark.parametrize("quarter", range(QUARTERS))
def test_every_bit_of_the_file_is_caught_or_says_nothing(path: Path, quarter: int) -> None:
    size = path.stat().st_size
    verdicts = flip(path, range(quarter, size, QUARTERS), range(8), state(path), verify_every=1)
    assert verdicts.total() == 2 * size
    print(verdicts)


def test_every_bit_of_the_public_key_is_caught(path: Path) -> None:
    public = path.with_name("audit.db.pub")
    data, sound = public.read_bytes(), state(path)
    for at, bit in itertools.product(range(len(data)), range(8)):
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        public.write_bytes(changed)
        assert judge(path, sound) in ("refused", "reported"), (at, bit)


def side_table(path: Path) -> tuple[str, list[str], list[Row]]:
    """Returns the table with the salts, whatever its name is."""
    return next(found for found in stored(path) if "salt" in found[1])


@pytest.mark.xfail(
    strict=True, reason="nothing in the tree vouches for a salt: a changed one verifies, and the commitment is denied"
)
def test_a_changed_salt_is_reported(path: Path) -> None:
    """Whoever can write the file can so repudiate what an entry committed to, and no verification says so."""
    table, columns, rows = side_table(path)
    changed = list(rows[0])
    changed[columns.index("salt")] = bytes(32)
    assert replace_rows(path, table, columns, [tuple(changed), *rows[1:]])
    assert not verify(path).is_verified


@pytest.mark.xfail(strict=True, reason="nothing in the tree says that a value was kept: one that is gone verifies")
def test_a_kept_value_that_is_gone_is_reported(path: Path) -> None:
    table, columns, rows = side_table(path)
    sealed = columns.index("sealed")
    assert replace_rows(path, table, columns, [(*row[:sealed], None, *row[sealed + 1 :]) for row in rows])
    assert not verify(path).is_verified


@pytest.mark.xfail(strict=True, raises=TypeError, reason="the audit takes every name in the side table for text")
def test_a_name_of_another_type_is_reported(path: Path) -> None:
    # SQLite's record format: 19 is a text of 3 bytes, 76 a blob of 32; 3 is an integer of 3 bytes.
    found = re.search(rb"\x13\x4c..?sql", path.read_bytes(), re.DOTALL)
    assert found
    _put(path, found.start(), 3)
    assert not verify(path).is_verified


@pytest.mark.xfail(
    strict=True, reason="nothing in the tree vouches for whom a value is about: erasing a person then misses values"
)
def test_an_erasure_that_would_miss_something_is_reported(path: Path) -> None:
    for table, columns, _ in stored(path):
        if "subject" in columns:
            replace_rows(path, table, columns, [])
    assert not verify(path).is_verified


Row = tuple[object, ...]


def stored(path: Path) -> list[tuple[str, list[str], list[Row]]]:
    """Returns (table, columns, rows) of every table, whichever there are."""
    with closing(sqlite3.connect(path)) as database:
        names = [
            r[0] for r in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        ]
        found = []
        for name in names:
            columns = [r[1] for r in database.execute(f'PRAGMA table_info("{name}")')]
            found.append((name, columns, database.execute(f'SELECT * FROM "{name}"').fetchall()))
        return found


def replace_rows(path: Path, table: str, columns: list[str], rows: list[Row]) -> bool:
    """Puts rows in place of a table's; returns False where the table's own constraints do not let them in."""
    with closing(sqlite3.connect(path)) as database:
        try:
            with database:
                database.execute(f'DELETE FROM "{table}"')
                database.executemany(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(columns))})', rows)
        except sqlite3.IntegrityError:
            return False
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return True


def spoiled_rows(rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yields rows deleted, doubled, swapped, and with one column swapped between neighbours."""
    for at, row in enumerate(rows):
        yield "deleted", rows[:at] + rows[at + 1 :]
        yield "doubled", [*rows, row]
        for column, value in enumerate(row):
            if isinstance(value, int):
                yield "doubled elsewhere", [*rows, (*row[:column], value + 1000, *row[column + 1 :])]
                yield "moved", [*rows[:at], (*row[:column], value + 1000, *row[column + 1 :]), *rows[at + 1 :]]
            if value is not None:
                yield "emptied", [*rows[:at], (*row[:column], None, *row[column + 1 :]), *rows[at + 1 :]]
        if at:
            for column in range(len(row)):
                one, other = list(rows[at - 1]), list(row)
                one[column], other[column] = other[column], one[column]
                yield "swapped", [*rows[: at - 1], tuple(one), tuple(other), *rows[at + 1 :]]
    if rows:
        yield "all deleted", []


def test_rows_deleted_doubled_or_swapped_in_any_table_are_caught(path: Path) -> None:
    sound = state(path)
    verdicts: Counter[tuple[str, str]] = Counter()
    tables = stored(path)
    for table, columns, rows in tables:
        for name, changed in spoiled_rows(rows):
            if not replace_rows(path, table, columns, changed):
                verdicts[name, "kept out"] += 1
                continue
            # Whom a value is about is told by the test above.
            if "subject" not in columns:
                verdict = judge(path, sound)
                verdicts[name, verdict] += 1
                if verdict == "unchanged":
                    assert stored(path) == tables, (table, name)
        assert replace_rows(path, table, columns, rows)
        assert judge(path, sound) == "unchanged", table
    assert sum(n for (_, verdict), n in verdicts.items() if verdict in ("reported", "refused")) > 100, verdicts


def test_a_truncated_file_is_caught(path: Path) -> None:
    data, sound = path.read_bytes(), state(path)
    cuts = {*range(0, len(data), 512), *(len(data) - n for n in (1, 2, 100)), 1, 99, 100}
    for cut in sorted(cuts - {len(data)}):
        path.write_bytes(data[:cut])
        assert judge(path, sound) in ("refused", "reported"), cut
        with suppress(GuardrailsError), Ledger.open(path, signer=KEY, vault_key=b"v" * 32) as ledger:
            ledger.append({"type": "note"})  # where it comes to that, the damage stays visible
        assert judge(path, sound) in ("refused", "reported"), cut
    path.write_bytes(data)
    assert judge(path, sound) == "unchanged"


def test_exchanged_and_overwritten_pages_are_caught(path: Path) -> None:
    data, sound = path.read_bytes(), state(path)
    size = int.from_bytes(data[16:18], "big")
    pages = [data[at : at + size] for at in range(0, len(data), size)]
    verdicts: Counter[str] = Counter()
    for one, other in itertools.combinations(range(len(pages)), 2):
        if pages[one] == pages[other]:
            continue
        exchanged, overwritten = list(pages), list(pages)
        exchanged[one], exchanged[other] = pages[other], pages[one]
        overwritten[other] = pages[one]
        for changed in (exchanged, overwritten):
            path.write_bytes(b"".join(changed))
            verdicts[judge(path, sound)] += 1
    path.write_bytes(data)
    # An empty page in the place of another changes nothing.
    assert verdicts["reported"] + verdicts["refused"] + verdicts["unchanged"] == verdicts.total(), verdicts
    assert verdicts["reported"] + verdicts["refused"] > 40 * verdicts["unchanged"] > 0 or not verdicts["unchanged"], verdicts


def test_an_old_copy_is_caught_by_whoever_remembers(path: Path, folder: Path) -> None:
    """Alone it verifies, and the report says what it cannot tell; a pin, a checkpoint or an open ledger shows it."""
    old = path.read_bytes()
    with Ledger.open(path, signer=KEY, vault_key=b"v" * 32) as ledger:
        ledger.append({"type": "note"})
        ledger.append({"type": "note"})
        note, pin = ledger.checkpoint(), (ledger.size, ledger.root)
    new = path.read_bytes()
    assert verify(path, pin=pin, checkpoint=note).is_verified
    path.write_bytes(old)
    alone = verify(path)
    assert alone.is_verified
    assert "cut off" in alone.caveat
    for remembered in (verify(path, pin=pin), verify(path, checkpoint=note)):
        assert not remembered.is_verified
        assert remembered.first_bad == alone.size
        assert remembered.problems
    # A rewritten end: the old state goes on otherwise.
    with Ledger.open(path, signer=KEY, vault_key=b"v" * 32) as ledger:
        for n in range(3):
            ledger.append({"type": "note", "other": n})
    assert verify(path).is_verified
    assert not verify(path, pin=pin).is_verified
    assert not verify(path, checkpoint=note).is_verified
    # A process that has the ledger open remembers by itself.
    path.write_bytes(new)
    with Ledger.open(path, signer=KEY, vault_key=b"v" * 32) as ledger:
        assert ledger.size == pin[0]
        other = folder / "old.db"
        other.write_bytes(old)
        with closing(sqlite3.connect(other)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
        with pytest.raises(GuardrailsError):
            ledger.append({"type": "note"})


def test_another_key_pair_is_caught_by_whoever_knows_the_key(path: Path, folder: Path) -> None:
    known = str(KEY.verifier())
    home = folder / "forged"
    home.mkdir()
    forged = home / "audit.db"
    with Ledger.open(path, read_only=True) as sound:
        entries = [decode(leaf) for _, leaf in sound.leaves()]
    with Ledger.open(forged, signer=Ed25519Signer("example.com/log", b"g" * 32)) as ledger:
        ledger.append_many({"type": "note", "n": n} for n in range(len(entries)))
    assert verify(forged).is_verified, "it is another log, sound in itself"
    report = verify(forged, key=known)
    assert not report.is_verified
    assert report.key.is_pinned
    # Only the public key exchanged, or only the file.
    sound_file, sound_key = path.read_bytes(), path.with_name("audit.db.pub").read_bytes()
    path.with_name("audit.db.pub").write_bytes(forged.with_name("audit.db.pub").read_bytes())
    assert not verify(path).is_verified
    with pytest.raises(GuardrailsError):
        Ledger.open(path, signer=KEY).close()
    path.with_name("audit.db.pub").write_bytes(sound_key)
    path.write_bytes(forged.read_bytes())
    assert not verify(path).is_verified
    path.write_bytes(sound_file)
    with pytest.raises(GuardrailsError):
        Ledger.open(path, signer=Ed25519Signer("example.com/log", b"g" * 32)).close()
    assert verify(path, key=known).is_verified


def test_a_replayed_entry_is_caught(path: Path) -> None:
    """An entry put in once more, in the place of another or behind the last, with all that stands beside it."""
    sound = state(path)
    chance = random.Random(1)
    for table, columns, rows in stored(path):
        if not any(isinstance(value, bytes) and value.startswith(b"{") for row in rows for value in row):
            continue
        leaf = next(n for n, value in enumerate(rows[0]) if isinstance(value, bytes) and value.startswith(b"{"))
        for _ in range(20):
            source, target = chance.sample(range(len(rows)), 2)
            changed = list(rows[target])
            changed[leaf] = rows[source][leaf]
            assert replace_rows(path, table, columns, [*rows[:target], tuple(changed), *rows[target + 1 :]])
            assert judge(path, sound) in ("reported", "refused")
        last = [value + 1 if isinstance(value, int) else value for value in rows[-1]]
        assert replace_rows(path, table, columns, [*rows, tuple(last)])
        assert judge(path, sound) in ("reported", "refused")
        return
    pytest.fail("no table holds the entries' bytes")


def test_the_copy_of_a_sound_ledger_is_sound(path: Path, folder: Path) -> None:
    copy = folder / "copy" / "audit.db"
    copy.parent.mkdir()
    for name in ("audit.db", "audit.db.pub"):
        shutil.copy(path.with_name(name), copy.with_name(name))
    assert judge(copy, state(path)) == "unchanged"
