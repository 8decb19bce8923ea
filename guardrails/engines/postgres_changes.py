"""What a change really changed in PostgreSQL: rows by relation, triggers and foreign keys included, from the server's own count.

The server counts rows inserted, updated and deleted by relation and session. The difference between before and after is what the
statement did, wherever it did it. Relations that the plan may not change must not be among them; declared foreign key actions and
partitions are part of changing their parent.
Source: https://www.postgresql.org/docs/current/monitoring-stats.html (pg_stat_xact_user_tables)
"""

from __future__ import annotations

from typing import Any

import psycopg

from guardrails.errors import EngineError
from guardrails.model import Plan

__all__ = ["Changes"]

_DATA_ACTIONS = frozenset({"insert", "update", "delete", "merge"})
_EMPTYING = frozenset({"drop", "truncate"})

_COUNTS = """
    SELECT relid, n_tup_ins + n_tup_upd + n_tup_del, schemaname || '.' || relname
    FROM pg_catalog.pg_stat_xact_user_tables WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
"""

_ALLOWED = """
    WITH RECURSIVE allowed(oid) AS (
        SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE CASE WHEN n.nspname = %(default)s THEN c.relname::text ELSE n.nspname || '.' || c.relname END = ANY (%(names)s)
        UNION
        SELECT next.oid FROM allowed CROSS JOIN LATERAL (
            SELECT h.inhrelid FROM pg_catalog.pg_inherits h WHERE h.inhparent = allowed.oid
            UNION ALL
            SELECT k.conrelid FROM pg_catalog.pg_constraint k
            WHERE k.contype = 'f' AND k.confrelid = allowed.oid AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
        ) AS next(oid)
    )
    SELECT oid FROM allowed
"""


_EMPTIED = """
    SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
      AND CASE WHEN n.nspname = %(default)s THEN c.relname::text ELSE n.nspname || '.' || c.relname END = ANY (%(names)s)
"""


class Changes:
    """Counts what happens between its making and `checked`.

    Args:
        connection: Inside the plan's transaction.
        plan: A plan that writes.
        default_schema: What a relation key without a schema means.
    """

    def __init__(self, connection: psycopg.Connection[Any], plan: Plan, default_schema: str) -> None:
        self._connection = connection
        self._plan = plan
        self._default_schema = default_schema
        self._before = {relation: count for relation, count, _ in connection.execute(_COUNTS)}

    def check_emptied(self) -> None:
        """Counts the rows of every table that the plan drops or truncates, which the server does not count as changed.

        Raises:
            EngineError: They are more than the plan may change (``engine.too_many_rows_changed``).
        """
        names = sorted({u.relation for u in self._plan.relations if u.action in _EMPTYING})
        most, rows = self._plan.limits.rows_changed, 0
        if not names:
            return
        arguments = {"default": self._default_schema, "names": names}
        for (table,) in self._connection.execute(_EMPTIED, arguments).fetchall():
            count = f"SELECT pg_catalog.count(*) FROM (SELECT FROM {table} LIMIT {most - rows + 1}) AS t"  # noqa: S608 - quoted
            found = self._connection.execute(count.encode()).fetchone()
            rows += int(found[0]) if found else 0
        if rows > most:
            raise _too_many(most, rows)

    def checked(self, top_level: int) -> tuple[int, tuple[tuple[str, int], ...]]:
        """Returns the rows changed, and how many of them in which relation.

        Args:
            top_level: Rows that the statement itself reports.

        Raises:
            EngineError: More rows changed than the plan allows (``engine.too_many_rows_changed``), or other relations did, or the
                server does not count (``engine.refused``).
        """
        if not set(self._plan.actions) & _DATA_ACTIONS:
            return top_level, ()
        changed: dict[int, int] = {}
        names: dict[int, str] = {}
        for relation, count, name in self._connection.execute(_COUNTS):
            if count > self._before.get(relation, 0):
                changed[relation], names[relation] = count - self._before.get(relation, 0), name
        if top_level and not changed:
            raise EngineError(
                "engine.refused",
                "The database does not tell which rows changed.",
                hint="An administrator must switch track_counts on; foreign tables cannot be changed.",
            )
        beyond = set(changed) - self._allowed()
        if beyond:
            raise EngineError(
                "engine.refused",
                "The change has further effects, of a trigger for instance, on relations that it may not change.",
                evidence={"relations": sorted(names[relation] for relation in beyond)},
            )
        rows = max(top_level, sum(changed.values()))
        if rows > self._plan.limits.rows_changed:
            raise _too_many(self._plan.limits.rows_changed, rows)
        by_relation = {names[relation].removeprefix(f"{self._default_schema}."): count for relation, count in changed.items()}
        return rows, tuple(sorted(by_relation.items()))

    def _allowed(self) -> set[int]:
        names = {u.relation for u in self._plan.relations if u.action in _DATA_ACTIONS} | {
            c.relation for c in self._plan.writes
        }
        arguments = {"default": self._default_schema, "names": sorted(names)}
        return {oid for (oid,) in self._connection.execute(_ALLOWED, arguments).fetchall()}


def _too_many(most: int, rows: int) -> EngineError:
    message = f"More than {most} rows would change; nothing was changed."
    return EngineError("engine.too_many_rows_changed", message, evidence={"rows": rows})
