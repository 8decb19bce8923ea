"""MariaDB and the Python twin mask every value alike, also after the expression went through the SQL parser."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.engines.mysql_text import constant
from guardrails.errors import PolicyError
from guardrails.masking import MASK_KINDS, mask_expression, mask_value
from guardrails.model import Column, ColumnRef, Mask, MaskExpression
from guardrails.sql.dialects import dialect_of
from guardrails.sql.parse import generate, parse_tree
from guardrails.sql.tokens import tokenize
from tests.support.mysql import connect, own_database

KEY = bytes(range(32))
Case = tuple[str, str, dict[str, str | int], st.SearchStrategy[Any]]


@pytest.fixture(scope="module")
def connection(mariadb_url: str) -> Iterator[pymysql.Connection[Any]]:
    with own_database(mariadb_url) as url, closing(connect(url)) as connection:
        with connection.cursor() as cursor:
            # The agent's least favourable session: another time zone, another collation of constants.
            cursor.execute("SET time_zone = '+05:45', collation_connection = 'utf8mb4_unicode_ci'")
        yield connection


def texts(size: int) -> st.SearchStrategy[str]:
    characters = st.characters(exclude_categories=["Cs"])
    addresses = st.from_regex(r"[a-z@ .+-]{0,6}@[A-Za-z0-9.@éſK-]{0,8}", fullmatch=True)
    return st.text(characters, max_size=size) | addresses.map(lambda text: text[:size])


def western(size: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="latin1", min_codepoint=32, exclude_categories=["Cc"]), max_size=size)


def integers(bits: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, low + 1, 0, 1, high - 1, high])


def floats(width: int) -> st.SearchStrategy[float]:
    extremes = [5e-324, -5e-324, 1.7976931348623157e308, 1e33, 9.9e32] if width == 64 else []
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    return finite | st.sampled_from([0.0, -0.0, 15.0, 1e15, 0.5, 2.5, -2.5, 1.005, 0.125, *extremes])


DATES = st.dates()
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))  # noqa: DTZ001
EPOCH = st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1))  # noqa: DTZ001
EXACT = st.decimals(-(10**18), 10**18, places=6, allow_nan=False, allow_infinity=False)

ANY: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("text", texts(60)), ("varchar(40)", texts(40)), ("char(5)", texts(5)), ("varchar(2)", texts(2)),
    ("varchar(40) character set latin1", western(40)), ("varchar(40) collate utf8mb4_bin", texts(40)),
    ("enum('a','bcdefghijk','é')", st.sampled_from(["a", "bcdefghijk", "é"])),
    ("tinyint(4)", integers(8)), ("smallint(6)", integers(16)), ("mediumint(9)", integers(24)), ("int(11)", integers(32)),
    ("bigint(20)", integers(64)), ("tinyint(3) unsigned", integers(8, signed=False)), ("int(10) unsigned", integers(32, signed=False)),
    ("bigint(20) unsigned", integers(64, signed=False)), ("int(10) unsigned zerofill", integers(32, signed=False)),
    ("decimal(30,6)", EXACT), ("float", floats(32)), ("double", floats(64)), ("date", DATES), ("datetime", TIMES),
    ("datetime(6)", TIMES), ("timestamp(3)", EPOCH), ("time", st.timedeltas(timedelta(hours=-800), timedelta(hours=800))),
    ("year(4)", st.integers(1901, 2155)), ("varbinary(40)", st.binary(max_size=40)), ("blob", st.binary(max_size=40)),
    ("binary(4)", st.binary(min_size=4, max_size=4)), ("bit(3)", st.integers(0, 7)), ("uuid", st.uuids(version=4).map(str)),
    ("inet6", st.just("::1")), ("point", st.none()),
]  # fmt: skip
OF = dict(ANY)
TEXTS = [name for name, _ in ANY[:7]]
INTEGERS = [name for name, _ in ANY[7:16]]
NUMBERS = [*INTEGERS, "decimal(30,6)", "float", "double"]
FIXED: dict[str, str | int] = {
    "text": "it's \\ß\n", "varchar(40)": "x", "char(5)": "ab", "varchar(2)": "ab", "tinyint(4)": -7, "int(11)": "12",
    "bigint(20)": 2**63 - 1, "bigint(20) unsigned": 2**64 - 1, "decimal(30,6)": "-12.345", "float": "1.5", "double": "-1e10",
    "date": "2020-02-29", "datetime": "2020-02-29 01:02:03", "uuid": str(uuid.UUID(int=5)),
}  # fmt: skip
# Days back and days forth.
SHIFTS = ((1, "lea"), (30, "lea"), (3650, "bo"), (3650, "lea"))
CASES: list[Case] = [
    *((kind, type_, {}, values) for kind in ("full", "null") for type_, values in ANY),
    *(("fixed", type_, {"value": value}, OF[type_]) for type_, value in FIXED.items()),
    *(("partial", type_, {"first": 1, "last": 4}, OF[type_]) for type_ in TEXTS),
    ("partial", "longtext", {"last": 2}, st.integers(0, 5).map(lambda n: "é𝕏" * 10**n)),
    *(("email", type_, {}, OF[type_]) for type_ in TEXTS),
    *((kind, type_, {}, OF[type_]) for kind in ("hash", "pseudonym") for type_ in TEXTS if type_ not in ("char(5)", "varchar(2)")),
    *(("hash", type_, {}, OF[type_]) for type_ in ("varbinary(40)", "blob", "binary(4)")),
    *(("pseudonym", type_, {}, OF[type_]) for type_ in (*INTEGERS, "uuid")),
    *(("date", type_, {"to": to}, OF[type_]) for type_ in ("date", "datetime", "datetime(6)", "timestamp(3)")
      for to in ("year", "quarter", "month", "week", "day", "hour") if (type_, to) != ("date", "hour")),
    *(("bucket", type_, {"size": size}, OF[type_]) for type_ in NUMBERS for size in (1, 7, 1000, 10**12)),
    *(("round", type_, {"digits": digits}, OF[type_]) for type_ in NUMBERS for digits in (-15, -3, 0, 2)),
    *(("shift", type_, {"days": days, "subject": subject}, OF[type_]) for days, subject in SHIFTS
      for type_ in ("date", "datetime", "datetime(6)", "timestamp(3)")),
    *(("noise", type_, {"spread": spread}, OF[type_]) for type_ in [*INTEGERS, "decimal(30,6)"] for spread in (1, 10, 10**12)),
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


@pytest.fixture
def declared(connection: pymysql.Connection[Any], case: Case) -> Iterator[str]:
    """Makes the table of a case; gives the type of its column, as the server calls it. What is put into it is not committed."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute(f"CREATE TABLE t (i INT PRIMARY KEY AUTO_INCREMENT, `__column__` {case[1]} NULL)")
        cursor.execute(
            "SELECT COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = '__column__'"
        )
        ((found,),) = cursor.fetchall()
    connection.begin()
    yield found.lower()
    connection.rollback()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_mariadb_equals_python(connection: pymysql.Connection[Any], declared: str, case: Case, data: st.DataObject) -> None:
    kind, _, options, values = case
    mask = Mask(ColumnRef("t", "c"), kind, tuple(options.items()))
    batch = data.draw(st.lists(st.none() | values, min_size=1, max_size=25))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM t")
        for value in batch:
            cursor.execute(f"INSERT INTO t (`__column__`) VALUES ({constant(value)})")
        column = Column("c", declared)
        written = mask_expression(mask, column, "mysql", KEY)
        # What FLOAT shows are six digits of its value.
        stored_as = "CAST(`__column__` AS DOUBLE)" if declared == "float" else "`__column__`"
        cursor.execute(
            f"SELECT {stored_as}, {_bound(written.sql, written)}, {_bound(_reparsed(written.sql), written)} FROM t ORDER BY i"
        )
        found = cursor.fetchall()
        assert len(found) == len(batch)
        for stored, masked, reparsed in found:
            assert masked == mask_value(mask, column, stored, KEY, dialect="mysql"), stored
            assert reparsed == masked
            assert masked is not None or stored is not None or options.get("nulls") != "hide"


