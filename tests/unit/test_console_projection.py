"""The projection says what the ledger says: however it is folded, after a change of the ledger, past damage, and on either database."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.console_ledger import build
from guardrails.console.projection import Projection
from guardrails.console.projection.folding import DAMAGED, GRAINS, bin_bounds, fold, latency_bin
from guardrails.console.projection.queries import Queries
from guardrails.console.projection.rows import SessionFilter
from guardrails.console.projection.shown import shown_columns
from guardrails.errors import UsageError
from guardrails.ledger import Ledger, SessionKey
from guardrails.ledger.keys import Ed25519Signer

EVER = {"since_s": 0, "until_s": 1 << 40, "step_s": 0}
TABLES = ("state", "entries", "kinds", "people", "sessions", "links", "rules", "tallies")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("projection") / "audit.db"
    build(path, 900, side_by_side=10)
    return path


@pytest.fixture(scope="module")
def ledger(filled: Path) -> Iterator[Ledger]:
    with Ledger.open(filled, read_only=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def queries(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queries]:
    with Projection.open(ledger, tmp_path_factory.mktemp("beside") / "audit.db") as projection:
        assert projection.refresh() == ledger.size == projection.size
        yield Queries(projection)


def content(projection: Projection) -> dict[str, list[tuple[Any, ...]]]:
    with projection.reading() as connection:
        found = {name: list(connection.execute(getattr(projection.tables, name).select())) for name in TABLES}
    names = {table: {row.no: row.name for row in found.pop(table)} for table in ("kinds", "people")}
    found["entries"] = [
        (row.idx, names["kinds"][row.kind], row.session, names["people"].get(row.principal), row.time_us)
        for row in found["entries"]
    ]
    return {name: sorted((tuple(row) for row in rows), key=repr) for name, rows in found.items()}


def test_figures_are_what_a_count_of_all_entries_gives(ledger: Ledger, queries: Queries) -> None:
    entries = list(ledger.entries())
    decided = [entry["decision"] for entry in entries if "decision" in entry]
    effects = Counter(decision["effect"] for decision in decided)
    assert {tally.name: tally.count for tally in queries.tallies("decision", **EVER)} == dict(effects)
    refused = Counter((d["reasons"][0]["code"], d["reasons"][0]["rule"]) for d in decided if d["effect"] == "deny")
    assert {(t.subject, t.name): t.count for t in queries.tallies("refusal", **EVER)} == dict(refused)
    ended = Counter(entry["status"] for entry in entries if entry["type"] == "outcome")
    assert {tally.name: tally.count for tally in queries.tallies("outcome", **EVER)} == dict(ended)
    masked = Counter(
        (entry["principal"]["id"], mask["column"])
        for entry in entries
        if entry["type"] == "intent"
        for mask in entry["decision"]["masks"]
    )
    for grain in GRAINS:
        found = {(t.subject, t.name): t.count for t in queries.tallies(f"masked.{grain}", **EVER, limit=100_000)}
        assert found == dict(masked)
        shown = shown_columns(queries.projection, grain, 0, 1 << 40, most_people=10**6, most_columns=10**6)
        assert {key: found["masked"] for key, found in shown.counts.items() if "masked" in found} == dict(masked)
    people, columns = (Counter(key[part] for key in masked.elements()) for part in (0, 1))
    few = shown_columns(queries.projection, "all", 0, 1, protected=["customers.column_1"], most_people=3, most_columns=4)
    assert (len(few.people), len(few.columns)) == (3, 4)
    assert set(few.columns) <= set(columns) | {"customers.column_1"}
    assert set(few.people) <= set(people)
    assert sum(row.count for row in queries.latencies(since_s=0, until_s=1 << 40)) == ended["ok"]
    hits = Counter(decision["rules"][0] for decision in decided)
    assert {hit.rule: hit.allowed + hit.refused for hit in queries.rule_hits()} == dict(hits)
    last = max(queries.rule_hits(), key=lambda hit: hit.last)
    assert last.rule == ledger.entry(last.last)["decision"]["rules"][0]


def test_sessions_are_what_their_entries_say(ledger: Ledger, queries: Queries) -> None:
    sessions = queries.sessions(limit=1000)
    assert [row.first for row in sessions] == sorted((row.first for row in sessions), reverse=True)
    assert {row.id for row in sessions} == {entry["session"] for entry in ledger.entries() if "session" in entry}
    for row in sessions[:5]:
        own = list(ledger.entries(session=row.id))
        kinds = Counter(entry["type"] for entry in own)
        assert (row.statements, row.refused, row.messages) == (kinds["intent"], kinds["refusal"], kinds["message"])
        assert row.rows == sum(entry.get("rows", 0) for entry in own)
        assert (row.principal, row.agent) == (own[0]["principal"]["id"], own[0]["agent"]["name"])
        assert queries.session(row.id) == row


@pytest.mark.parametrize("wanted", [{}, {"kind": "refusal"}, {"principal": True}, {"principal": True, "kind": "outcome"}])
def test_paging_shows_every_entry_once(ledger: Ledger, queries: Queries, wanted: dict[str, Any]) -> None:
    people = {row.id: row.principal for row in queries.sessions(limit=1000)}
    someone = next(iter(people.values()))
    given_filter = {name: someone if value is True else value for name, value in wanted.items()}
    expected = [
        index
        for index, entry in enumerate(ledger.entries())
        if given_filter.get("kind", entry["type"]) == entry["type"]
        and given_filter.get("principal", people.get(entry["session"])) == people.get(entry["session"])
    ]
    found: list[int] = []
    before = None
    while rows := queries.entries(**given_filter, before=before, limit=37):
        found += [row.index for row in rows]
        before = found[-1]
    assert found == expected[::-1]
    found, after = [], -1
    while rows := queries.entries(**given_filter, after=after, limit=211):
        found += [row.index for row in rows]
        after = found[-1]
    assert found == expected


def test_sessions_are_found_by_principal_agent_and_conversation(queries: Queries) -> None:
    row = queries.sessions()[0]
    for name in ("principal", "agent", "conversation"):
        found = queries.sessions(SessionFilter(**{name: getattr(row, name)}), limit=1000)
        assert found
        assert {getattr(one, name) for one in found} == {getattr(row, name)}
    assert queries.sessions(SessionFilter(principal="nobody@example.com")) == []


def test_a_moment_is_found_without_reading_all(ledger: Ledger, queries: Queries) -> None:
    rows = queries.entries(after=-1, limit=1000)
    for row in rows[::97]:
        index = queries.index_at(row.time_us)
        assert index is not None
        assert index <= row.index
        assert rows[index].time_us == row.time_us
    assert queries.index_at(1 << 62) is None
    assert queries.index_at(0) == 0


def test_any_way_of_folding_gives_the_same(ledger: Ledger, tmp_path: Path) -> None:
    with Projection.open(ledger, tmp_path / "whole.db") as whole, Projection.open(ledger, tmp_path / "parts.db") as parts:
        whole.refresh()
        for count in (1, 7, 64, 300, 5, 10_000):
            parts.refresh(count)
        assert parts.refresh() == 0
        assert content(parts) == content(whole)


def test_two_who_fold_at_once_count_nothing_twice(filled: Path, ledger: Ledger, queries: Queries, tmp_path: Path) -> None:
    def work() -> None:
        with Ledger.open(filled, read_only=True) as own, Projection.open(own, tmp_path / "shared.db") as projection:
            while projection.size < own.size:
                projection.refresh(50)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Projection.open(ledger, tmp_path / "shared.db") as projection:
        assert content(projection) == content(queries.projection)


def test_a_page_does_not_wait_for_another_process_that_folds(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "audit.db") as opened, Projection.open(opened) as projection:
        opened.append({"type": "note"})
        with sqlite3.connect(tmp_path / "audit.db.console", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            assert projection.refresh(10, wait=False) == 0
            assert time.monotonic() - began < 5
            other.execute("ROLLBACK")
        assert projection.refresh(10, wait=False) == 1


def test_another_ledger_in_its_place_is_folded_anew(tmp_path: Path) -> None:
    beside = tmp_path / "beside.db"
    for name, count in (("first", 40), ("second", 60), ("third", 20)):
        with Ledger.open(tmp_path / name, signer=Ed25519Signer.generate("example.com/log")) as other:
            other.append_many([{"type": "note", "text": f"{name} {n}"} for n in range(count)])
            with Projection.open(other, beside) as projection:
                projection.refresh()
                assert projection.size == count
                assert len(Queries(projection).entries(limit=100)) == count


def test_a_changed_entry_is_listed_as_damaged_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with Ledger.open(path, signer=Ed25519Signer.generate("example.com/log")) as writing:
        writing.append_many([{"type": "note", "text": f"number {n}"} for n in range(600)])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET leaf = replace(leaf, 'number 17', 'number 71') WHERE idx = 17")
        connection.execute("UPDATE entries SET leaf = x'00' WHERE idx = 200")
    with Ledger.open(path, read_only=True) as reading, Projection.open(reading) as projection:
        projection.refresh()
        assert [row.index for row in Queries(projection).entries(kind=DAMAGED)] == [200, 17]
        assert len(Queries(projection).entries(kind="note", limit=1000)) == 598


def test_postgres_holds_the_same_in_a_schema_of_its_own(new_postgres: Any, queries: Queries, ledger: Ledger) -> None:
    url, signer = new_postgres(), Ed25519Signer.generate("example.com/log")
    with Projection.open(ledger, url) as projection:
        projection.refresh(333, wait=False)
        with projection._engine.begin() as other:
            other.execute(projection.tables.state.select().with_for_update())
            assert projection.refresh(10, wait=False) == 0
        projection.refresh()
        assert content(projection) == content(queries.projection)
        assert projection.tables.state.schema == "guardrails_ledger_console"
        on_postgres = Queries(projection)
        assert on_postgres.entries(kind="refusal", before=500) == queries.entries(kind="refusal", before=500)
        assert on_postgres.sessions() == queries.sessions()
        for step_s in (0, 3600, 86_400):
            span = {"since_s": 0, "until_s": 1 << 40, "step_s": step_s}
            assert on_postgres.tallies("decision", **span) == queries.tallies("decision", **span)
    # A ledger in the same database does not take its tables for a change of its own, and begins its projection anew.
    for count in (1, 1):
        with Ledger.open(url, signer=signer) as opened:
            opened.append({"type": "note"})
            with pytest.raises(UsageError, match="no folder"):
                Projection.open(opened)
            with Projection.open(opened, url) as projection:
                assert projection.refresh() == count


def test_it_follows_by_itself(tmp_path: Path) -> None:
    seen = threading.Event()
    with Ledger.open(tmp_path / "audit.db") as opened, Projection.open(opened) as projection:
        projection.follow(0.01)
        opened.append({"type": "note"})
        for _ in range(500):
            if projection.size == 1:
                seen.set()
                break
            threading.Event().wait(0.01)
    assert seen.is_set()


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "audit.db") as opened, Projection.open(opened):
        assert (tmp_path / "audit.db.console").stat().st_mode & 0o077 == 0


def test_a_session_key_tells_who_acts_before_the_first_statement(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "audit.db") as opened, Projection.open(opened) as projection:
        key = SessionKey({"principal": {"id": "ana@example.com", "verified": "jwt"}, "agent": {"name": "bot"}})
        opened.bind("s", key)
        opened.append({"type": "message", "session": "s", "role": "user", "bytes": 3})
        opened.append({"type": "note", "session": "other\0name"})
        projection.refresh()
        row = Queries(projection).session("s")
        assert row is not None
        assert (row.principal, row.verified, row.agent, row.messages) == ("ana@example.com", "jwt", "bot", 1)
        assert [one.id for one in Queries(projection).sessions()] == ["s"]


@given(st.integers(min_value=0, max_value=2**52))
def test_a_duration_lies_in_its_bin(duration_us: int) -> None:
    low, high = bin_bounds(latency_bin(duration_us))
    assert low <= max(duration_us, 1) < high


ODD = (
    None, True, 0, -1, 2**53, "", "x", "\0", "2026-01-01T00:00:00.000000Z", "2026-13-01", [], [None, 1, "a", {}, []], {}, {"id": 1},
    {"id": "ana\0", "name": [], "request": {}},
    {"effect": [], "rules": "x", "reasons": [{"code": 3}, 5, {"code": "a", "rule": None}], "masks": [{}, 1, {"column": None}]},
    {"effect": "allow", "rules": ["r", 1], "masks": [{"column": "a.b"}], "lifted": ["a.c", None], "reasons": {}},
    {"reads": ["a.b", 3, "a.c"]}, {"reads": "a.b"}, [{"kind": "email", "count": -5}, {"count": 2**60}],
)  # fmt: skip
FIELDS = (
    "type",
    "session",
    "time",
    "principal",
    "agent",
    "decision",
    "statement",
    "approval",
    "request",
    "duration_us",
    "findings",
)
KINDS = ("intent", "refusal", "outcome", "outcome.unknown", "message", "approval.requested", "values.viewed")


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD)), max_size=4), st.sampled_from(KINDS))
def test_any_entry_folds(entries: list[dict[str, Any]], kind: str) -> None:
    folded = fold(enumerate([*entries, *({**entry, "type": kind} for entry in entries)]), {})
    assert len(folded.entries) == 2 * len(entries)
    assert all(count >= 0 for count in folded.tallies.values())
