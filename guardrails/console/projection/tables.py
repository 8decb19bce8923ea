"""The tables of the projection: everything in them is derived from the ledger and can be made again from it at any time."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["COUNTED", "VERSION", "Tables"]

VERSION = 1
"""Version of the tables and of what is folded into them; another one is rebuilt."""

COUNTED = ("statements", "refused", "asked", "failed", "unknown", "messages", "rows", "rows_changed")
"""What is counted of a session."""

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Tables:
    """The tables, in a schema of their own where the database has schemas.

    `state` has one row: how many entries were folded, and the root hash of the tree of that size. `entries` is what lists are made
    from, with numbers for its kinds and people; what an entry says is read from the ledger itself. `tallies` counts by measure and
    bucket of time: an hour, or a grain (see `folding.GRAINS`) for what is counted by principal and column.
    """

    def __init__(self, schema: str | None) -> None:
        self.metadata = sa.MetaData(schema=schema)
        self.state = sa.Table(
            "state",
            self.metadata,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("version", sa.Integer, nullable=False),
            sa.Column("size", _NUMBER, nullable=False),
            sa.Column("root", sa.Text, nullable=False),
        )
        self.kinds, self.people = (
            sa.Table(
                name,
                self.metadata,
                sa.Column("no", sa.Integer, primary_key=True, autoincrement=False),
                sa.Column("name", sa.Text, nullable=False, unique=True),
            )
            for name in ("kinds", "people")
        )
        self.entries = sa.Table(
            "entries",
            self.metadata,
            sa.Column("idx", _NUMBER, primary_key=True, autoincrement=False),
            sa.Column("kind", sa.Integer, nullable=False),
            sa.Column("session", _NUMBER),
            sa.Column("principal", sa.Integer),
            sa.Column("time_us", _NUMBER, nullable=False),
        )
        for columns in (("kind",), ("session",), ("principal",), ("principal", "kind"), ("time_us",)):
            sa.Index(f"entries_by_{'_'.join(columns)}", *(self.entries.c[name] for name in columns), self.entries.c.idx)
        self.sessions = sa.Table(
            "sessions",
            self.metadata,
            # The index of its first entry is a session's number.
            sa.Column("first", _NUMBER, primary_key=True, autoincrement=False),
            sa.Column("id", sa.Text, nullable=False, unique=True),
            sa.Column("last", _NUMBER, nullable=False),
            sa.Column("began_us", _NUMBER, nullable=False),
            sa.Column("last_us", _NUMBER, nullable=False),
            sa.Column("is_acting", sa.Integer, nullable=False),
            *(sa.Column(name, sa.Text) for name in ("principal", "issuer", "verified", "agent", "model", "purpose")),
            sa.Column("conversation", sa.Text),
            *(sa.Column(name, _NUMBER, nullable=False) for name in COUNTED),
        )
        for name in ("is_acting", "principal", "agent", "conversation"):
            sa.Index(f"sessions_by_{name}", self.sessions.c[name], self.sessions.c.first)
        self.links = sa.Table(
            "links",
            self.metadata,
            sa.Column("request", sa.Text, primary_key=True),
            sa.Column("idx", _NUMBER, primary_key=True, autoincrement=False),
        )
        self.rules = sa.Table(
            "rules",
            self.metadata,
            sa.Column("rule", sa.Text, primary_key=True),
            *(sa.Column(name, _NUMBER, nullable=False) for name in ("allowed", "asked", "refused", "last", "last_us")),
        )
        self.tallies = sa.Table(
            "tallies",
            self.metadata,
            sa.Column("measure", sa.Text, primary_key=True),
            sa.Column("bucket", _NUMBER, primary_key=True, autoincrement=False),
            sa.Column("subject", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("count", _NUMBER, nullable=False),
        )
