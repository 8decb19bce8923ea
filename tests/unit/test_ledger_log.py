"""Appending, stamping, linking and reading, on real SQLite files."""

from __future__ import annotations

import sqlite3
import stat
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, ProofError, TamperedError, UsageError
from guardrails.ledger import Ledger, merkle
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import Verifier
from guardrails.ledger.pin import PinStore
from guardrails.ledger.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{path}") as opened:
        yield opened


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> int:
        return int(self.seconds * 1e9)


def test_an_append_is_stamped_and_signed(ledger: Ledger) -> None:
    appended = ledger.append({"type": "note", "session": "s", "text": "é"})
    entry = ledger.entry(0)
    assert (appended.index, appended.entry_id, appended.leaf_hash) == (0, entry["id"], merkle.leaf_hash(ledger.leaf(0)))
    assert {"type", "session", "text", "v", "id", "time", "seq", "writer", "sig"} == entry.keys()
    checkpoint = open_checkpoint(ledger.checkpoint(), Verifier.parse(ledger.verifier_key))
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (ledger.origin, 1, merkle.root_hash([appended.leaf_hash]))
    assert (ledger.size, ledger.root) == (1, checkpoint.root)


def test_sequences_count_within_a_session(ledger: Ledger) -> None:
    for session in ("a", "b", "a", "", "a", None):
        ledger.append({"session": session} if session is not None else {})
    assert [(e.get("session"), e["seq"]) for e in ledger.entries()] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("", 0),
        ("a", 2),
        (None, 1),
    ]
    assert [e["seq"] for e in ledger.entries(session="a")] == [0, 1, 2]
    assert list(ledger.entries(1, 3)) == [ledger.entry(1), ledger.entry(2)]


def test_proofs_from_stored_tiles_equal_those_from_all_leaves(ledger: Ledger) -> None:
    hashes = [a.leaf_hash for a in ledger.append_many({"n": n} for n in range(23))]
    for size in (1, 2, 7, 8, 16, 23):
        assert ledger.root_at(size) == merkle.root_hash(hashes[:size])
        for index in range(size):
            assert ledger.inclusion_proof(index, size) == merkle.inclusion_proof(hashes[:size], index)
        for old in range(1, size + 1):
            assert ledger.consistency_proof(old, size) == merkle.consistency_proof(hashes[:size], old)


def test_what_does_not_exist_is_refused(ledger: Ledger) -> None:
    ledger.append({})
    for read in (
        lambda: ledger.entry(1),
        lambda: ledger.leaf(-1),
        lambda: list(ledger.entries(0, 2)),
        lambda: list(ledger.entries(1, 0)),
    ):
        with pytest.raises(LedgerError) as caught:
            read()
        assert caught.value.code == "ledger.index_range"
    for prove in (
        lambda: ledger.inclusion_proof(1),
        lambda: ledger.inclusion_proof(0, 2),
        lambda: ledger.consistency_proof(0, 1),
    ):
        with pytest.raises(ProofError):
            prove()


def test_many_are_appended_together_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.append_many([{"n": 1}, {"n": 1.5}])
    assert ledger.size == 0
    assert ledger.append_many([]) == []
    assert [a.index for a in ledger.append_many([{"n": 1}, {"n": 2}])] == [0, 1]


@pytest.mark.parametrize(
    "entry", [{"id": "x"}, {"v": 1}, {"time": ""}, {"seq": 0}, {"writer": {}}, {"commitments": {}}, {"session": 5}]
)
def test_stamps_cannot_be_given(ledger: Ledger, entry: dict[str, object]) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.append(entry)
    assert caught.value.code == "ledger.entry_invalid"
    assert ledger.size == 0


@pytest.mark.parametrize("session", ["a\0b", "💥", "'; --", "x" * 60_000])
def test_any_session_name_is_recorded(ledger: Ledger, path: Path, session: str) -> None:
    ledger.append_many([{"session": session}, {"session": session}])
    assert [e["seq"] for e in ledger.entries(session=session)] == [0, 1]
    assert verify(path).is_verified


@pytest.mark.parametrize("session", ["\ud800", "x" * 70_000])
def test_session_names_outside_the_profile_are_refused(ledger: Ledger, session: str) -> None:
    with pytest.raises(LedgerError) as caught:
        ledger.append({"session": session})
    assert caught.value.code == "ledger.entry_invalid"


def test_private_values_are_committed_to_and_not_stored(ledger: Ledger, path: Path) -> None:
    secret = b"SELECT 'ana@example.com'"
    ledger.append({"type": "intent"}, private={"sql": secret})
    commitment = ledger.entry(0)["commitments"]
    assert isinstance(commitment, dict)
    assert len(commitment["sql"]) == 64
    assert commitment["sql"] != sha256(secret).hexdigest()
    assert ledger.commitment_holds(0, "sql", secret) is True
    assert ledger.commitment_holds(0, "sql", b"other") is False
    assert ledger.commitment_holds(0, "params", secret) is None
    salt = sqlite3.connect(path).execute("SELECT salt FROM secrets").fetchone()[0]
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert salt in stored
    assert b"ana@example.com" not in stored
    assert ledger.erase_salts(0) == 1
    assert ledger.commitment_holds(0, "sql", secret) is None
    ledger.close()
    assert salt not in b"".join(file.read_bytes() for file in path.parent.iterdir())
    report = verify(path)
    assert report.is_verified
    assert report.erased == ((0, "sql"),)


