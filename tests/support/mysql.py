"""MariaDB for tests: fresh databases, and plain connections whose session reads SQL as the guard's does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymysql
from sqlalchemy.engine import make_url

__all__ = ["SETTLED_TIES", "connect", "new_database", "run"]

SETTLED_TIES = "SET SESSION tmp_memory_table_size = 0"
"""A setting under which MariaDB sorts equals the same way in every session.

It sorts the rows of its temporary tables by their place where keys are equal. In memory that is an address, which differs from
session to session (4 orders in 20 sessions for one statement on one database); in a file it is the order in which they came.
"""

_MODES = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


def connect(url: str, first: str | None = None) -> pymysql.Connection[Any]:
    """Opens a connection of PyMySQL's in autocommit mode; `first` is run on it at once."""
    target = make_url(url)
    return pymysql.connect(
        host=target.host,
        port=target.port or 3306,
        user=target.username,
        password=target.password or "",
        database=target.database or None,
        charset="utf8mb4",
        autocommit=True,
        sql_mode=_MODES,
        init_command=first,
    )


def run(url: str, *statements: str) -> None:
    """Runs statements one after the other."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """Makes a fresh empty database on a server, gives its URL, and drops it."""
    name = f"guardrails_{uuid.uuid4().hex[:16]}"
    run(url, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        run(url, f"DROP DATABASE {name}")
