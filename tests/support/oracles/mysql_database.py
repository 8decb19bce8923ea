"""Two databases of one's own on a MariaDB server under the names that the grammar uses, and roles that each lack one right.

Statements and the library's catalog name the databases `gr_main` and `sales`; on the server they have names of the process's own.
MariaDB checks rights on tables and columns while it prepares a statement, so that a role without one right tells whether a statement
needs it. Source: https://mariadb.com/kb/en/grant/, https://mariadb.com/kb/en/roles_overview/
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pymysql
from sqlalchemy.engine import make_url

from guardrails.catalog import mysql_digests, read_mysql
from guardrails.model import Catalog, ColumnRef, Relation
from tests.support.grammar import FLAVOURS, ddl, rows
from tests.support.grammar.schema import TABLES
from tests.support.mysql import SETTLED_TIES, connect

__all__ = ["MAIN", "GrammarDatabase", "Roles", "fill_mysql_grammar"]

MAIN, _NEIGHBOUR = "gr_main", "sales"
_NAMES = re.compile(rf"\b({MAIN}|{_NEIGHBOUR})\b")
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def fill_mysql_grammar(database: GrammarDatabase) -> None:
    """Makes the grammar's schema and rows; its views have the rights of who reads them."""
    flavour = FLAVOURS["mysql"]
    with closing(connect(database.url)) as connection, connection.cursor() as cursor:
        for statement in ddl(flavour):
            if not statement.startswith("CREATE SCHEMA"):
                cursor.execute(database.on_server(statement.replace("CREATE VIEW", "CREATE SQL SECURITY INVOKER VIEW")))
        for table, row in rows():
            values = [v for v, kind in zip(row, TABLES[table].values(), strict=True) if kind in flavour.types]
            target = database.on_server(flavour.spell(table))
            cursor.execute(f"INSERT INTO {target} VALUES ({', '.join(['%s'] * len(values))})", values)
        tables = ", ".join(database.on_server(flavour.spell(t)) for t in flavour.tables())
        cursor.execute(f"ANALYZE TABLE {tables}")