def test_private_values_are_bytes(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.append({}, private={"sql": "text"})  # type: ignore[dict-item]
    with pytest.raises(LedgerError):
        ledger.append({}, private={"é": b""})
    assert ledger.size == 0


def test_outcomes_close_their_intent(ledger: Ledger, path: Path) -> None:
    intent = ledger.append({"type": "intent"}).entry_id
    assert verify(path).unknown == (0,)
    ledger.append({"type": "outcome", "intent": intent})
    for bad in (intent, "0" * 32, None, 5):
        with pytest.raises(LedgerError, match="intent"):
            ledger.append({"type": "outcome", "intent": bad})
    with pytest.raises(LedgerError):
        ledger.append({"type": "outcome.failed"})
    report = verify(path)
    assert report.is_verified
    assert report.unknown == ()
    assert ledger.recover(force=True) == ()


def test_recover_leaves_running_writers_alone(ledger: Ledger, path: Path) -> None:
    intent = ledger.append({"type": "intent", "session": "s"}).entry_id
    assert ledger.recover() == ()
    (given_up,) = ledger.recover(force=True)
    entry = ledger.entry(given_up.index)
    assert (entry["type"], entry["intent"], entry["session"]) == ("outcome.unknown", intent, "s")
    assert ledger.recover(force=True) == ()
    with pytest.raises(LedgerError):
        ledger.append({"type": "outcome.unknown", "intent": intent})
    assert verify(path).unknown == (0,)
    ledger.append({"type": "outcome", "intent": intent})  # it was still running after all
    assert verify(path).unknown == ()
    assert verify(path).is_verified


def test_the_clock_may_lag_a_little_but_not_go_back(path: Path) -> None:
    clock = Clock()
    with Ledger.open(path, clock_ns=clock) as ledger:
        ledger.append({})
        clock.seconds -= 4
        ledger.append({})
        assert ledger.entry(0)["time"] == ledger.entry(1)["time"]
        clock.seconds -= 2
        with pytest.raises(LedgerError) as caught:
            ledger.append({})
        assert caught.value.code == "ledger.clock_backwards"
        assert ledger.size == 2
        clock.seconds += 7
        ledger.append({})
    assert verify(path).is_verified


def test_the_key_is_beside_the_ledger_and_not_inside(ledger: Ledger, path: Path) -> None:
    ledger.append({})
    key = path.with_name("audit.db.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.with_name("audit.db.pub").read_text() == ledger.verifier_key + "\n"
    encoded = key.read_text().strip().split("+", 4)[4]  # base64 may itself hold a plus
    seed = b64decode(encoded)[1:]
    assert len(seed) == 32
    for file in path.parent.iterdir():
        if file != key:
            data = file.read_bytes()
            assert encoded.encode() not in data
            assert seed not in data
    ledger.close()
    key.rename(key.with_suffix(".away"))
    with pytest.raises(LedgerError) as caught:
        Ledger.open(path)
    assert caught.value.code == "ledger.key_missing"
    assert not key.exists()
    with Ledger.open(path, read_only=True) as reader:
        assert reader.size == 1
        for write in (lambda: reader.append({}), reader.recover, lambda: reader.erase_salts(0)):
            with pytest.raises(LedgerError):
                write()
    key.with_suffix(".away").rename(key)
    key.chmod(0o640)
    with pytest.raises(LedgerError, match="mode 640"):
        Ledger.open(path)


def test_another_key_is_refused(ledger: Ledger, path: Path) -> None:
    ledger.append({})
    with pytest.raises(LedgerError) as caught:
        Ledger.open(path, signer=Ed25519Signer.generate(ledger.origin))
    assert caught.value.code == "ledger.key_missing"


def test_a_signer_and_an_origin_can_be_given(tmp_path: Path) -> None:
    signer = Ed25519Signer.generate("example.com/log")
    with Ledger.open(tmp_path / "a.db", signer=signer) as ledger:
        ledger.append({})
        assert ledger.checkpoint().startswith("example.com/log\n1\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.db", "a.db.pub"]
    with Ledger.open(tmp_path / "b.db", origin="example.com/b") as ledger:
        assert ledger.origin == "example.com/b"
    for options in ({"origin": "example.com/c"}, {"origin": "example.com/c", "read_only": True}):
        with pytest.raises(UsageError):
            Ledger.open(tmp_path / "b.db", **options)  # type: ignore[arg-type]


def test_an_emptied_or_deleted_ledger_is_not_begun_anew(ledger: Ledger, path: Path) -> None:
    ledger.append({})
    ledger.close()
    path.write_bytes(b"")
    with pytest.raises(TamperedError):
        Ledger.open(path)
    path.unlink()
    with pytest.raises(TamperedError):
        Ledger.open(path)


def copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def test_a_ledger_set_back_under_a_running_writer_is_noticed(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append_many([{}, {}])
        copy_database(path, tmp_path / "old.db")
        ledger.append({})
        copy_database(tmp_path / "old.db", path)
        with pytest.raises(TamperedError):
            ledger.append({})
        with pytest.raises(TamperedError):
            _ = ledger.size
    assert verify(path).size == 2


def test_a_fork_of_the_log_under_a_running_writer_is_noticed(path: Path, tmp_path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.append_many([{}, {}])
        copy_database(path, tmp_path / "old.db")
        ledger.append({"fork": "left"})
        copy_database(tmp_path / "old.db", path)
        with Ledger.open(path) as other:
            other.append_many([{"fork": "right"}, {}])
        with pytest.raises(TamperedError):
            ledger.append({})


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tiles SET root = zeroblob(32) WHERE level = 0 AND idx = 1",
        "UPDATE tiles SET root = 'text' WHERE level = 0",
        "DELETE FROM tiles WHERE idx = 1",
        "UPDATE head SET frontier = zeroblob(64)",
        "UPDATE head SET size = size - 1",
        "UPDATE head SET verifier_key = verifier_key || 'x'",
        "UPDATE entries SET leaf = x'7b7d' WHERE idx = 514",
        "UPDATE entries SET leaf = 'text' WHERE idx = 514",
        "DELETE FROM entries WHERE idx = 514",
        "DELETE FROM head",
        "UPDATE head SET note = replace(note, char(10) || '515' || char(10), char(10) || '514' || char(10))",
        "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM secrets; END",
    ],
)
def test_nothing_is_signed_over_a_changed_ledger(ledger: Ledger, path: Path, change: str) -> None:
    ledger.append_many([{}] * 515)
    ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(TamperedError), Ledger.open(path) as opened:
        opened.append({})
    assert not verify(path).is_verified
    assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:", "sqlite:///a?mode=ro", "", "sqlite:///", "mysql://x"])
def test_urls_of_other_kinds_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Ledger.open(url)
    assert caught.value.code == "usage.database_unsupported"


def test_files_that_are_not_ledgers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is not a database, it is a text of some length\n" * 100)
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    for name in ("text", "other.db", ".", "missing/audit.db"):
        with pytest.raises(LedgerError) as caught:
            Ledger.open(tmp_path / name)
        assert caught.value.code == "ledger.unavailable"
    for name in ("text", "other.db"):
        with pytest.raises(LedgerError):
            Ledger.open(tmp_path / name, read_only=True)
        with pytest.raises(LedgerError):
            verify(tmp_path / name, key="k+00000000+AA==")
    with pytest.raises(UsageError):
        Ledger.open(tmp_path / "none.db", read_only=True)
    assert not (tmp_path / "other.db.key").exists()


def test_a_closed_ledger_refuses(ledger: Ledger) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.append({})


def test_relative_paths_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Ledger.open("sqlite:///here.db").close()
    assert (tmp_path / "here.db").exists()
    with Ledger.open("sqlite:///:memory:") as ledger:
        ledger.append({})
        assert ledger.size == 1
    assert not (tmp_path / ":memory:").exists()


def test_commits_are_synchronised_to_the_disk(ledger: Ledger) -> None:
    connection = ledger._store._connection
    assert connection is not None
    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "secure_delete")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_threads_share_a_ledger(ledger: Ledger, path: Path) -> None:
    def work(name: str) -> None:
        for n in range(25):
            intent = ledger.append({"type": "intent", "session": name, "n": n})
            ledger.append({"type": "outcome", "session": name, "intent": intent.entry_id})
            assert ledger.size > intent.index

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.size == 200
    report = verify(path)
    assert report.is_verified, report.problems
    assert report.unknown == ()


def test_a_long_log_is_proved_without_reading_it(ledger: Ledger) -> None:
    ledger.append_many({"n": n} for n in range(3000))
    started = time.perf_counter()
    ledger.inclusion_proof(17)
    short = time.perf_counter() - started
    started = time.perf_counter()
    list(ledger.leaves())
    assert short < (time.perf_counter() - started) / 5


def test_a_pin_outside_tells_of_an_old_backup(path: Path, tmp_path: Path) -> None:
    pins = PinStore(tmp_path / "pins")
    with Ledger.open(path, pins=pins) as ledger:
        ledger.append({})
    copy_database(path, tmp_path / "old.db")
    with Ledger.open(path, pins=pins) as ledger:
        ledger.append_many([{}] * 300)
    with Ledger.open(path, pins=pins) as ledger:
        assert ledger.size == 301
    copy_database(tmp_path / "old.db", path)
    with pytest.raises(TamperedError) as caught:
        Ledger.open(path, pins=pins)
    assert {"pinned", "note"} <= caught.value.evidence.keys()
    with Ledger.open(path) as ledger:
        ledger.append_many([{"another": "past"}] * 400)
    with pytest.raises(TamperedError):
        Ledger.open(path, pins=pins, read_only=True)
