"""MariaDB's answers: names and types of columns, and values as the server writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import Cursor

from guardrails.model import Catalog, DialectName
from tests.support.oracles.answers import Answer
from tests.support.oracles.mysql_database import GrammarDatabase

__all__ = ["MysqlAnswers"]

_LATE, _NOW = 1969, 1_780_000_000
_WITH_DIGITS = {
    *(FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL, FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE),
    *(FIELD_TYPE.TIME, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP),
}


class MysqlAnswers:
    """Databases of its own on a server, dropped at the end.

    Args:
        server: URL of the server, as root.
        fill: Makes schema and rows.
        seconds: How long a statement may run.
    """

    dialect: DialectName = "mysql"

    def __init__(self, server: str, fill: Callable[[GrammarDatabase], object], seconds: float = 1.0) -> None:
        self._database = GrammarDatabase(server, fill)
        self._connection = self._database.connect()
        # The clock stands still.
        self._database.ask(self._connection, f"SET SESSION max_statement_time = {seconds}, timestamp = {_NOW}")
        self._connection.decoders = {}
        self._preparing = self._database.connect()

    def catalog(self) -> Catalog:
        return self._database.catalog()

    def accepts(self, sql: str) -> bool:
        try:
            with self._preparing.cursor() as cursor:
                cursor.execute("PREPARE gr_statement FROM %s", (self._database.on_server(sql),))
        except pymysql.MySQLError:
            return False
        return True

    def pair(self, original: str, regenerated: str) -> tuple[Answer, Answer]:
        self._database.ask(self._connection, "START TRANSACTION READ ONLY")
        asked, answered = self._answer(original), self._answer(regenerated)
        self._database.ask(self._connection, "ROLLBACK")
        return asked, answered

    def close(self) -> None:
        self._connection.close()
        self._preparing.close()
        self._database.drop()

    def _answer(self, sql: str) -> Answer:
        with self._connection.cursor(Cursor) as cursor:
            try:
                cursor.execute(self._database.on_server(sql))
                rows = cursor.fetchall()
            except pymysql.MySQLError as error:
                return Answer(error=str(error.args[0]), is_late=error.args[0] == _LATE)
            return Answer(tuple(_column(d, self._database) for d in cursor.description or ()), tuple(rows))


def _column(described: tuple[Any, ...], database: GrammarDatabase) -> tuple[str, str]:
    """Returns name and type; lengths tell of the spelling of constants, and only numbers and times have digits behind the point."""
    name, kind, _, _, _, scale, *_ = described
    return database.as_written(name), f"{kind}({scale})" if kind in _WITH_DIGITS else str(kind)
