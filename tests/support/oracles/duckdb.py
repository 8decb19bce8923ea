"""DuckDB as an oracle: the plan of the original text with one optimizer alone, and a run in a transaction that may not write.

With nothing but the removal of unused columns, the scans of the plan name the columns that the statement needs; what it only computes
and throws away is not among them, so the list is a lower bound. Of a relation that is changed the engine fetches whole rows for itself,
so that nothing is asked about its columns. A read runs in a READ ONLY transaction; afterwards nothing temporary,
attached or set may be there that was not before. A change runs and is rolled back, and the contents of every table are compared.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from guardrails.catalog import read_duckdb
from guardrails.model import Access, Catalog, ColumnRef, DialectName
from guardrails.sql.duckdb_parser import LOCKED
from tests.support.grammar import FLAVOURS, ddl, rows
from tests.support.grammar.schema import TABLES
from tests.support.oracles.base import Verdict, changed

__all__ = ["DuckdbOracle", "fill_duckdb_grammar"]

_SECONDS = 0.5
_STATE = (
    "SELECT (SELECT count(*) FROM duckdb_tables()), (SELECT count(*) FROM duckdb_views()), (SELECT count(*) FROM duckdb_databases()),"
    " (SELECT count(*) FROM duckdb_variables()), (SELECT list(last_value) FROM duckdb_sequences())"
)
_KINDS = {duckdb.StatementType.INSERT: "insert", duckdb.StatementType.UPDATE: "update", duckdb.StatementType.DELETE: "delete"}


def fill_duckdb_grammar(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the grammar's schema and rows in an empty database."""
    flavour = FLAVOURS["duckdb"]
    for statement in ddl(flavour):
        connection.execute(statement)
    for table, row in rows():
        values = [v for v, kind in zip(row, TABLES[table].values(), strict=True) if kind in flavour.types]
        connection.execute(f"INSERT INTO {flavour.spell(table)} VALUES ({', '.join('?' * len(values))})", values)


