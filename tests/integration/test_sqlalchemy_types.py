"""Values of every type come back from a guarded engine as from a bare one, and are stored as by a bare one."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from guardrails import Guard, Policy
from tests.support.guarded_shop import ANA
from tests.support.shop_urls import shop_url

POLICY = "version: 1\nrules: [{id: all, effect: allow, actions: [read, write], relations: ['*']}]"
DRIVERS = {"sqlite": "sqlite", "postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}


class Colour(enum.Enum):
    red = 1
    blue = 2


VALUES: dict[str, tuple[Any, Any]] = {
    "whole": (sa.BigInteger, 2**40),
    "exact": (sa.Numeric(20, 8), Decimal("1.12345678")),
    "rounded": (sa.Numeric(10, 2, asdecimal=False), 1.5),
    "real": (sa.Float, 0.5),
    "real_as_decimal": (sa.Float(asdecimal=True), Decimal("0.5")),
    "day": (sa.Date, date(2026, 1, 2)),
    "moment": (sa.DateTime, datetime.fromisoformat("2026-01-02T03:04:05")),
    "clock": (sa.Time, time(3, 4, 5)),
    "span": (sa.Interval, timedelta(days=2, seconds=3)),
    "word": (sa.String(30), "ü%s :x 'q' \\ ?"),
    "long": (sa.Text, "a\nb"),
    "flag": (sa.Boolean, False),
    "raw": (sa.LargeBinary, b"\0\xff\n"),
    "document": (sa.JSON, {"a": [1, None, {"b": "ü"}], "c": 1.5}),
    "id_as_uuid": (sa.Uuid, uuid.UUID(int=7)),
    "id_as_text": (sa.Uuid(as_uuid=False), str(uuid.UUID(int=8))),
    "colour": (sa.Enum(Colour, native_enum=False), Colour.blue),
}
OWN: dict[str, dict[str, tuple[Any, Any]]] = {
    "sqlite": {},
    "postgres": {
        "moment_with_zone": (sa.DateTime(timezone=True), datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        "numbers": (postgresql.ARRAY(sa.Integer), [1, 2, 3]),
        "words": (postgresql.ARRAY(sa.Text), ["a", None, "b"]),
        "binary_document": (postgresql.JSONB, ["x", {"y": None}]),
        "native": (sa.Enum(Colour, name="colour"), Colour.red),
    },
    "mysql": {"year": (mysql.YEAR, 2026), "small": (mysql.TINYINT(1), 1), "choice": (mysql.ENUM("a", "b"), "b")},
}


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_values_come_back_the_same(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    url = shop_url(request, name)
    kinds = VALUES | OWN[name]
    table = sa.Table(
        "samples",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(c, t) for c, (t, _) in kinds.items()),
    )
    bare = sa.create_engine(sa.make_url(url).set(drivername=DRIVERS[name]))
    table.create(bare)
    given = {column: value for column, (_, value) in kinds.items()}
    with bare.begin() as connection:
        connection.execute(table.insert().values(id=1, **given))
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with (
        Guard.open(Policy.from_text(POLICY), database=url, ledger=ledger) as guard,
        guard.session(principal=ANA, agent="a"),
    ):
        engine = guard.engine()
        with engine.begin() as connection:
            connection.execute(table.insert().values(id=2, **given))
            connection.execute(table.insert().values(id=3, **dict.fromkeys(given)))
        for reader in (bare, engine):
            with reader.connect() as connection:
                first, second, nothing = connection.execute(sa.select(table).order_by(table.c.id)).all()
            assert first._mapping.keys() == table.c.keys()
            assert dict(zip(given, first[1:], strict=True)) == dict(zip(given, second[1:], strict=True)) == given
            assert list(map(type, first)) == list(map(type, second))
            assert nothing[1:] == (None,) * len(given)
        for column in ("whole", "exact", "day", "moment", "word", "flag", "raw", "id_as_uuid", "colour"):
            with engine.connect() as connection:
                query = sa.select(table.c.id).where(table.c[column] == given[column]).order_by(table.c.id)
                assert connection.execute(query).scalars().all() == [1, 2], column
        with engine.connect() as connection:
            labelled = connection.execute(sa.text("SELECT id AS a, word, id + 1 AS b FROM samples WHERE id = 1"))
            assert list(labelled.keys()) == ["a", "word", "b"]
        found = {c["name"]: c["type"] for c in sa.inspect(engine).get_columns("samples")}
        expected = {c["name"]: c["type"] for c in sa.inspect(bare).get_columns("samples")}
        # A type of the database's users has no description in the catalog.
        assert {c for c in found if found[c]._type_affinity is not expected[c]._type_affinity} <= {"native"}
    bare.dispose()