@pytest.mark.parametrize("kind", ["full", "partial", "email", "hash", "pseudonym"])
@pytest.mark.parametrize("collation", ["utf8mb4_unicode_ci", "utf8mb4_bin", "latin1_swedish_ci"])
def test_masked_text_keeps_its_collation(connection: pymysql.Connection[Any], kind: str, collation: str) -> None:
    """Beside a column of the same collation, a masked one is compared, joined and united without a conflict."""
    written = mask_expression(Mask(ColumnRef("t", "c"), kind), Column("c", "varchar(80)"), "mysql", KEY)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute(f"CREATE TABLE t (`__column__` VARCHAR(80) COLLATE {collation}, d VARCHAR(80) COLLATE {collation})")
        cursor.execute("INSERT INTO t VALUES ('ada@example.com', 'x')")
        sql = _bound(written.sql, written)
        cursor.execute(f"SELECT COLLATION({sql}), COERCIBILITY({sql}), COERCIBILITY(d), {sql} = d, COALESCE(d, {sql}) FROM t")
        ((found, strength, own, is_equal, _),) = cursor.fetchall()
        assert (found, strength, is_equal) == (collation, own, 0)
        cursor.execute(f"SELECT d FROM t UNION SELECT {sql} FROM t")


def test_dates_without_a_day_have_no_beginning(connection: pymysql.Connection[Any]) -> None:
    column = Column("c", "date")
    for to in ("year", "quarter", "month", "week", "day"):
        written = mask_expression(Mask(ColumnRef("t", "c"), "date", (("to", to),)), column, "mysql", KEY)
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS t")
            cursor.execute("CREATE TABLE t (`__column__` DATE)")
            cursor.execute("INSERT INTO t VALUES ('0000-00-00'), ('2020-00-00'), ('2020-02-00'), ('0000-01-01')")
            cursor.execute(f"SELECT {written.sql} FROM t")
            assert cursor.fetchall() == ((None,),) * 4


