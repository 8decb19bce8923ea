"""What a change would do beyond its own relation in MySQL, decided before it runs: tables that cannot roll back, triggers, foreign keys.

A trigger passes when it only sets columns of the row that is written. Foreign keys that change other relations are refused, since the
server counts no row that InnoDB changes for them. An account that may not see triggers has the session's own counters compared.
Source: https://mariadb.com/kb/en/information-schema-triggers-table/, https://mariadb.com/kb/en/server-status-variables/ (Handler_…)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guardrails.engines.mysql_connections import Session
from guardrails.engines.mysql_text import constant
from guardrails.errors import EngineError, StatementError
from guardrails.model import Catalog, Plan
from guardrails.sql.dialects.base import function_names
from guardrails.sql.lexemes import Lexeme, lexemes_of

__all__ = ["Changes"]

_DATA_ACTIONS = ("insert", "update", "delete")
_EFFECTIVE = "('CASCADE', 'SET NULL', 'SET DEFAULT')"
_COUNTERS = ("Handler_write", "Handler_update", "Handler_delete")
_TRIGGER_WORDS = frozenset(
    {"BEGIN", "END", "SET", "NEW", "OLD", "IF", "THEN", "ELSE", "ELSEIF", "AND", "OR", "NOT", "IS", "NULL", "TRUE", "FALSE"}
)
_OWN_SYNTAX = frozenset({"cast", "char", "extract", "substring", "trim"})
"""Functions without effects that the list lacks, since the grammar knows them."""


@dataclass(frozen=True, slots=True)
class _Target:
    schema: str
    name: str
    key: str
    actions: frozenset[str]

    def place(self, schema: str, name: str) -> str:
        """A condition that two columns name this relation."""
        return f"{schema} = {constant(self.schema)} AND {name} = {constant(self.name)}"


class Changes:
    """Checks a plan that writes, before and after it ran.

    Args:
        session: Inside the plan's transaction.
        plan: What will run.
        catalog: The schema that it was judged against.
    """

    def __init__(self, session: Session, plan: Plan, catalog: Catalog) -> None:
        self._session = session
        self._plan = plan
        self._targets = [
            _target(key, plan, catalog) for key in sorted({u.relation for u in plan.relations if u.action in _DATA_ACTIONS})
        ]
        self._written = {c.relation for c in plan.writes} | {t.key for t in self._targets}
        self._catalog = catalog
        self._before: Mapping[str, int] | None = None

    def check_before(self) -> None:
        """Checks the relations that the plan changes.

        Raises:
            EngineError: A change could not be undone, or would have further effects (``engine.refused``).
        """
        if not self._targets:
            raise _refused("The change names no relation.")
        for target in self._targets:
            self._check_engine(target)
            self._check_triggers(target)
            self._check_foreign_keys(target)
        if not all(map(self._sees_triggers, self._targets)):
            self._before = self._counters()

    def checked(self, rows: int) -> int:
        """Returns the rows changed.

        Args:
            rows: As the server reports them for the statement.

        Raises:
            EngineError: They are too many (``engine.too_many_rows_changed``), or others changed as well (``engine.refused``).
        """
        if self._before is not None:
            now = self._counters()
            if sum(now[name] - self._before[name] for name in _COUNTERS) > rows:
                raise _refused(
                    "The change has further effects, of a trigger for instance.",
                    hint="Grant the account TRIGGER, so that triggers can be judged before they run.",
                )
        if rows > self._plan.limits.rows_changed:
            message = f"More than {self._plan.limits.rows_changed} rows would change; nothing was changed."
            raise EngineError("engine.too_many_rows_changed", message, evidence={"rows": rows})
        return rows

    def _check_engine(self, target: _Target) -> None:
        sql = (
            "SELECT t.TABLE_TYPE, e.TRANSACTIONS FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e"  # noqa: S608 - quoted
            f" ON e.ENGINE = t.ENGINE WHERE {target.place('t.TABLE_SCHEMA', 't.TABLE_NAME')}"
        )
        found = self._session.rows(sql)
        if not found:
            raise EngineError("engine.schema_changed", "A relation is no longer there.")
        if found[0] != ("BASE TABLE", "YES"):
            raise _refused("The table's storage engine cannot undo changes, so it is never changed.", target.key)

    def _check_triggers(self, target: _Target) -> None:
        events = ", ".join(constant(action.upper()) for action in sorted(target.actions))
        sql = (
            "SELECT ACTION_STATEMENT FROM information_schema.TRIGGERS"  # noqa: S608 - quoted
            f" WHERE {target.place('EVENT_OBJECT_SCHEMA', 'EVENT_OBJECT_TABLE')} AND EVENT_MANIPULATION IN ({events})"
        )
        found = [statement for (statement,) in self._session.rows(sql)]
        if None in found and not self._sees_triggers(target):
            # MariaDB names a trigger that the account may not see, without its text: its effects are counted.
            found = [statement for statement in found if statement is not None]
        if not all(_is_plain(str(statement)) for statement in found):
            raise _refused("A trigger of the table may have effects on other relations.", target.key)

    def _check_foreign_keys(self, target: _Target) -> None:
        rules = [f"{rule}_RULE IN {_EFFECTIVE}" for rule in ("DELETE", "UPDATE") if rule.lower() in target.actions]
        if not rules:
            return
        sql = (
            "SELECT r.CONSTRAINT_SCHEMA, r.TABLE_NAME, r.DELETE_RULE, k.REFERENCED_COLUMN_NAME"  # noqa: S608 - quoted
            " FROM information_schema.REFERENTIAL_CONSTRAINTS r JOIN information_schema.KEY_COLUMN_USAGE k"
            " ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME"
            f" WHERE {target.place('r.UNIQUE_CONSTRAINT_SCHEMA', 'r.REFERENCED_TABLE_NAME')} AND ({' OR '.join(rules)})"
        )
        assigned = {c.column.lower() for c in self._plan.writes if c.relation == target.key}
        for schema, table, delete_rule, column in self._session.rows(sql):
            is_deleting = "delete" in target.actions and delete_rule in ("CASCADE", "SET NULL", "SET DEFAULT")
            is_moving = "update" in target.actions and str(column).lower() in assigned
            if (is_deleting or is_moving) and self._catalog.key(schema, table) not in self._written - {target.key}:
                raise _refused("A foreign key would change rows of another relation as well.", target.key)

    def _sees_triggers(self, target: _Target) -> bool:
        """Whether the account itself (not a role of it) has the right to see the table's triggers."""
        grantee = """CONCAT("'", REPLACE(CURRENT_USER(), '@', "'@'"), "'")"""
        places = {
            "USER_PRIVILEGES": "TRUE",
            "SCHEMA_PRIVILEGES": f"TABLE_SCHEMA = {constant(target.schema)}",
            "TABLE_PRIVILEGES": target.place("TABLE_SCHEMA", "TABLE_NAME"),
        }
        parts = (
            f"SELECT 1 FROM information_schema.{name} WHERE PRIVILEGE_TYPE = 'TRIGGER' AND GRANTEE = {grantee} AND {place}"  # noqa: S608 - constants
            for name, place in places.items()
        )
        return bool(self._session.rows(" UNION ALL ".join(parts)))

    def _counters(self) -> Mapping[str, int]:
        rows = self._session.rows("SHOW SESSION STATUS LIKE 'Handler%'")
        return {name: int(value) for name, value in rows if name in _COUNTERS}


