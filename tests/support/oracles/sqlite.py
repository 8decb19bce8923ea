"""SQLite as an oracle: its authorizer, asked column by column while the original text is compiled, and the count of changes.

Columns that NATURAL JOIN and USING compare are not reported by SQLite, so its list is held as a lower bound.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

from guardrails.catalog import read_sqlite
from guardrails.model import Access, Catalog, ColumnRef, DialectName
from guardrails.sql.dialects.base import ascii_lower
from tests.support.grammar import FLAVOURS, ddl, rows
from tests.support.grammar.schema import TABLES
from tests.support.oracles.base import Verdict, changed

__all__ = ["SqliteOracle", "fill"]

_OPERATORS = frozenset(
    {"coalesce", "like", "glob", "regexp", "match", "->", "->>", "current_date", "current_time", "current_timestamp"}
)
_VERBS = {sqlite3.SQLITE_INSERT: "insert", sqlite3.SQLITE_UPDATE: "update", sqlite3.SQLITE_DELETE: "delete"}
_HARMLESS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION})
_PROBE = (
    "SELECT user_version, schema_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version, pragma_schema_version"
)
_SECONDS = 0.3


def fill(connection: sqlite3.Connection) -> None:
    """Makes the grammar's schema and rows in an empty database."""
    flavour = FLAVOURS["sqlite"]
    for statement in ddl(flavour):
        connection.execute(statement)
    for table, row in rows():
        if table in flavour.tables():
            values = [v for v, kind in zip(row, TABLES[table].values(), strict=True) if kind in flavour.types]
            connection.execute(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(values))})', values)


class SqliteOracle:
    """A database in memory; nothing that is run in it stays.

    Args:
        seconds: How long a statement may run before it says nothing.
    """

    dialect: DialectName = "sqlite"

    def __init__(self, seconds: float = _SECONDS, extra: Iterable[str] = ()) -> None:
        self._seconds = seconds
        self._asked: list[tuple[int, str, str]] = []
        # Without a cache of statements, or the second compilation of a text would ask nothing.
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        fill(self.connection)
        for statement in extra:
            self.connection.execute(statement)
        # The first use of a table-valued function declares it in the schema, which the authorizer would take for a change.
        self.connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]') LIMIT 0").fetchall()
        self._catalog = read_sqlite(self.connection)
        self._columns = {
            (ascii_lower(name), ascii_lower(c)): ColumnRef(key, c)
            for key, relation in self._catalog.relations.items()
            for name in [relation.name]
            for c in relation.column_names
        }
        self._relations = {ascii_lower(r.name): key for key, r in self._catalog.relations.items()}
        self._probe = self.connection.execute(_PROBE).fetchone()

    def catalog(self) -> Catalog:
        return self._catalog

    def accepts(self, sql: str) -> bool:
        self._asked.clear()
        self.connection.set_authorizer(self._note)
        try:
            self.connection.execute(f"EXPLAIN {sql}").close()
        except (sqlite3.Error, sqlite3.Warning):
            return False
        finally:
            self.connection.set_authorizer(None)
        return True

    def verdict(self, sql: str, access: Access, *, is_run: bool) -> Verdict:
        if not self.accepts(sql):
            return Verdict()
        verdict = Verdict()
        self._hold_columns(access, verdict, has_ctes="with" in sql.lower())
        self._hold_changes(access, verdict)
        called = {second for code, _, second in self._asked if code == sqlite3.SQLITE_FUNCTION}
        if unknown := called - set(access.functions) - _OPERATORS:
            verdict.add("functions", f"lacks {sorted(unknown)}")
        if is_run:
            self._run(sql, verdict)
        return verdict

    def close(self) -> None:
        self.connection.close()

    def _note(self, code: int, first: str | None, second: str | None, schema: str | None, inner: str | None) -> int:
        self._asked.append((code, ascii_lower(first or ""), ascii_lower(second or "")))
        return sqlite3.SQLITE_OK

    def _hold_columns(self, access: Access, verdict: Verdict, *, has_ctes: bool) -> None:
        read: set[ColumnRef] = set()
        relations: set[str] = set()
        for code, table, column in self._asked:
            if code != sqlite3.SQLITE_READ or table not in self._relations:
                if code == sqlite3.SQLITE_READ and table.startswith(("sqlite_", "pragma_")):
                    verdict.add("reads", f"the schema, {table}.{column}")
                continue
            if column or not has_ctes:
                # Without a column rows are counted, of a common table expression that has a table's name perhaps.
                relations.add(self._relations[table])
            if column:
                found = self._columns.get((table, column))
                read |= {found} if found else {ColumnRef(self._relations[table], column)}
        verdict.hold_reads(frozenset(read), access)
        listed = {u.relation for u in access.relations}
        if unknown := relations - listed:
            verdict.add("relations", f"lacks {sorted(unknown)}")
        views = {k for k, r in self._catalog.relations.items() if r.kind == "view"}
        # Join columns may be those of USING, which SQLite does not report; a view's own columns are its base columns'.
        verdict.unread = frozenset(
            c for c in access.reads if c not in read and c not in access.joined and c.relation not in views
        )

    def _hold_changes(self, access: Access, verdict: Verdict) -> None:
        done = {(_VERBS[code], self._relations.get(table, table)) for code, table, _ in self._asked if code in _VERBS}
        # An upsert that can meet no conflict, as no value for the key is given, updates nothing in SQLite's eyes.
        upserts = {("update", relation) for verb, relation in done if verb == "insert"}
        if not done <= changed(access) <= done | upserts:
            verdict.add("writes", f"the engine: {sorted(done)}, listed: {sorted(changed(access))}")
        updated = {
            self._columns.get((table, column), ColumnRef(table, column))
            for code, table, column in self._asked
            if code == sqlite3.SQLITE_UPDATE
        }
        inserted = {relation for verb, relation in done if verb in ("insert", "delete")}
        listed = {c for c in access.writes if c.relation not in inserted}
        if {c for c in updated if c.relation not in inserted} != listed or not updated <= set(access.writes):
            verdict.add("writes", f"columns, the engine: {sorted(updated)}, listed: {sorted(access.writes)}")
        others = {code for code, _, _ in self._asked} - _HARMLESS - set(_VERBS)
        if others:
            verdict.add("wrote", f"authorizer codes {sorted(others)}")
        verdict.wrote = bool(done or others)

    def _run(self, sql: str, verdict: Verdict) -> None:
        before = self.connection.total_changes
        deadline = time.perf_counter() + self._seconds
        self.connection.set_progress_handler(lambda: time.perf_counter() > deadline, 2_000)
        self.connection.execute("BEGIN")
        try:
            cursor = self.connection.execute(sql)
            while cursor.fetchmany(200):
                pass
        except sqlite3.OperationalError as error:
            verdict.is_late = "interrupted" in str(error)
            verdict.has_failed = not verdict.is_late
        except sqlite3.Error:
            verdict.has_failed = True
        finally:
            self.connection.set_progress_handler(None, 0)
        if self.connection.total_changes != before or self.connection.execute(_PROBE).fetchone() != self._probe:
            verdict.wrote = True
            verdict.add("wrote", f"{self.connection.total_changes - before} rows")
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        else:
            verdict.add("wrote", "it ended the transaction")
