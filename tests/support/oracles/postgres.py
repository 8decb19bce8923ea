"""PostgreSQL as an oracle.

- Reads: a temporary view over the original text depends (`pg_depend`) on every relation and column that the parser bound.
- Rights: a role that may read and change exactly what `Access` lists must be able to plan and start the statement.
- Relations and changes: the nodes of `EXPLAIN (VERBOSE)`.
- Writes: after `EXPLAIN ANALYZE` in a read-write transaction no transaction id is assigned, and no lock, setting, sequence or
  notification shows that anything was left behind.

Everything runs in transactions that are rolled back. Sources: https://www.postgresql.org/docs/current/catalog-pg-depend.html,
https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import psycopg
from psycopg import pq
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from guardrails.catalog import read_postgres
from guardrails.model import Access, Catalog, ColumnRef, DialectName
from tests.support.grammar import FLAVOURS, ddl, rows
from tests.support.oracles.base import Verdict, changed

__all__ = ["PostgresOracle", "catalog_of", "fill"]

_FIELD = re.compile(r'\(\s*(?:\w+|"[^"]+")\s*\)\s*\.')
_NO_RIGHT = "42501"
_LATE = "57014"
_ATTRIBUTES = """
    SELECT c.oid, n.nspname, c.relname, a.attnum, a.attname, coalesce(i.inhparent, c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_VIEW_DEPENDENCIES = """
    SELECT r.ev_class, d.refobjid, d.refobjsubid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class AND r.ev_class >= 16384
"""
_DEPENDENCIES = """
    SELECT d.refclassid::regclass::text, d.refobjid::bigint, d.refobjsubid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE r.ev_class = 'pg_temp.gr_view'::regclass AND d.classid = 'pg_rewrite'::regclass AND d.refobjid <> r.ev_class
"""
_EFFECTS = """
    SELECT pg_current_xact_id_if_assigned() IS NOT NULL, current_setting('guardrails.probe', true) <> '',
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) > 0,
           (SELECT is_called FROM probe_seq)
"""
_EFFECT_NAMES = ("a transaction id", "a setting", "an advisory lock", "a sequence")


def fill(url: str) -> None:
    """Makes the grammar's schema and rows in an empty database."""
    with psycopg.connect(url) as connection:
        for statement in ddl(FLAVOURS["postgres"]):
            connection.execute(statement.encode())
        for table, row in rows():
            name = SQL(".").join(map(Identifier, table.split(".")))
            connection.execute(SQL("INSERT INTO {} VALUES ({})").format(name, SQL(", ").join([SQL("%s")] * len(row))), row)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def catalog_of(connection: psycopg.Connection[Any]) -> Catalog:
    """Returns the library's catalog of the database behind a connection in autocommit mode."""
    with connection.transaction():
        return read_postgres(connection)


class PostgresOracle:
    """A database that is filled already; makes a role of its own, and drops it at the end.

    Args:
        url: The database, as a superuser.
        timeout_ms: How long a statement may run before it says nothing.
    """

    dialect: DialectName = "postgres"

    def __init__(self, url: str, timeout_ms: int = 300) -> None:
        self._url = url
        self._made: str | None = None
        self._asked = 0
        self.connection = psycopg.connect(url, autocommit=True)
        self._role = f"gr_probe_{uuid.uuid4().hex[:12]}"
        self.connection.execute(
            f"SET statement_timeout = {timeout_ms}; SET jit = off; SET max_parallel_workers_per_gather = 0; SET lock_timeout = '5s';"
            f"CREATE ROLE {self._role}; GRANT USAGE ON SCHEMA sales TO {self._role}; LISTEN probe".encode()
        )
        self._catalog = catalog_of(self.connection)
        self._columns: dict[tuple[int, int], ColumnRef] = {}
        self._keys: dict[int, str] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        names: dict[int, str] = {}
        found = self.connection.execute(_ATTRIBUTES).fetchall()
        for oid, schema, relation, *_ in found:
            names[oid] = self._catalog.key(schema, relation)
        for oid, schema, relation, number, column, parent in found:
            self._keys[oid] = self._by_name[schema, relation] = names[parent]
            if number:
                self._columns[oid, number] = ColumnRef(names[parent], column)
        self._behind: dict[str, set[tuple[int, int]]] = defaultdict(set)
        for view, oid, number in self.connection.execute(_VIEW_DEPENDENCIES):
            self._behind[self._keys[view]].add((oid, number))

    @classmethod
    def create(cls, server: str, timeout_ms: int = 300) -> PostgresOracle:
        """Makes a database of its own on a server, dropped at the end."""
        name = f"gr_oracle_{uuid.uuid4().hex[:12]}"
        with closing(psycopg.connect(server, autocommit=True)) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        fill(url)
        oracle = cls(url, timeout_ms)
        oracle._made = server
        return oracle

    def catalog(self) -> Catalog:
        return self._catalog

    def accepts(self, sql: str) -> bool:
        return self.connection.pgconn.prepare(b"", sql.encode()).status == pq.ExecStatus.COMMAND_OK

    def verdict(self, sql: str, access: Access, *, is_run: bool) -> Verdict:
        verdict = Verdict()
        if is_run:
            self._hold_effects(sql, access, verdict)
        self._hold_rights(sql, access, verdict)
        return verdict

    def close(self) -> None:
        self.connection.execute(f"DROP OWNED BY {self._role}; DROP ROLE {self._role}".encode())
        name = self.connection.info.dbname
        self.connection.close()
        if self._made is not None:
            with closing(psycopg.connect(self._made, autocommit=True)) as connection:
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def _ask(self, sql: str) -> tuple[str, list[tuple[str | None, ...]]]:
        """Runs one statement over the extended protocol; returns the SQLSTATE (or "") with the message, or the rows."""
        result = self.connection.pgconn.exec_params(sql.encode(), None)
        if result.status == pq.ExecStatus.FATAL_ERROR:
            state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            return state, [((result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(),)]
        columns = range(result.nfields)
        made = [tuple(_text(result.get_value(row, column)) for column in columns) for row in range(result.ntuples)]
        return "", made

    def _say(self, sql: str) -> None:
        result = self.connection.pgconn.exec_(sql.encode())
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise AssertionError(f"{sql}: {(result.error_message or b'').decode()}")

    def _hold_effects(self, sql: str, access: Access, verdict: Verdict) -> None:
        self._say("BEGIN READ WRITE")
        state, plan = self._ask(f"EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON)\n{sql}")
        if state:
            verdict.is_late, verdict.has_failed = state == _LATE, state != _LATE
            self._say("ROLLBACK")
            return
        self._hold_plan(plan, access, verdict)
        seen = self._ask(_EFFECTS)[1][0]
        effects = [name for name, value in zip(_EFFECT_NAMES, seen, strict=True) if value == "t"]
        # A notification is sent at the end of a transaction that commits; a read has nothing else to commit.
        self._say("ROLLBACK" if effects else "COMMIT")
        self.connection.pgconn.consume_input()
        if self.connection.pgconn.notifies() is not None:
            effects.append("a notification")
        if effects:
            verdict.wrote = True
            verdict.add("wrote", f"leaves {', '.join(effects)}")
            self._say("SELECT pg_advisory_unlock_all(); RESET guardrails.probe; ALTER SEQUENCE probe_seq RESTART")

    def _hold_plan(self, plan: list[tuple[str | None, ...]], access: Access, verdict: Verdict) -> None:
        nodes = list(_nodes(json.loads(plan[0][0] or "[]")[0]["Plan"]))
        scanned = {
            self._by_name.get((n["Schema"], n["Relation Name"]), n["Relation Name"]) for n in nodes if "Relation Name" in n
        }
        if unknown := scanned - {u.relation for u in access.relations}:
            verdict.add("relations", f"EXPLAIN scans {sorted(unknown)}")
        done = set()
        for node in nodes:
            if node["Node Type"] == "ModifyTable":
                relation = self._by_name[node["Schema"], node["Relation Name"]]
                done.add((str(node["Operation"]).lower(), relation))
                if node.get("Conflict Resolution") == "UPDATE":
                    done.add(("update", relation))
        # MERGE is one node, whatever it does to its relation.
        merged = {relation for action, relation in done if action == "merge"}
        listed = {(a, r) for a, r in changed(access) if a == "merge" or r not in merged}
        if done != listed:
            verdict.add("writes", f"EXPLAIN: {sorted(done)}, listed: {sorted(changed(access))}")

    def _hold_rights(self, sql: str, access: Access, verdict: Verdict) -> None:
        """Plans the statement as the role, then, for a query, takes its dependencies from a view."""
        state, answer = self._as_role(sql, self._grants(access, set(access.reads)))
        if state == _NO_RIGHT and _FIELD.search(sql):
            # For a field of a row PostgreSQL asks for the right to the whole row; what runs names the one column.
            self._say("ROLLBACK")
            used = {c.relation for c in access.reads}
            whole = {ColumnRef(r, c) for r in used for c in self._catalog.relations[r].column_names}
            state, answer = self._as_role(sql, self._grants(access, whole))
        if state == _NO_RIGHT:
            verdict.add("rights", answer[0][0])
            self._say("ROLLBACK; BEGIN")
            state, answer = self._ask(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON)\n{sql}")
        if state:
            verdict.has_failed = True
            self._say("ROLLBACK")
            return
        if not access.is_read_only:
            self._hold_plan(answer, access, verdict)
            self._say("ROLLBACK")
            return
        self._say("RESET ROLE")
        columns = ", ".join(f"c{i}" for i in range(len(access.returned)))
        state, answer = self._ask(f"CREATE TEMP VIEW gr_view ({columns}) AS\n{sql}")
        if state:
            verdict.add("reads", f"no view: {answer[0][0]}")
            self._say("ROLLBACK")
            return
        found = self._ask(_DEPENDENCIES)[1]
        self._say("ROLLBACK")
        self._hold_dependencies(sql, access, verdict, [(str(c), int(o or 0), int(n or 0)) for c, o, n in found])

    def _as_role(self, sql: str, grants: Iterable[str]) -> tuple[str, list[tuple[str | None, ...]]]:
        """Begins a transaction in which the role has these rights, and explains the statement as the role."""
        self._asked += 1
        if self._asked % 5_000 == 0:
            # What was rolled back leaves dead rows in the system's tables.
            self._say("SET statement_timeout = 0")
            for table in ("pg_depend", "pg_attribute", "pg_class", "pg_type", "pg_rewrite"):
                self._say(f"VACUUM pg_catalog.{table}")
            self._say("RESET statement_timeout")
        self._say(f"BEGIN; {' '.join(grants)} SET LOCAL ROLE {self._role}")
        return self._ask(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON)\n{sql}")

    def _grants(self, access: Access, reads: set[ColumnRef]) -> list[str]:
        """Grants on what is named directly; what stands behind a view is its owner's to read."""
        wanted: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for use in access.relations:
            if use.via is not None:
                continue
            listed = {c.column for c in reads if c.relation == use.relation}
            if use.action == "delete":
                wanted[use.relation]["DELETE"] = set()
            elif use.action in ("insert", "update"):
                wanted[use.relation][use.action.upper()] |= {c.column for c in access.writes if c.relation == use.relation}
            else:
                # Counting rows needs the right to read some column; which one is all the same.
                wanted[use.relation]["SELECT"] |= listed or {self._catalog.relations[use.relation].columns[-1].name}
            if listed:
                wanted[use.relation]["SELECT"] |= listed
        made = []
        for key, rights in wanted.items():
            relation = self._catalog.relations[key]
            parts = [f"{verb} ({', '.join(map(_quote, sorted(names)))})" if names else verb for verb, names in rights.items()]
            made.append(f"GRANT {', '.join(parts)} ON {_quote(relation.schema)}.{_quote(relation.name)} TO {self._role};")
        return made

    def _hold_dependencies(self, sql: str, access: Access, verdict: Verdict, found: list[tuple[str, int, int]]) -> None:
        if foreign := {kind for kind, _, _ in found} - {"pg_class", "pg_constraint", "pg_collation"}:
            verdict.add("functions", f"depends on {sorted(foreign)} that no system brings")
        direct = {(oid, number) for kind, oid, number in found if kind == "pg_class" and oid in self._keys}
        every, pending = set(direct), [self._keys[oid] for oid, _ in direct]
        while pending:
            behind = self._behind.get(pending.pop(), set()) - every
            every |= behind
            pending += [self._keys[oid] for oid, _ in behind]
        read = frozenset(self._columns[pair] for pair in every if pair[1])
        relations = {self._keys[oid] for oid, _ in every}
        verdict.hold_reads(read, access)
        listed = {u.relation for u in access.relations}
        if relations != listed:
            verdict.add("relations", f"the view depends on {sorted(relations)}, listed: {sorted(listed)}")
        unread = set(access.reads) - read
        if unread:
            unread = self._without_whole_rows(sql, access, read, unread)
        verdict.unread = frozenset(unread)

    def _without_whole_rows(
        self, sql: str, access: Access, read: frozenset[ColumnRef], unread: set[ColumnRef]
    ) -> set[ColumnRef]:
        """A whole row depends on no single column, but needs the right to read all: takes such relations' columns out."""
        for relation in sorted({c.relation for c in unread}):
            kept = {c for c in access.reads if c in read or c.relation != relation}
            state, _ = self._as_role(sql, self._grants(access, kept))
            self._say("ROLLBACK")
            if state == _NO_RIGHT:
                unread = {c for c in unread if c.relation != relation}
        return unread


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
