"""DuckDB and the Python twin mask every value alike, also after the expression went through the SQL parser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from functools import cache
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.errors import PolicyError
from guardrails.masking import MASK_KINDS, mask_expression, mask_value
from guardrails.model import Column, ColumnRef, Mask
from guardrails.sql.dialects import dialect_of
from guardrails.sql.parse import generate, parse_tree
from guardrails.sql.tokens import tokenize

KEY = bytes(range(32))
_WIDE = Context(prec=100)
Case = tuple[str, str, dict[str, str | int], st.SearchStrategy[Any]]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        # The agent's least favourable session: another time zone.
        connection.execute("SET TimeZone = 'Asia/Kathmandu'; SET threads = 1")
        yield connection


def texts() -> st.SearchStrategy[str]:
    characters = st.characters(exclude_categories=["Cs"])
    return st.text(characters, max_size=60) | st.from_regex(r"[a-z@ .+-]{0,6}@[A-Za-z0-9.@éſK-]{0,8}", fullmatch=True)


def integers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, low + 1, 0, 1, 15, high - 1, high])


def exact(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(-(10**digits) + 1, 10**digits - 1).map(lambda n: _WIDE.scaleb(Decimal(n), -places))


TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))  # noqa: DTZ001
ANY: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("varchar", texts()), ("tinyint", integers(8)), ("smallint", integers(16)), ("integer", integers(32)), ("bigint", integers(64)),
    ("utinyint", integers(8, signed=False)), ("usmallint", integers(16, signed=False)), ("uinteger", integers(32, signed=False)),
    ("ubigint", integers(64, signed=False)), ("decimal(10,2)", exact(10, 2)), ("decimal(4,2)", exact(4, 2)),
    ("decimal(36,6)", exact(36, 6)), ("decimal(18,18)", exact(18, 18)), ("decimal(18,6)", exact(18, 6)), ("decimal(18,0)", exact(18, 0)),
    ("double", st.floats(allow_nan=False)), ("float", st.floats(width=32, allow_nan=False)),

    ("boolean", st.booleans()), ("date", st.dates()), ("timestamp", TIMES), ("time", st.times()),
    ("interval", st.timedeltas(timedelta(days=-900), timedelta(days=900))), ("uuid", st.uuids(version=4)), ("blob", st.binary(max_size=40)),
    ("json", st.just('{"a": 1}')), ("integer[]", st.lists(integers(32), max_size=3)), ("hugeint", integers(128)),
    ("timestamp with time zone", st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))),  # noqa: DTZ001
]  # fmt: skip
OF = dict(ANY)
INTEGERS = [name for name, _ in ANY[1:9]]
DECIMALS = ["decimal(10,2)", "decimal(4,2)", "decimal(18,0)", "decimal(18,18)", "decimal(18,6)"]
FIXED: dict[str, str | int] = {
    "varchar": "it's \\ß\n", "tinyint": -7, "integer": "12", "bigint": 2**63 - 1, "ubigint": 2**64 - 1, "decimal(10,2)": "-12.345",
    "double": "-1e10", "boolean": "true", "date": "2020-02-29", "timestamp": "2020-02-29 01:02:03", "uuid": str(UUID(int=5)),
}  # fmt: skip
# Days back and days forth.
SHIFTS = ((1, "lea"), (30, "lea"), (3650, "bo"), (3650, "lea"))
CASES: list[Case] = [
    *((kind, type_, {}, values) for kind in ("full", "null") for type_, values in ANY),
    *(("fixed", type_, {"value": value}, OF[type_]) for type_, value in FIXED.items()),
    ("partial", "varchar", {"first": 1, "last": 4}, texts()),
    ("partial", "varchar", {"last": 2}, st.sampled_from(["é𝕏" * 30, "a", "", "👨‍👩‍👧 family", "e\u0301e\u0301e\u0301e\u0301"])),
    ("email", "varchar", {}, texts()),
    *((kind, "varchar", {}, texts()) for kind in ("hash", "pseudonym")),
    ("hash", "blob", {}, OF["blob"]),
    *(("pseudonym", type_, {}, OF[type_]) for type_ in (*INTEGERS, "uuid")),
    *(("date", type_, {"to": to}, OF[type_]) for type_ in ("date", "timestamp", "timestamp with time zone")
      for to in ("year", "quarter", "month", "week", "day", "hour") if (type_, to) != ("date", "hour")),
    *(("bucket", type_, {"size": size}, OF[type_]) for type_ in [*INTEGERS, *DECIMALS] for size in (1, 7, 1000, 10**12)),
    *(("round", type_, {"digits": digits}, OF[type_]) for type_ in [*INTEGERS, *DECIMALS] for digits in (-15, -3, 0, 1, 2)),
    *(("shift", type_, {"days": days, "subject": subject}, OF[type_]) for days, subject in SHIFTS
      for type_ in ("date", "timestamp", "timestamp with time zone")),
    *(("noise", type_, {"spread": spread}, OF[type_]) for type_ in [*INTEGERS, *DECIMALS] for spread in (1, 10, 10**12)),
]  # fmt: skip
HIDDEN = {"nulls": "hide"}
CASES += [
    (
        kind,
        type_,
        {**options, **HIDDEN, **({"per": "Tenant no. 1", "subject": "é 1"} if MASK_KINDS[kind].is_keyed else {})},
        values,
    )
    for kind, type_, options, values in CASES
    if MASK_KINDS[kind].keeps_null
]


@cache
def _reparsed(sql: str) -> str:
    rules, text = dialect_of("duckdb"), f"SELECT {sql}"
    return generate(parse_tree(text, tokenize(text, rules), rules), rules).removeprefix("SELECT ")


@pytest.fixture
def declared(connection: duckdb.DuckDBPyConnection, case: Case) -> str:
    """Makes the table of a case; returns the type of its column, as the engine calls it."""
    connection.execute("DROP TABLE IF EXISTS t")
    connection.execute(f'CREATE TABLE t (i INTEGER, "__column__" {case[1]})')
    ((found,),) = connection.execute("SELECT data_type FROM duckdb_columns() WHERE column_name = '__column__'").fetchall()
    return str(found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_duckdb_equals_python(connection: duckdb.DuckDBPyConnection, declared: str, case: Case, data: st.DataObject) -> None:
    kind, type_, options, values = case
    mask = Mask(ColumnRef("t", "c"), kind, tuple(options.items()))
    batch = data.draw(st.lists(st.none() | values, min_size=1, max_size=25))
    column = Column("c", declared.lower())
    written = mask_expression(mask, column, "duckdb", KEY)
    first, second = (
        text.replace(":mask_", "$mask_") for text in (written.sql, _reparsed(written.sql.replace(":mask_", "$mask_")))
    )
    asked = f'SELECT "__column__", {first}, {second}, typeof({first}) FROM t ORDER BY i'
    connection.begin()
    try:
        rows = ", ".join([f"(?, CAST(? AS {type_}))"] * len(batch))
        connection.execute(f"INSERT INTO t VALUES {rows}", [part for row in enumerate(batch) for part in row])
        found = connection.execute(asked, dict(written.bindings) or None).fetchall()
    finally:
        connection.rollback()
    assert len(found) == len(batch)
    for stored, masked, reparsed, type_found in found:
        assert masked == mask_value(mask, column, stored, KEY, dialect="duckdb"), stored
        assert reparsed == masked
        assert type_found == declared or stored is None
        assert masked is not None or stored is not None or options.get("nulls") != "hide"


@pytest.mark.parametrize(
    ("kind", "type_", "options"),
    [
        ("round", "double", {"digits": 1}),
        ("bucket", "float", {"size": 10}),
        ("bucket", "decimal(38,2)", {"size": 10}),
        ("round", "hugeint", {"digits": 0}),
        ("partial", "integer", {"last": 1}),
        ("email", "integer[]", {}),
    ],
)
def test_what_a_mask_does_not_fit_is_an_error(kind: str, type_: str, options: dict[str, int]) -> None:
    with pytest.raises(PolicyError) as caught:
        mask_expression(Mask(ColumnRef("t", "c"), kind, tuple(options.items())), Column("c", type_), "duckdb", KEY)
    assert caught.value.code == "policy.mask_invalid"


def test_constants_have_the_types_of_their_columns(connection: duckdb.DuckDBPyConnection) -> None:
    kinds = {"date": date(1970, 1, 1), "time": time(0), "integer": 0, "varchar": "***", "boolean": False}
    for type_, value in kinds.items():
        sql = mask_expression(Mask(ColumnRef("t", "c"), "full"), Column("c", type_), "duckdb", KEY).sql
        assert connection.execute(f"SELECT {sql}, typeof({sql})").fetchall() == [(value, type_.upper())]