class GrammarDatabase:
    """Databases on a server, dropped at the end, and a user who may do everything in them and little else.

    Args:
        server: URL of the server, as root.
        fill: Makes schema and rows.
    """

    def __init__(self, server: str, fill: Callable[[GrammarDatabase], object]) -> None:
        self._server = server
        self.name = f"gr_oracle_{uuid.uuid4().hex[:10]}"
        self._real = {MAIN: self.name, _NEIGHBOUR: f"{self.name}_sales"}
        self._written = {real: written for written, real in self._real.items()}
        self._back = re.compile("|".join(sorted(self._written, key=len, reverse=True)))
        self.url = make_url(server).set(database=self.name).render_as_string(hide_password=False)
        self.admin = connect(server)
        for real in self._real.values():
            self.ask(self.admin, f"CREATE DATABASE {real} CHARACTER SET utf8mb4")
        fill(self)
        self.ask(self.admin, f"CREATE USER {self.name}_all")
        for real in self._real.values():
            self.ask(self.admin, f"GRANT ALL PRIVILEGES ON {real}.* TO {self.name}_all")
        self.ask(self.admin, f"GRANT FILE ON *.* TO {self.name}_all")

    def on_server(self, text: str) -> str:
        """Returns a statement with the names that the databases have."""
        return _NAMES.sub(lambda match: self._real[match.group()], text)

    def as_written(self, text: str) -> str:
        """Returns a text of the server with the names that statements use."""
        return self._back.sub(lambda match: self._written[match.group()], text)

    def connect(self, user: str | None = None) -> pymysql.Connection[Any]:
        """Opens a connection of the user with every right, or another, in a session like the guard's."""
        # Who has no rights yet takes the database later.
        url = make_url(self._server if user else self.url).set(username=user or f"{self.name}_all")
        return connect(url.render_as_string(hide_password=False), SETTLED_TIES)

    def catalog(self) -> Catalog:
        """Returns the library's catalog as the user with every right sees it, with the names that statements use."""
        with closing(self.connect()) as connection:
            found = read_mysql(connection, mysql_digests(connection))
        made = Catalog("mysql", MAIN, {}, found.version)
        relations = {}
        for relation in found.relations.values():
            schema = self.as_written(relation.schema)
            definition = self.as_written(relation.definition) if relation.definition else None
            relations[made.key(schema, relation.name)] = replace(relation, schema=schema, definition=definition)
        return replace(made, relations=relations)

    def place(self, relation: Relation) -> str:
        """Returns a relation's quoted name on the server."""
        return f"`{self._real[relation.schema]}`.`{relation.name}`"

    def drop(self) -> None:
        self.ask(self.admin, f"DROP USER {self.name}_all")
        for real in self._real.values():
            self.ask(self.admin, f"DROP DATABASE {real}")
        self.admin.close()

    @staticmethod
    def ask(connection: pymysql.Connection[Any], sql: str) -> Sequence[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()


@dataclass(frozen=True)
class Roles:
    """Roles over the relations of a database, and one user who may take each of them.

    Args:
        every: May read and change everything.
        reader: May read everything.
        without_relation: By relation: may do everything but anything with it.
        without_verb: By verb and relation: lacks this right.
        without_read: By column: may not read it.
        without_write: By column: may neither insert nor update it.
    """

    user: str
    every: str
    reader: str
    without_relation: Mapping[str, str]
    without_verb: Mapping[tuple[str, str], str]
    without_read: Mapping[ColumnRef, str]
    without_write: Mapping[ColumnRef, str]

    @property
    def names(self) -> list[str]:
        groups = (self.without_relation, self.without_verb, self.without_read, self.without_write)
        return [*(name for group in groups for name in group.values()), self.every, self.reader]

    def drop(self, connection: pymysql.Connection[Any]) -> None:
        GrammarDatabase.ask(connection, f"DROP USER {self.user}")
        GrammarDatabase.ask(connection, f"DROP ROLE {', '.join(self.names)}")

    @classmethod
    def create(cls, database: GrammarDatabase, catalog: Catalog) -> Roles:
        """Makes the roles for every relation of the catalog."""
        return _Maker(database, catalog).made()


class _Maker:
    def __init__(self, database: GrammarDatabase, catalog: Catalog) -> None:
        self._database, self._catalog = database, catalog
        self._user = f"{database.name}_asks"
        self._number = 0

    def made(self) -> Roles:
        self._run(f"CREATE USER {self._user}")
        relations = self._catalog.relations
        every, reader = self._role(), self._role()
        for relation in relations.values():
            self._grant(every, relation, VERBS)
            self._grant(reader, relation, ("SELECT",))
        less: dict[str, str] = {}
        for key in relations:
            less[key] = self._role()
            for other, relation in relations.items():
                if other != key:
                    self._grant(less[key], relation, VERBS)
        verbs: dict[tuple[str, str], str] = {}
        reads: dict[ColumnRef, str] = {}
        writes: dict[ColumnRef, str] = {}
        for key, relation in relations.items():
            for verb in VERBS[1:]:
                verbs[verb.lower(), key] = self._role(less[key])
                self._grant(verbs[verb.lower(), key], relation, [v for v in VERBS if v != verb])
            for column in relation.column_names:
                others = ", ".join(f"`{c}`" for c in relation.column_names if c != column)
                some = [f"{{}} ({others})"] if others else []
                reads[ColumnRef(key, column)] = self._role(less[key])
                self._grant(reads[ColumnRef(key, column)], relation, [*VERBS[1:], *(s.format("SELECT") for s in some)])
                writes[ColumnRef(key, column)] = self._role(less[key])
                limited = [s.format(verb) for s in some for verb in ("INSERT", "UPDATE")]
                self._grant(writes[ColumnRef(key, column)], relation, ["SELECT", "DELETE", *limited])
        return Roles(self._user, every, reader, less, verbs, reads, writes)

    def _role(self, base: str | None = None) -> str:
        self._number += 1
        name = f"{self._database.name}_{self._number}"
        self._run(f"CREATE ROLE {name}")
        if base is not None:
            self._run(f"GRANT {base} TO {name}")
        self._run(f"GRANT {name} TO {self._user}")
        return name

    def _grant(self, role: str, relation: Relation, rights: Sequence[str]) -> None:
        self._run(f"GRANT {', '.join(rights)} ON {self._database.place(relation)} TO {role}")

    def _run(self, sql: str) -> None:
        self._database.ask(self._database.admin, sql)
