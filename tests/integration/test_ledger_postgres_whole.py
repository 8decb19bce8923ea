"""The whole ledger over PostgreSQL: keys, signatures and tree, written by several processes whose connections are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from guardrails.errors import LedgerError, TamperedError
from guardrails.ledger import Ledger
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.migrations import migrate
from guardrails.ledger.verify import verify
from tests.support.ledger_stores import PostgresPlace

SIGNER = Ed25519Signer("postgres.test/log", bytes(range(32)))
KEY = str(SIGNER.verifier())
APPENDERS = """
import sys, threading
from guardrails.errors import LedgerError
from guardrails.ledger import Ledger
from tests.integration.test_ledger_postgres_whole import SIGNER

url, process, threads, count = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])
failed = []

def again(action):
    while True:
        try:
            return action()
        except LedgerError as error:
            if error.code != "ledger.connection_lost":
                raise

def append(ledger, entry):
    return again(lambda: ledger.append(entry))

def run(ledger, session):
    try:
        for n in range(count):
            intent = append(ledger, {"type": "intent", "session": session, "n": n})
            append(ledger, {"type": "outcome", "session": session, "intent": intent.entry_id, "n": n})
    except BaseException as error:
        failed.append(repr(error))

with again(lambda: Ledger.open(url, signer=SIGNER)) as ledger:
    running = [threading.Thread(target=run, args=(ledger, f"{process}-{k}")) for k in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
print(failed)
sys.exit(bool(failed))
"""


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    place = PostgresPlace.new(postgres_url)
    options = {"ledger_schema": place.schema, "application_name": place.schema}
    yield make_url(place.url).update_query_dict(options).render_as_string(hide_password=False)
    place.remove()


def test_a_ledger_in_postgresql_is_like_any_other(url: str) -> None:
    with Ledger.open(url, signer=SIGNER) as ledger:
        intent = ledger.append({"type": "intent", "session": "s"}, private={"sql": b"SELECT 1"})
        ledger.append({"type": "outcome", "session": "s", "intent": intent.entry_id})
        ledger.append_many([{"type": "note", "session": f"s{n % 7}", "n": n} for n in range(600)])
        assert ledger.commitment_holds(0, "sql", b"SELECT 1") is True
        assert ledger.erase_salts(0) == 1
        assert ledger.commitment_holds(0, "sql", b"SELECT 1") is None
        assert len(ledger.tile(0, 1)) == 32 * 256
        root, size = ledger.root, ledger.size
    with Ledger.open(url, signer=SIGNER) as ledger:
        assert (ledger.root, ledger.size, ledger.path) == (root, size, None)
        assert [entry["n"] for entry in ledger.entries(session="s3")] == list(range(3, 600, 7))
    with Ledger.open(url, read_only=True) as ledger:
        assert ledger.root == root
        with pytest.raises(LedgerError):
            ledger.append({"type": "note"})
    report = verify(url, key=KEY, pin=(size, root))
    assert report.is_verified, report.problems
    assert (report.size, report.pins) == (size, 1)


def test_a_ledger_begins_in_tables_that_their_owner_made(url: str) -> None:
    migrate(url)
    with Ledger.open(url, signer=SIGNER) as ledger:
        ledger.append({"type": "note"})
    assert verify(url, key=KEY).is_verified


CHANGES = {
    "an edited entry": "UPDATE {s}.entries SET leaf = set_byte(leaf, 40, get_byte(leaf, 40) # 1) WHERE idx = 300",
    "an entry less": "DELETE FROM {s}.entries WHERE idx = 300",
    "the end cut off": "DELETE FROM {s}.entries WHERE idx >= 500",
    "another session": "UPDATE {s}.entries SET session = 'x' WHERE idx = 300",
    "another place in the session": "UPDATE {s}.entries SET seq = 10000 WHERE idx = 300",
    "two entries swapped": "UPDATE {s}.entries e SET leaf = o.leaf FROM {s}.entries o WHERE e.idx IN (300, 301) AND o.idx = 601 - e.idx",
    "an edited tile": "UPDATE {s}.tiles SET hashes = set_byte(hashes, 77, 1 - get_byte(hashes, 77) % 2) WHERE idx = 1",
    "the frontier": "UPDATE {s}.head SET frontier = set_byte(frontier, 7, 255 - get_byte(frontier, 7))",
    "a salt less": "DELETE FROM {s}.secrets",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_in_the_database_is_found(url: str, change: str) -> None:
    with Ledger.open(url, signer=SIGNER) as ledger:
        ledger.append({"type": "note"}, private={"sql": b"SELECT 1"})
        ledger.append_many([{"type": "note", "session": f"s{n % 7}", "n": n} for n in range(600)])
    parsed = make_url(url)
    plain = parsed.difference_update_query(["ledger_schema"]).render_as_string(hide_password=False)
    PostgresPlace(plain, str(parsed.query["ledger_schema"])).execute(CHANGES[change])
    assert not verify(url, key=KEY).is_verified


def test_an_old_backup_that_is_put_back_is_noticed_by_who_saw_more(url: str) -> None:
    parsed = make_url(url)
    plain = parsed.difference_update_query(["ledger_schema"]).render_as_string(hide_password=False)
    place = PostgresPlace(plain, str(parsed.query["ledger_schema"]))
    with Ledger.open(url, signer=SIGNER) as ledger:
        ledger.append({"type": "note"})
        place.execute("CREATE TABLE public.backup AS SELECT * FROM {s}.head")
        ledger.append({"type": "note"})
        place.execute("DELETE FROM {s}.entries WHERE idx > 0")
        place.execute("UPDATE {s}.head h SET (note, size, frontier) = (SELECT note, size, frontier FROM public.backup)")
        place.execute("DROP TABLE public.backup")
        with pytest.raises(TamperedError):
            ledger.append({"type": "note"})


def test_four_processes_of_eight_threads_keep_their_sessions_while_connections_are_killed(url: str) -> None:
    Ledger.open(url, signer=SIGNER).close()
    seed, count = random.randrange(2**32), 25
    chance = random.Random(seed)
    command = [sys.executable, "-c", APPENDERS, url]
    children = [
        subprocess.Popen([*command, f"p{n}", "8", str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    name = make_url(url).query["application_name"]
    plain = make_url(url).difference_update_query(["ledger_schema", "application_name"])
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s ORDER BY random() LIMIT 1"
    kills = 0
    with closing(psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True)) as connection:
        while any(child.poll() is None for child in children):
            kills += len(connection.execute(query, (name,)).fetchall())
            time.sleep(chance.uniform(0, 0.05))
    for child in children:
        out, errors = child.communicate(timeout=60)
        assert child.returncode == 0, (seed, out, errors)
    assert kills > 10
    report = verify(url, key=KEY)
    assert report.is_verified, report.problems
    assert report.unknown == ()
    with Ledger.open(url, read_only=True) as ledger:
        assert ledger.size == 4 * 8 * count * 2
        for process in range(4):
            for thread in range(8):
                found = [(e["seq"], e["type"], e["n"]) for e in ledger.entries(session=f"p{process}-{thread}")]
                assert found == [(n, ("intent", "outcome")[n % 2], n // 2) for n in range(2 * count)]


def test_no_private_value_is_in_the_database(url: str, tmp_path: Path) -> None:
    planted = "planted-4f1c9d"
    with Ledger.open(url, signer=SIGNER) as ledger:
        ledger.append({"type": "intent", "session": "s"}, private={"sql": f"SELECT '{planted}'".encode()})
    parsed = make_url(url)
    place = PostgresPlace(parsed.difference_update_query(["ledger_schema"]).render_as_string(hide_password=False), "x")
    schema = str(parsed.query["ledger_schema"])
    tables = [
        str(row[0])
        for row in place.execute("SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'", schema)
    ]
    rows = [row for table in tables for row in place.execute(f'SELECT * FROM "{schema}"."{table}"')]
    assert len(tables) == 8
    assert rows
    assert not any(
        planted.encode() in (value if isinstance(value, bytes) else str(value).encode()) for row in rows for value in row
    )
