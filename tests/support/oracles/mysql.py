"""MariaDB as an oracle.

- Reads, relations, changes: of roles that each lack one right, those that may not prepare the original text (see `mysql_database`).
- Writes: run in a READ ONLY transaction it fails for that reason, or it has no result set, or the session shows afterwards that a
  variable, a lock, the last inserted id or a table without transactions is another than before. A session that shows it is replaced.

Joined updates are run (and rolled back) to ask about rights, as MariaDB looks at the columns of those only then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pymysql
from pymysql.cursors import SSCursor

from guardrails.model import Access, Catalog, ColumnRef, DialectName
from tests.support.oracles.base import CHANGES, Verdict, changed
from tests.support.oracles.mysql_database import GrammarDatabase, Roles, fill_mysql_grammar

__all__ = ["MysqlOracle"]

_DENIED = {1142, 1143, 1356}
"""No right on a table, a column, or on what stands behind a view."""
_READ_ONLY, _LATE, _NOT_PREPARED = 1792, 1969, 1295
_INSERT = re.compile(
    r"(?P<insert>(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?(?:INTO\s+)?(?P<target>(?:(?:`[^`]+`|\w+)\.)?(?:`[^`]+`|\w+)).*?)"
    r"(?:\s+ON DUPLICATE KEY UPDATE\s+(?P<updates>.*?))?(?:\s+RETURNING\s+(?P<returned>.*))?",
    re.DOTALL,
)
_INSERTED = re.compile(r"\bVALUES\s*\([^()]*\)")
_EFFECTS = (
    "SELECT RELEASE_ALL_LOCKS(), (SELECT COUNT(*) FROM information_schema.USER_VARIABLES), LAST_INSERT_ID(),"
    " (SELECT COUNT(*) FROM bumps), (SELECT next_not_cached_value FROM probe_seq), @@sql_mode"
)
_EFFECT_NAMES = ("a lock", "a user variable", "the last inserted id", "a table without transactions", "a sequence", "the mode")


class MysqlOracle:
    """The grammar's databases on a server, dropped at the end.

    Args:
        server: URL of the server, as root.
        seconds: How long a statement may run before it says nothing.
    """

    dialect: DialectName = "mysql"

    def __init__(self, server: str, seconds: float = 0.3) -> None:
        self._seconds = seconds
        self._database = GrammarDatabase(server, fill_mysql_grammar)
        self._catalog = self._database.catalog()
        self._roles = Roles.create(self._database, self._catalog)
        self._asking = self._database.connect(self._roles.user)
        self._accepting = self._database.connect()
        self._database.ask(self._asking, f"SET ROLE {self._roles.every}")
        self._database.ask(self._asking, self._database.on_server("USE gr_main"))
        self._open_runner()

    def _open_runner(self) -> None:
        self._running = self._database.connect()
        self._database.ask(self._running, f"SET SESSION max_statement_time = {self._seconds}")
        self._before = self._effects()

    def catalog(self) -> Catalog:
        return self._catalog

    def accepts(self, sql: str) -> bool:
        return self._prepared(self._accepting, sql) in (0, _NOT_PREPARED)

    def verdict(self, sql: str, access: Access, *, is_run: bool) -> Verdict:
        verdict = Verdict()
        if is_run:
            self._run(sql, verdict)
        self._hold_rights(sql, access, verdict)
        return verdict

    def close(self) -> None:
        self._running.close()
        self._asking.close()
        self._accepting.close()
        self._roles.drop(self._database.admin)
        self._database.drop()

    def _prepared(self, connection: pymysql.Connection, sql: str) -> int:
        """Returns the number of the error with which the server refuses to prepare a text; 0 when it does not."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("PREPARE gr_statement FROM %s", (self._database.on_server(sql),))
        except pymysql.MySQLError as error:
            return int(error.args[0])
        return 0

    def _run(self, sql: str, verdict: Verdict) -> None:
        self._database.ask(self._running, "START TRANSACTION READ ONLY")
        effects: list[str] = []
        cursor = self._running.cursor(SSCursor)
        try:
            cursor.execute(self._database.on_server(sql))
            if cursor.description is None:
                effects.append("no result set")
            while cursor.fetchmany(500):
                pass
        except pymysql.MySQLError as error:
            verdict.is_late = error.args[0] == _LATE
            verdict.has_failed = not verdict.is_late
            if error.args[0] == _READ_ONLY:
                effects.append("refused in a read-only transaction")
        finally:
            cursor.close()
        self._database.ask(self._running, "ROLLBACK")
        after = self._effects()
        effects += [name for name, old, new in zip(_EFFECT_NAMES, self._before, after, strict=True) if old != new]
        if effects:
            verdict.wrote = True
            verdict.add("wrote", f"left {effects}")
            self._running.close()
            self._open_runner()

    def _effects(self) -> tuple[object, ...]:
        return self._database.ask(self._running, _EFFECTS)[0]

    def _hold_rights(self, sql: str, access: Access, verdict: Verdict) -> None:
        roles, relations = self._roles, self._catalog.relations
        error = self._asked(roles.every, sql)
        if error == _NOT_PREPARED:
            return
        if error:
            verdict.add("rights", f"a role with every right on data is refused with {error}")
            return
        is_run = access.kind in ("insert", "update")
        listed = {u.relation for u in access.relations}
        needed = {key for key in relations if self._lacks(roles.without_relation[key], sql, is_run=is_run)}
        if needed != listed:
            verdict.add("relations", f"the server: {sorted(needed)}, listed: {sorted(listed)}")
        asked = [ColumnRef(key, c) for key in sorted(needed | listed) for c in relations[key].column_names]
        changing, returning = self._parts(sql) if access.kind == "insert" else ([sql], [])
        parts = [*changing, *returning]
        read = frozenset(c for c in asked if any(self._lacks(roles.without_read[c], part, is_run=is_run) for part in parts))
        verdict.hold_reads(read, access)
        verdict.unread = frozenset(access.reads) - read
        if not CHANGES & set(access.actions):
            if self._lacks(roles.reader, sql):
                verdict.add("writes", "a role that may only read is refused")
            return
        self._hold_changes(sql, changing, access, verdict)

    def _parts(self, sql: str) -> tuple[list[str], list[str]]:
        """Returns an INSERT and what it updates on duplicates, and what it returns, as statements of their own.

        In one statement the server asks for the right to read each column that is assigned (ON DUPLICATE KEY UPDATE) or inserted
        (RETURNING) whether or not its value is used, and for the right to insert what is returned.
        """
        found = _INSERT.fullmatch(sql)
        if found is None:
            return [sql], []
        target, updates, returned = found["target"], found["updates"], found["returned"]
        changing = [found["insert"]] + ([f"UPDATE {target} SET {_INSERTED.sub('NULL', updates)}"] if updates else [])
        returning = [f"DELETE FROM {target} RETURNING {returned}"] if returned else []
        is_whole = all(self._asked(self._roles.every, part) == 0 for part in [*changing, *returning])
        return (changing, returning) if is_whole else ([sql], [])

    def _hold_changes(self, sql: str, parts: Sequence[str], access: Access, verdict: Verdict) -> None:
        is_run = access.kind in ("insert", "update")
        asked = [(verb, use.relation) for verb in ("insert", "update", "delete") for use in access.relations]
        done = {place for place in asked if self._lacks(self._roles.without_verb[place], sql, is_run=is_run)}
        if done != changed(access):
            verdict.add("writes", f"the server: {sorted(done)}, listed: {sorted(changed(access))}")
        deleted = {key for verb, key in done if verb == "delete"}
        assigned = {
            column
            for key in {key for _, key in done} - deleted
            for column in (ColumnRef(key, c) for c in self._catalog.relations[key].column_names)
            if any(self._lacks(self._roles.without_write[column], part, is_run=is_run) for part in parts)
        }
        listed = {c for c in access.writes if c.relation not in deleted}
        if assigned != listed:
            verdict.add("writes", f"columns, the server: {sorted(assigned)}, listed: {sorted(listed)}")

    def _lacks(self, role: str, sql: str, *, is_run: bool = False) -> bool:
        """Whether the role lacks a right that the statement needs; `is_run`: it may show only when it is run."""
        error = self._asked(role, sql)
        if error or not is_run:
            return error in _DENIED
        self._database.ask(self._asking, "START TRANSACTION")
        try:
            self._database.ask(self._asking, self._database.on_server(sql))
        except pymysql.MySQLError as failure:
            return failure.args[0] in _DENIED
        finally:
            self._database.ask(self._asking, "ROLLBACK")
        return False

    def _asked(self, role: str, sql: str) -> int:
        self._database.ask(self._asking, f"SET ROLE {role}")
        return self._prepared(self._asking, sql)