def _target(key: str, plan: Plan, catalog: Catalog) -> _Target:
    relation = catalog.relations.get(key)
    schema, name = (relation.schema, relation.name) if relation is not None else (catalog.default_schema, key)
    actions = frozenset(u.action for u in plan.relations if u.relation == key and u.action in _DATA_ACTIONS)
    return _Target(schema, name, key, actions)


def _is_plain(statement: str) -> bool:
    """Whether a trigger's statement only sets columns of its own row from functions without effects."""
    try:
        lexemes = lexemes_of(" ".join(statement.split()), "mysql")
    except StatementError:
        return False
    return all(_is_plain_lexeme(lexemes, index) for index in range(len(lexemes)))


def _is_plain_lexeme(lexemes: tuple[Lexeme, ...], index: int) -> bool:
    lexeme, before = lexemes[index], lexemes[index - 1].text if index else ";"
    after = lexemes[index + 1].text if index + 1 < len(lexemes) else ""
    if lexeme.kind == "sign":
        return not lexeme.text.startswith("@")
    if lexeme.kind != "word":
        return lexeme.kind != "name" or before == "."
    if before == ".":
        return True
    if after == "(":
        return lexeme.text.lower() in function_names("mysql") | _OWN_SYNTAX or lexeme.text.upper() in _TRIGGER_WORDS
    return _TRIGGER_WORDS.issuperset(lexeme.text.upper().split())


def _refused(message: str, relation: str = "", *, hint: str = "") -> EngineError:
    return EngineError("engine.refused", message, hint=hint, evidence={"relation": relation})
