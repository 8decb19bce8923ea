"""Writing what a batch folded into the projection's tables, with the statements that SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from guardrails.console.projection.folding import Folded, FoldedSession, Known
from guardrails.console.projection.tables import COUNTED, Tables

__all__ = ["known_sessions", "write"]

_AT_ONCE = 500
_FACTS = ("principal", "issuer", "verified", "agent", "model", "purpose", "conversation")


def known_sessions(connection: sa.Connection, tables: Tables, ids: Collection[str]) -> dict[str, Known]:
    """Returns those of the sessions that have entries already."""
    sessions, found = tables.sessions.c, {}
    for page in _pages(sorted(ids)):
        query = sa.select(sessions.id, sessions.first, sessions.principal).where(sessions.id.in_(page))
        found.update({row.id: Known(row.first, row.principal) for row in connection.execute(query)})
    return found


def write(connection: sa.Connection, tables: Tables, folded: Folded) -> None:
    """Adds a batch. Called inside the transaction that holds the projection's state."""
    kinds = _numbers(connection, tables.kinds, {entry.kind for entry in folded.entries})
    people = _numbers(connection, tables.people, {e.principal for e in folded.entries if e.principal is not None})
    rows = [
        {
            "idx": entry.index,
            "kind": kinds[entry.kind],
            "session": entry.session,
            "principal": None if entry.principal is None else people[entry.principal],
            "time_us": entry.time_us,
        }
        for entry in folded.entries
    ]
    if rows:
        connection.execute(sa.insert(tables.entries), rows)
    _merge(connection, tables.sessions, ("first",), COUNTED, ("last", "last_us"), [_row(s) for s in folded.sessions.values()])
    facts = [
        {"known": s.first, **{f"new_{name}": s.facts[name] for name in _FACTS}} for s in folded.sessions.values() if s.facts
    ]
    if facts:
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in _FACTS}
        values["is_acting"] = 1
        connection.execute(
            sa.update(tables.sessions).where(tables.sessions.c.first == sa.bindparam("known")).values(values), facts
        )
    hits = [
        {"rule": rule, **{name: hit.counts[name] for name in ("allowed", "asked", "refused")}, "last": hit.last}
        | {"last_us": hit.last_us}
        for rule, hit in folded.rules.items()
    ]
    _merge(connection, tables.rules, ("rule",), ("allowed", "asked", "refused"), ("last", "last_us"), hits)
    links = [{"request": request, "idx": index} for request, index in sorted(folded.links)]
    _merge(connection, tables.links, ("request", "idx"), (), (), links)
    tallies = [
        {"measure": measure, "bucket": bucket, "subject": subject, "name": name, "count": count}
        for (measure, bucket, subject, name), count in sorted(folded.tallies.items())
        if count
    ]
    _merge(connection, tables.tallies, ("measure", "bucket", "subject", "name"), ("count",), (), tallies)


def _row(session: FoldedSession) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(session, name) for name in ("first", "id", "last", "began_us", "last_us")}
    return row | {"is_acting": 0} | {name: session.counts[name] for name in COUNTED}


def _merge(
    connection: sa.Connection,
    table: sa.Table,
    key: Sequence[str],
    added: Sequence[str],
    replaced: Sequence[str],
    rows: list[dict[str, Any]],
) -> None:
    """Inserts rows; where there is one of this key already, adds to the counts and replaces what the newest entry says."""
    if not rows:
        return
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    insert = make(table)
    changes = {name: table.c[name] + insert.excluded[name] for name in added}
    changes |= {name: insert.excluded[name] for name in replaced}
    statement = (
        insert.on_conflict_do_update(index_elements=list(key), set_=changes)
        if changes
        else insert.on_conflict_do_nothing(index_elements=list(key))
    )
    connection.execute(statement, rows)


def _numbers(connection: sa.Connection, table: sa.Table, names: Collection[str]) -> dict[str, int]:
    """Returns the numbers that stand for names, giving new ones where there are none."""
    known = dict[str, int]()
    for page in _pages(sorted(names)):
        known |= {
            row.name: row.no for row in connection.execute(sa.select(table.c.name, table.c.no).where(table.c.name.in_(page)))
        }
    new = sorted(set(names) - known.keys())
    if new:
        start = int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.no), 0))).scalar_one()) + 1
        known |= {name: start + offset for offset, name in enumerate(new)}
        connection.execute(sa.insert(table), [{"no": known[name], "name": name} for name in new])
    return known


def _pages(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))
