"""PostgreSQL and the Python twin mask every value alike, also after the expression went through the SQL parser."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.masking import MASK_KINDS, mask_expression, mask_value
from guardrails.model import Column, ColumnRef, Mask

KEY = bytes(range(32))
Case = tuple[str, str, dict[str, str | int], st.SearchStrategy[Any]]


@pytest.fixture(scope="module")
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # The guard's sessions see pg_catalog alone; the time zone and date style are the agent's least favourable ones.
        connection.execute("SET search_path = pg_catalog")
        connection.execute("SET timezone = 'Asia/Kathmandu'")
        yield connection


def texts(max_size: int = 60) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    addresses = st.from_regex(r"[a-z@ .+-]{0,6}@[A-Za-z0-9.@é-]{0,8}", fullmatch=True)
    return st.text(characters, max_size=max_size) | addresses.map(lambda text: text[:max_size])


def padded(size: int) -> st.SearchStrategy[str]:
    return texts(size).map(lambda text: text.ljust(size))


def integers(bits: int) -> st.SearchStrategy[int]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return st.integers(low, high) | st.sampled_from([low, low + 1, -1, 0, 1, high - 1, high])


def floats(width: int) -> st.SearchStrategy[float]:
    extremes = [5e-324, -5e-324, 1.7976931348623157e308] if width == 64 else []
    return st.floats(width=width) | st.sampled_from([0.0, -0.0, 15.0, 1e15, *extremes])  # type: ignore[arg-type]


DATES = st.dates()
NAIVE = st.datetimes()
AWARE = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
NUMERICS = st.decimals(allow_nan=True, allow_infinity=False, places=12) | st.decimals(allow_nan=False, allow_infinity=False)
NUMERICS = NUMERICS.filter(lambda n: not n.is_finite() or abs(n.adjusted()) < 1000)
NUMERICS |= st.sampled_from([Decimal(n) for n in ("Infinity", "-Infinity", "NaN", "-1.50", "100.00", "-100.0")])

ANY: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("text", texts()), ("character varying(40)", texts(40)), ("varchar(2)", texts(2)), ("character(5)", padded(5)),
    ("smallint", integers(16)), ("integer", integers(32)), ("bigint", integers(64)), ("numeric(12,2)", st.just(Decimal("1.50"))),
    ("numeric", NUMERICS), ("real", floats(32)), ("double precision", floats(64)), ("boolean", st.booleans()), ("date", DATES),
    ("timestamp(3) without time zone", NAIVE), ("timestamp with time zone", AWARE), ("time without time zone", st.times()),
    ("interval", st.timedeltas()), ("uuid", st.uuids()), ("jsonb", st.just({"a": 1})), ("json", st.just({"a": 1})),
    ("bytea", st.binary()), ("integer[]", st.just([1, 2])), ("inet", st.just("10.0.0.1")), ("point", st.just("(1,2)")),
]  # fmt: skip
# Days back and days forth.
SHIFTS = ((1, "lea"), (30, "lea"), (3650, "bo"), (3650, "lea"))
CASES: list[Case] = [
    *((kind, type_, {}, values) for kind in ("full", "null") for type_, values in ANY),
    *(("fixed", type_, {"value": value}, values) for type_, values in ANY for value in [{
        "text": "it's \\ß", "character varying(40)": "x", "varchar(2)": "ab", "character(5)": "ab", "smallint": -7,
        "integer": "12", "bigint": 2**63 - 1, "numeric(12,2)": "-12.345", "numeric": "1e3", "real": "1.5",
        "double precision": "-1e10", "boolean": "true", "date": "2020-02-29", "timestamp(3) without time zone": "2020-02-29 01:02:03",
        "timestamp with time zone": "2020-02-29T01:02:03+02:00", "uuid": str(UUID(int=5)), "jsonb": '{"a": [1, "x\'"]}',
        "json": '"text"',
    }.get(type_)] if value is not None),
    *(("partial", type_, {"first": 1, "last": 4}, values) for type_, values in ANY[:4]),
    ("partial", "text", {"last": 2}, st.integers(0, 5).map(lambda n: "é𝕏" * 10**n)),
    *(("email", type_, {}, values) for type_, values in ANY[:4]),
    *((kind, type_, {}, values) for kind in ("hash", "pseudonym") for type_, values in
      [("text", texts()), ("varchar(20)", texts(20)), ("varchar(80)", texts(80)), ("character(30)", padded(30)), ("bpchar", texts())]),
    ("hash", "bytea", {}, st.binary()),
    *(("pseudonym", type_, {}, values) for type_, values in ANY[4:7]),
    ("pseudonym", "uuid", {}, st.uuids()),
    *(("date", "date", {"to": to}, DATES) for to in ("year", "quarter", "month", "week", "day")),
    *(("date", "timestamp without time zone", {"to": to}, NAIVE) for to in ("year", "month", "week", "hour")),
    *(("date", "timestamp with time zone", {"to": to}, AWARE) for to in ("year", "quarter", "week", "day", "hour")),
    *(("bucket", type_, {"size": size}, values) for size in (1, 7, 1000, 40_000, 10**12) for type_, values in [*ANY[4:7], *ANY[8:11]]),
    *(("round", type_, {"digits": digits}, values) for digits in (-15, -3, 0, 2) for type_, values in [*ANY[4:7], *ANY[8:11]]),
    *(("shift", type_, {"days": days, "subject": subject}, values) for days, subject in SHIFTS for type_, values in
      [("date", DATES), ("timestamp without time zone", NAIVE), ("timestamp(3) without time zone", NAIVE),
       ("timestamp with time zone", AWARE)]),
    *(("noise", type_, {"spread": spread}, values) for spread in (1, 10, 10**12) for type_, values in
      [*ANY[4:7], ANY[8], ("numeric(12,2)", st.decimals(-(10**10), 10**10, places=2).filter(lambda n: abs(n) < 10**10 - 1))]),
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_postgres_equals_python(connection: psycopg.Connection[Any], case: Case, data: st.DataObject) -> None:
    kind, type_, options, values = case
    mask = Mask(ColumnRef("t", "c"), kind, tuple(options.items()))
    column = Column("c", type_)
    batch = data.draw(st.lists(st.none() | values, min_size=1, max_size=25))
    written = mask_expression(mask, column, "postgres", KEY)
    parsed = re.sub(r"%(?!\()", "%%", sqlglot.parse_one(written.sql, dialect="postgres").sql("postgres"))
    plain = written.sql.replace("%", "%%")
    for name in written.bindings:
        plain = plain.replace(f":{name} ", f"%({name})s ")
    rows = connection.execute(
        f'SELECT "__column__", {plain}, {parsed}, format_type(pg_typeof({plain}), NULL) = format_type(pg_typeof("__column__"), NULL)'
        f' FROM unnest(%(batch)s::text[]) AS u(v), LATERAL (SELECT CAST(v AS {type_}) AS "__column__") AS t',
        {"batch": [_literal(value) for value in batch], **written.bindings},
    ).fetchall()
    for stored, masked, reparsed, is_same_type in rows:
        assert is_same_type
        assert masked is not None or stored is not None or options.get("nulls") != "hide"
        expected = mask_value(mask, column, stored, KEY)
        assert _comparable(masked, type_) == _comparable(expected, type_), stored
        assert _comparable(reparsed, type_) == _comparable(masked, type_), stored


def test_full_hides_null_and_types_survive_in_a_table(connection: psycopg.Connection[Any]) -> None:
    column = Column("c", "character varying(20)")
    full = mask_expression(Mask(ColumnRef("t", "c"), "full"), column, "postgres", KEY)
    row = connection.execute(f'SELECT {full.sql} FROM (SELECT CAST(NULL AS varchar(20)) AS "__column__") AS t').fetchone()
    assert row == ("***",)


def test_hmac_equals_an_independent_implementation(connection: psycopg.Connection[Any]) -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC

    written = mask_expression(Mask(ColumnRef("t", "c"), "hash"), Column("c", "text"), "postgres", KEY)
    inner = written.bindings["mask_hash_inner"]
    assert isinstance(inner, bytes)
    oracle = HMAC(bytes(b ^ 0x36 for b in inner), SHA256())
    oracle.update("naïve".encode())
    plain = written.sql
    for name in written.bindings:
        plain = plain.replace(f":{name} ", f"%({name})s ")
    row = connection.execute(
        f"SELECT {plain} FROM (SELECT CAST('naïve' AS text) AS \"__column__\") AS t", dict(written.bindings)
    ).fetchone()
    assert row == (oracle.finalize().hex(),)


def _literal(value: object) -> str | None:
    match value:
        case None:
            return None
        case bytes():
            return "\\x" + value.hex()
        case date():
            # PostgreSQL reads years of four digits at least.
            return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
        case list():
            return "{" + ",".join(map(str, value)) + "}"
        case dict():
            return '{"a": 1}'
        case float():
            return repr(value)
        case _ if type(value).__name__ == "timedelta":
            return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"  # type: ignore[attr-defined]
    return "NaN" if isinstance(value, Decimal) and value.is_nan() else str(value)


def _comparable(value: object, type_: str) -> object:
    if isinstance(value, float) and type_ == "real":
        return struct.pack("f", value + 0.0)
    if isinstance(value, Decimal) and value.is_nan():
        return "nan"
    return value


@pytest.mark.parametrize("kind", ["full", "null"])
@pytest.mark.parametrize(
    "type_",
    [
        *("text", "character varying(9)", "integer", "numeric(10,2)", "date", "timestamp with time zone", "uuid", "jsonb"),
        *("bytea", "integer[]", "text[]", "character varying(9)[]", "numeric(10,2)[]", "timestamp with time zone[]"),
    ],
)
def test_a_constant_mask_names_no_column(connection: psycopg.Connection[Any], kind: str, type_: str) -> None:
    """Where it did, PostgreSQL planned what LATERAL remembers by how many values the real column has."""
    made = mask_expression(Mask(ColumnRef("t", "c"), kind), Column("c", type_), "postgres", bytes(32))
    assert "__column__" not in made.sql
    described = connection.execute(f"SELECT pg_typeof({made.sql})::text, ({made.sql}) IS NULL".encode()).fetchone()
    assert described is not None
    assert described[0] == re.sub(r"\(.*\)", "", type_)
    assert described[1] == (kind == "null" or "[]" in type_)