class DuckdbOracle:
    """A file of its own; nothing that is run in it stays.

    Args:
        seconds: How long a statement may run before it says nothing.
    """

    dialect: DialectName = "duckdb"

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "oracle.duckdb"
        self._open()
        fill_duckdb_grammar(self.connection)
        self._catalog = read_duckdb(self.connection)
        self._tables = [k for k, r in self._catalog.relations.items() if r.kind == "table"]

    def _open(self) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {**LOCKED, "threads": "1"}
        self.connection = duckdb.connect(str(self.path), config=config)
        optimizers = [n for (n,) in self.connection.execute("SELECT * FROM duckdb_optimizers()").fetchall()]
        self._planner = self.connection.cursor()
        others = ",".join(n for n in optimizers if n != "unused_columns")
        self._planner.execute(f"SET disabled_optimizers = '{others}'")

    def catalog(self) -> Catalog:
        return self._catalog

    def accepts(self, sql: str) -> bool:
        try:
            if len(duckdb.extract_statements(sql)) != 1:
                return False
            self._planner.execute(f"EXPLAIN {sql}").fetchall()
        except duckdb.Error:
            return False
        return True

    def verdict(self, sql: str, access: Access, *, is_run: bool) -> Verdict:
        verdict = Verdict()
        try:
            ((_, text),) = self._planner.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
        except duckdb.Error:
            return verdict
        targets = {relation for _, relation in changed(access)}
        read = frozenset(c for c in self._scanned(json.loads(text)) if c.relation not in targets)
        verdict.hold_reads(read, access)
        listed = {u.relation for u in access.relations}
        if unknown := {c.relation for c in read} - listed:
            verdict.add("relations", f"lacks {sorted(unknown)}")
        views = {k for k, r in self._catalog.relations.items() if r.kind == "view"}
        verdict.unread = frozenset(c for c in access.reads if c not in read and c.relation not in views)
        try:
            if not access.is_read_only:
                self._change(sql, access, verdict)
            elif is_run:
                self._read(sql, verdict)
        except (duckdb.FatalException, duckdb.InternalException):
            # A defect of the engine's; it takes nothing more until it is opened again.
            verdict.has_failed = True
            self._planner.close()
            self.connection.close()
            self._open()
        return verdict

    def close(self) -> None:
        self._planner.close()
        self.connection.close()
        self._folder.cleanup()

    def _scanned(self, node: Any) -> Iterator[ColumnRef]:
        if isinstance(node, list):
            for child in node:
                yield from self._scanned(child)
            return
        info = node.get("extra_info") or {}
        if node.get("name", "").strip() == "SEQ_SCAN" and "Table" in info:
            _, schema, name = (part.strip('"') for part in info["Table"].split(".", 2))
            key = self._catalog.key(schema, name)
            shown = info.get("Projections") or []
            for shown_column in [shown] if isinstance(shown, str) else shown:
                column = shown_column.strip('"')
                if column in self._catalog.relations[key].column_names:
                    yield ColumnRef(key, column)
                elif column:
                    yield ColumnRef(key, f"? {column}")
        yield from self._scanned(node.get("children") or [])

    def _read(self, sql: str, verdict: Verdict) -> None:
        running = self.connection.cursor()
        before = running.execute(_STATE).fetchone()
        running.execute("BEGIN TRANSACTION READ ONLY")
        self._run(running, sql, verdict)
        running.execute("ROLLBACK")
        if running.execute(_STATE).fetchone() != before:
            verdict.wrote = True
            verdict.add("wrote", "something is there that was not before")
        running.close()

    def _change(self, sql: str, access: Access, verdict: Verdict) -> None:
        kind = _KINDS.get(duckdb.extract_statements(sql)[0].type)
        if kind is not None and kind not in {action for action, _ in changed(access)}:
            verdict.add("writes", f"the engine: {kind}, listed: {sorted(changed(access))}")
        running = self.connection.cursor()
        running.execute("BEGIN TRANSACTION")
        before = self._contents(running)
        self._run(running, sql, verdict)
        if not verdict.has_failed and not verdict.is_late:
            after = self._contents(running)
            touched = {table for table in self._tables if before[table] != after[table]}
            verdict.wrote = bool(touched)
            if beyond := touched - {relation for _, relation in changed(access)}:
                verdict.add("writes", f"lacks {sorted(beyond)}")
            self._hold_columns(running, access, verdict, touched)
        running.execute("ROLLBACK")
        running.close()

    def _hold_columns(self, running: duckdb.DuckDBPyConnection, access: Access, verdict: Verdict, touched: set[str]) -> None:
        """An UPDATE changes no column but those that are listed."""
        if {action for action, _ in changed(access)} != {"update"}:
            return
        for table in touched:
            spelled = FLAVOURS["duckdb"].spell(table)
            for column in self._catalog.relations[table].column_names:
                values = f'SELECT bit_xor(hash("{column}")), sum(hash("{column}")::hugeint) FROM {spelled}'
                now = running.execute(values).fetchone()
                if now != self.connection.execute(values).fetchone() and ColumnRef(table, column) not in access.writes:
                    verdict.add("writes", f"lacks {table}.{column}")

    def _contents(self, running: duckdb.DuckDBPyConnection) -> dict[str, object]:
        return {
            table: running.execute(f"SELECT count(*), bit_xor(hash(t)) FROM {FLAVOURS['duckdb'].spell(table)} t").fetchone()
            for table in self._tables
        }

    def _run(self, running: duckdb.DuckDBPyConnection, sql: str, verdict: Verdict) -> None:
        clock = threading.Timer(self._seconds, running.interrupt)
        clock.start()
        try:
            cursor = running.execute(sql)
            while cursor.fetchmany(200):
                pass
        except duckdb.InterruptException:
            verdict.is_late = True
        except (duckdb.FatalException, duckdb.InternalException):
            raise
        except duckdb.Error as error:
            verdict.has_failed = True
            if "read-only mode" in str(error):
                verdict.wrote = True
                verdict.add("wrote", str(error).splitlines()[0])
        finally:
            clock.cancel()
