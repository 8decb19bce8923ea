"""The questions that pages ask of the projection; each is answered from an index, whatever the ledger's size."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from guardrails.console.projection.folding import bin_bounds
from guardrails.console.projection.projecting import Projection
from guardrails.console.projection.rows import EntryRow, LatencyRow, RuleHits, SessionFilter, SessionRow, Tally

__all__ = ["Queries"]

_MOST = 1000


class Queries:
    """Reads a projection. Each method reads one state of it.

    Raises:
        LedgerError: Every method, where the projection cannot be read (ledger.unavailable).
    """

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self._tables = projection.tables

    def sessions(self, wanted: SessionFilter | None = None, *, before: int | None = None, limit: int = 50) -> list[SessionRow]:
        """Returns the sessions in which somebody acted, the latest first.

        Args:
            wanted: Which ones.
            before: Only those that began before the entry with this index.
            limit: At most so many.
        """
        sessions = self._tables.sessions.c
        query = self._sessions().where(sessions.is_acting == 1).order_by(sessions.first.desc()).limit(min(limit, _MOST))
        for name in ("principal", "agent", "conversation"):
            if value := getattr(wanted or SessionFilter(), name):
                query = query.where(sessions[name] == value)
        if before is not None:
            query = query.where(sessions.first < before)
        return [SessionRow(*row) for row in self._all(query)]

    def session(self, session_id: str) -> SessionRow | None:
        """Returns a session, None where there is none of this id."""
        found = self._all(self._sessions().where(self._tables.sessions.c.id == session_id))
        return SessionRow(*found[0]) if found else None

    def session_at(self, first: int) -> SessionRow | None:
        """Returns the session whose first entry has this index, None where there is none."""
        found = self._all(self._sessions().where(self._tables.sessions.c.first == first))
        return SessionRow(*found[0]) if found else None

    def entries(
        self,
        *,
        kind: str = "",
        session: str = "",
        principal: str = "",
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[EntryRow]:
        """Returns entries, the latest first; with `after` the first ones after it, in the order of the log.

        Args:
            kind: Only of this type.
            session: Only of the session with this id.
            principal: Only of sessions of this principal.
            before: Only with an index below.
            after: Only with an index above.
            limit: At most so many.
        """
        entries, sessions, kinds, people = (
            self._tables.entries,
            self._tables.sessions,
            self._tables.kinds,
            self._tables.people,
        )
        query = (
            sa.select(entries.c.idx, kinds.c.name, sessions.c.id, people.c.name, entries.c.time_us, entries.c.session)
            .join(kinds, kinds.c.no == entries.c.kind)
            .outerjoin(sessions, sessions.c.first == entries.c.session)
            .outerjoin(people, people.c.no == entries.c.principal)
            .order_by(entries.c.idx if after is not None else entries.c.idx.desc())
            .limit(min(limit, _MOST))
        )
        with self.projection.reading() as connection:
            for column, table, value in ((entries.c.kind, kinds, kind), (entries.c.principal, people, principal)):
                if value:
                    query = query.where(column == _number(connection, table, value))
            if session:
                first = sa.select(sessions.c.first).where(sessions.c.id == session)
                query = query.where(entries.c.session == connection.execute(first).scalar())
            if before is not None:
                query = query.where(entries.c.idx < before)
            if after is not None:
                query = query.where(entries.c.idx > after)
            return [EntryRow(*row) for row in connection.execute(query)]

    def index_at(self, time_us: int) -> int | None:
        """Returns the index of the first entry from this moment on (Unix microseconds); None where there is none."""
        entries = self._tables.entries.c
        query = sa.select(entries.idx).where(entries.time_us >= time_us).order_by(entries.time_us, entries.idx).limit(1)
        found = self._all(query)
        return found[0].idx if found else None

    def first_time_us(self) -> int | None:
        """Returns the time of the first entry in Unix microseconds; None where there is none."""
        entries = self._tables.entries.c
        found = self._all(sa.select(entries.time_us).order_by(entries.idx).limit(1))
        return found[0].time_us if found else None

    def about(self, requests: Collection[str]) -> list[int]:
        """Returns the indexes of the entries about these requests and reviews, in order."""
        links = self._tables.links.c
        query = sa.select(links.idx).where(links.request.in_(sorted(requests)[:_MOST])).distinct().order_by(links.idx)
        return [row.idx for row in self._all(query.limit(_MOST))]

    def kinds(self) -> list[str]:
        """Returns the types of entries that there are."""
        kinds = self._tables.kinds.c
        return [row.name for row in self._all(sa.select(kinds.name).order_by(kinds.name).limit(_MOST))]

    def rule_hits(self) -> list[RuleHits]:
        """Returns how often each rule decided, the latest first."""
        rules = self._tables.rules.c
        columns = (rules.rule, rules.allowed, rules.asked, rules.refused, rules.last, rules.last_us)
        return [RuleHits(*row) for row in self._all(sa.select(*columns).order_by(rules.last.desc()).limit(_MOST))]

    def tallies(self, measure: str, *, since_s: int, until_s: int, step_s: int, limit: int = _MOST) -> list[Tally]:
        """Returns what was counted of a measure, the largest first, in buckets of `step_s` seconds.

        Args:
            measure: ``decision``, ``refusal``, ``outcome``, ``error``, ``finding``, ``latency``, or how columns were shown:
                ``masked``, ``lifted``, ``clear``, each with a grain, as in ``masked.week``.
            since_s: Unix seconds from which on.
            until_s: Unix seconds until before which.
            step_s: Width of a bucket, counted from `since_s`; 0 for one bucket.
            limit: At most so many.
        """
        tallies = self._tables.tallies.c
        bucket: sa.ColumnElement[int] = sa.literal(since_s)
        if step_s:
            bucket = tallies.bucket - (tallies.bucket - since_s) % step_s
        total = sa.func.sum(tallies.count)
        query = (
            sa.select(bucket.label("begins"), tallies.subject, tallies.name, total)
            .where(tallies.measure == measure, tallies.bucket >= since_s, tallies.bucket < until_s)
            .group_by("begins", tallies.subject, tallies.name)
            .order_by(total.desc(), "begins", tallies.subject, tallies.name)
            .limit(limit)
        )
        return [Tally(int(begins), subject, name, int(count)) for begins, subject, name, count in self._all(query)]

    def latencies(self, *, since_s: int, until_s: int) -> list[LatencyRow]:
        """Returns how long outcomes took, shortest first."""
        found = self.tallies("latency", since_s=since_s, until_s=until_s, step_s=0)
        return sorted((LatencyRow(*bin_bounds(int(t.name)), t.count) for t in found), key=lambda row: row.from_us)

    def _sessions(self) -> sa.Select[Any]:
        return sa.select(*(self._tables.sessions.c[name] for name in SessionRow.__dataclass_fields__))

    def _all(self, query: sa.Select[Any]) -> list[Any]:
        with self.projection.reading() as connection:
            return list(connection.execute(query))


def _number(connection: sa.Connection, table: sa.Table, name: str) -> int:
    """The number that stands for a name; one that is nobody's where there is none."""
    return int(connection.execute(sa.select(table.c.no).where(table.c.name == name)).scalar() or -1)