def test_the_driver_returns_the_column_s_kind_of_value(connection: pymysql.Connection[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute("CREATE TABLE t (`__column__` INT(10) UNSIGNED NOT NULL)")
        cursor.execute("INSERT INTO t VALUES (4294967295)")
        for kind, options in {"full": {}, "pseudonym": {}, "bucket": {"size": 10}, "round": {"digits": -1}}.items():
            mask = Mask(ColumnRef("t", "c"), kind, tuple(options.items()))
            written = mask_expression(mask, Column("c", "int(10) unsigned"), "mysql", KEY)
            cursor.execute(f"SELECT {_bound(written.sql, written)} FROM t")
            ((value,),) = cursor.fetchall()
            assert type(value) is int


def test_decimals_at_the_server_s_end_are_not_masked_by_arithmetic() -> None:
    for kind, options in (("bucket", (("size", 10),)), ("round", ())):
        with pytest.raises(PolicyError, match="too many digits"):
            mask_expression(Mask(ColumnRef("t", "c"), kind, options), Column("c", "decimal(65,0)"), "mysql", KEY)
    assert mask_value(Mask(ColumnRef("t", "c"), "full"), Column("c", "decimal(65,0)"), 5, KEY, dialect="mysql") == Decimal(0)


def test_hmac_equals_an_independent_implementation(connection: pymysql.Connection[Any]) -> None:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC

    written = mask_expression(Mask(ColumnRef("t", "c"), "hash"), Column("c", "text"), "mysql", KEY)
    inner = written.bindings["mask_hash_inner"]
    assert isinstance(inner, bytes)
    oracle = HMAC(bytes(b ^ 0x36 for b in inner), SHA256())
    oracle.update("naïve".encode())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_bound(written.sql, written)} FROM (SELECT 'naïve' AS `__column__`) AS t")
        assert cursor.fetchall() == ((oracle.finalize().hex(),),)


def _bound(sql: str, written: MaskExpression) -> str:
    for name, value in written.bindings.items():
        sql = sql.replace(f":{name}", constant(value))
    return sql


@cache
def _reparsed(sql: str) -> str:
    rules, text = dialect_of("mysql"), f"SELECT {sql}"
    return generate(parse_tree(text, tokenize(text, rules), rules), rules).removeprefix("SELECT ")
