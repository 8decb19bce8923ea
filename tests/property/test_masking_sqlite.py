"""SQLite and the Python twin mask every value alike; a masked column tells no more than its mask says."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.errors import PolicyError
from guardrails.masking import MASK_KINDS, check_mask, mask_expression, mask_value, sqlite_functions
from guardrails.masking.keys import MaskKeyring
from guardrails.masking.values import MIN_HIDDEN
from guardrails.model import Column, ColumnRef, Mask

KEY = bytes(range(32))
INT64 = st.integers(-(2**63), 2**63 - 1)
ISO = (
    st.datetimes().map(lambda moment: moment.isoformat(" "))
    | st.dates().map(str)
    | st.sampled_from(["2020-13-01", "2020-02-30T10:00Z"])
)
ANYTHING = st.none() | INT64 | st.floats(allow_nan=False) | st.text() | st.binary() | ISO
Options = dict[str, str | int]
CASES: list[tuple[str, str, Options]] = [
    *((kind, type_, {}) for kind in ("full", "null") for type_ in
      ("text", "integer", "real", "numeric", "boolean", "date", "datetime", "json", "blob", "", "whatever", "time")),
    *(("fixed", type_, {"value": value}) for type_, value in
      (("text", "it's"), ("integer", 5), ("real", "1.5"), ("numeric", "2.50"), ("boolean", "true"), ("date", "2020-01-01"))),
    *(("partial", type_, {"first": 2, "last": 3}) for type_ in ("text", "varchar(5)", "")),
    *((kind, type_, {}) for kind in ("hash", "pseudonym", "email") for type_ in ("text", "varchar(80)", "")),
    ("hash", "blob", {}), ("pseudonym", "integer", {}),
    *(("date", type_, {"to": to}) for type_ in ("date", "datetime", "text", "integer") for to in ("year", "month", "week", "day")),
    *(("bucket", type_, {"size": size}) for type_ in ("integer", "real", "numeric") for size in (1, 7, 1000)),
    *(("round", type_, {"digits": digits}) for type_ in ("integer", "real", "numeric") for digits in (-15, -2, 0, 3)),
    *(("shift", type_, {"days": days, "subject": "lea"}) for type_ in ("date", "datetime", "text", "integer") for days in (1, 400)),
    *(("noise", type_, {"spread": spread}) for type_ in ("integer", "numeric") for spread in (1, 100)),
]  # fmt: skip
CASES += [
    (kind, type_, {**options, **chosen})
    for kind, type_, options in CASES
    for chosen in (
        {"nulls": "hide"},
        {"per": "Tenant no. 1", "subject": "\ud800é"},
        {"nulls": "hide", "per": "a", "subject": "1"},
    )
    if {*chosen} - {"subject"} <= {*MASK_KINDS[kind].common}
]


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for name, (arguments, function) in sqlite_functions().items():
        assert name.startswith("guardrails_mask_")
        connection.create_function(name, arguments, function, deterministic=True)
    yield connection
    connection.close()


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANYTHING)
def test_sqlite_equals_python(connection: sqlite3.Connection, case: tuple[str, str, Options], value: Any) -> None:
    kind, type_, options = case
    mask, column = Mask(ColumnRef("t", "c"), kind, tuple(options.items())), Column("c", type_)
    written = mask_expression(mask, column, "sqlite", KEY)
    parsed = sqlglot.parse_one(written.sql, dialect="sqlite").sql("sqlite")
    row = connection.execute(
        f'SELECT "__column__", {written.sql}, {parsed} FROM (SELECT :value AS "__column__")',
        {"value": value, **written.bindings},
    ).fetchone()
    expected = mask_value(mask, column, row[0], KEY, dialect="sqlite")
    assert (row[1], type(row[1])) == (expected, type(expected))
    assert row[2] == row[1]
    keeps_null = MASK_KINDS[kind].keeps_null and options.get("nulls") != "hide"
    assert (row[1] is None) is (keeps_null or kind == "null") or value is not None


@settings(deadline=None)
@given(st.lists(ANYTHING | st.sampled_from([0, 1, -1, 0.0, -0.0, 1.0, -1.0, b"1", "1", "x" * 101, True, [1]]), min_size=2))
def test_what_was_asked_before_changes_nothing(asked: list[Any]) -> None:
    """The functions remember answers: to a value that equals another one, such as -0.0 and 0 and 0.0, as to any other."""
    options: dict[str, tuple[Any, ...]] = {
        "partial": (1, 1), "email": (), "date": ("month",), "bucket": (7,), "round": (-1,), "noise": (5, KEY), "shift": (3,),
    }  # fmt: skip
    for name, (_, function) in sqlite_functions().items():
        given = options.get(name.removeprefix("guardrails_mask_"), (KEY,))
        for value in asked:
            answers = [f(value, *given) for f in (function, inspect.unwrap(function))]
            assert len({repr((answer, type(answer))) for answer in answers}) == 1, (name, value, answers)


@settings(deadline=None)
@given(st.binary().filter(lambda data: b"\0" not in data))
def test_text_that_is_not_utf8_raises_nothing(connection: sqlite3.Connection, data: bytes) -> None:
    for kind in ("partial", "hash", "pseudonym", "email", "date"):
        column = Column("c", "text")
        written = mask_expression(Mask(ColumnRef("t", "c"), kind), column, "sqlite", KEY)
        connection.execute(
            f'SELECT {written.sql} FROM (SELECT CAST(:value AS TEXT) AS "__column__")', {"value": data, **written.bindings}
        ).fetchone()


@settings(deadline=None)
@given(st.text(min_size=1), st.integers(0, 5), st.integers(0, 5))
def test_partial_hides_at_least_four_characters(text: str, first: int, last: int) -> None:
    mask = Mask(ColumnRef("t", "c"), "partial", (("first", first), ("last", last)))
    masked = mask_value(mask, Column("c", "text"), text, KEY)
    assert isinstance(masked, str)
    if masked != "***":
        assert len(text) - (len(masked) - 3) >= MIN_HIDDEN
        assert text.startswith(masked[:first])
        assert text.endswith(masked[len(masked) - last :])


@settings(deadline=None)
@given(st.text(), st.text(), st.binary(min_size=32, max_size=32))
def test_pseudonyms_are_equal_exactly_for_equal_values_under_one_key(one: str, other: str, key: bytes) -> None:
    mask, column = Mask(ColumnRef("t", "c"), "pseudonym"), Column("c", "text")
    first, second = (mask_value(mask, column, value, key) for value in (one, other))
    assert (first == second) == (one == other)
    assert key == KEY or mask_value(mask, column, one, KEY) != first


@pytest.mark.parametrize(
    ("kind", "type_", "options"),
    [
        ("pseudonym", "date", {}), ("pseudonym", "numeric(10,2)", {}), ("pseudonym", "varchar(10)", {}), ("hash", "integer", {}),
        ("email", "integer", {}), ("partial", "text", {"first": -1}), ("partial", "text", {"middle": 1}), ("bucket", "integer", {}),
        ("bucket", "integer", {"size": 0}), ("round", "integer", {"digits": 99}), ("date", "date", {"to": "hour"}),
        ("date", "text", {"to": "year"}), ("date", "date", {"to": "year'); --"}), ("fixed", "integer", {"value": "x"}),
        ("fixed", "text", {}),
        ("fixed", "smallint", {"value": 40000}), ("fixed", "varchar(2)", {"value": "abc"}), ("fixed", "numeric(4,2)", {"value": "100"}),
        ("fixed", "text", {"value": "a\0b"}), ("fixed", "mood", {"value": "sad"}), ("deny", "text", {}), ("nothing", "text", {}),
        ("pseudonym", "app.text", {}), ("partial", "text", {"per": "tenant"}), ("full", "text", {"nulls": "hide"}),
        ("email", "text", {"nulls": "maybe"}), ("shift", "date", {"days": 3, "per": "tenant"}),
    ],
)  # fmt: skip
def test_masks_that_do_not_fit_are_refused(kind: str, type_: str, options: Options) -> None:
    with pytest.raises(PolicyError) as refused:
        check_mask(Mask(ColumnRef("t", "c"), kind, tuple(options.items())), Column("c", type_), "postgres")
    assert refused.value.code == "policy.mask_invalid"


def test_bindings_never_hold_the_key_itself() -> None:
    key = MaskKeyring.generate().key
    for dialect in ("sqlite", "postgres"):
        for kind in ("hash", "pseudonym"):
            bound = mask_expression(Mask(ColumnRef("t", "c"), kind), Column("c", "text"), dialect, key).bindings
            assert bound
            assert all(name.startswith("mask_") and key not in bytes(value) for name, value in bound.items())  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text(), st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_tokens_per_attribute_are_equal_exactly_for_one_attribute_and_value(
    value: str, one: tuple[str, str], other: tuple[str, str]
) -> None:
    seen = []
    for per, subject in (one, other):
        mask = Mask(ColumnRef("t", "c"), "pseudonym", (("per", per), ("subject", subject)))
        seen.append(mask_value(mask, Column("c", "text"), value, KEY))
    assert (seen[0] == seen[1]) is (one == other)
    assert mask_value(Mask(ColumnRef("t", "c"), "pseudonym"), Column("c", "text"), value, KEY) not in seen


def test_bound_names_tell_masks_of_one_statement_apart() -> None:
    chosen: list[tuple[tuple[str, str], ...]] = [
        (),
        (("per", "tenant"), ("subject", "a")),
        (("per", "Tenant"), ("subject", "a")),
    ]
    for dialect in ("sqlite", "postgres", "mysql", "duckdb"):
        named: dict[str, object] = {}
        for kind, options in ((k, o) for k in ("hash", "pseudonym", "noise") for o in chosen):
            spread = (("spread", 5),) if kind == "noise" else ()
            type_ = "int" if kind == "noise" else "text"
            column = Column("c", "varchar" if dialect == "duckdb" and type_ == "text" else type_)
            written = mask_expression(Mask(ColumnRef("t", "c"), kind, spread + options), column, dialect, KEY)  # type: ignore[arg-type]
            assert written.bindings.keys().isdisjoint(named)
            assert len({name.lower() for name in (*named, *written.bindings)}) == len(named) + len(written.bindings)
            named |= written.bindings
        assert len(set(map(str, named.values()))) == len(named)


def test_a_key_per_attribute_needs_the_principals_value() -> None:
    mask = Mask(ColumnRef("t", "c"), "hash", (("per", "tenant"),))
    check_mask(mask, Column("c", "text"), "sqlite")
    with pytest.raises(PolicyError, match="not bound"):
        mask_expression(mask, Column("c", "text"), "sqlite", KEY)


@settings(deadline=None)
@given(
    st.integers(1, 3650), st.text(), st.dates(date(100, 1, 1), date(9000, 1, 1)), st.dates(date(100, 1, 1), date(9000, 1, 1))
)
def test_shifts_keep_spans_and_are_never_nothing(days: int, subject: str, one: date, two: date) -> None:
    mask = Mask(ColumnRef("t", "c"), "shift", (("days", days), ("subject", subject)))
    first, second = (mask_value(mask, Column("c", "date"), d.isoformat(), KEY, dialect="sqlite") for d in (one, two))
    moved = date.fromisoformat(str(first)) - one
    assert moved == date.fromisoformat(str(second)) - two
    assert 0 < abs(moved.days) <= days


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15), st.integers(1, 10**6))
def test_noise_stays_within_its_spread_and_is_always_the_same(value: int, spread: int) -> None:
    mask = Mask(ColumnRef("t", "c"), "noise", (("spread", spread),))
    seen = {mask_value(mask, Column("c", "integer"), value, KEY, dialect="sqlite") for _ in range(2)}
    assert len(seen) == 1
    assert abs(int(str(seen.pop())) - value) <= spread


def test_a_shift_is_of_whole_days_in_utc_whatever_zone_a_moment_is_shown_in() -> None:
    """Nepal moved its clocks by a quarter of an hour at the beginning of 1986."""
    mask = Mask(ColumnRef("t", "c"), "shift", (("days", 3650), ("subject", "lea")))
    before = datetime(1985, 1, 1, 5, 30, tzinfo=ZoneInfo("Asia/Kathmandu"))
    shifted = mask_value(mask, Column("c", "timestamp with time zone"), before, KEY)
    assert isinstance(shifted, datetime)
    assert shifted.year > 1986
    assert (shifted - before) % timedelta(days=1) == timedelta()
