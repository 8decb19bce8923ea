"""The canonical profile: equal to RFC 8785 within it, refused outside it."""

from __future__ import annotations

import enum
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from guardrails.errors import LedgerError
from guardrails.ledger.entry import MAX_DEPTH, MAX_INTEGER, decode, encode, format_time, parse_time

keys = st.text(st.characters(max_codepoint=127), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)
profile = st.dictionaries(keys, values, max_size=6)


@given(profile)
def test_the_bytes_are_those_of_rfc_8785(entry: dict[str, object]) -> None:
    data = encode(entry)
    assert data == rfc8785.dumps(entry)
    assert decode(data) == entry
    assert b"\n" not in data


@given(profile)
def test_any_other_way_of_writing_it_is_refused(entry: dict[str, object]) -> None:
    for other in (
        json.dumps(entry),
        json.dumps(entry, indent=1),
        json.dumps(entry, sort_keys=True, separators=(",", ":")) + " ",
    ):
        if other.encode() != encode(entry):
            with pytest.raises(LedgerError):
                decode(other.encode())


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_are_an_entry_or_an_error(data: bytes) -> None:
    with suppress(LedgerError):
        assert encode(decode(data)) == data


class Colour(enum.StrEnum):
    RED = "red"


class Number(int):
    pass


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "entry",
    [
        {"a": 1.0},
        {"a": float("nan")},
        {"a": MAX_INTEGER + 1},
        {"a": -MAX_INTEGER - 1},
        {"a": 10**30},
        {"a": b"bytes"},
        {"a": datetime.now(UTC)},
        {"a": {1, 2}},
        {"a": Colour.RED},
        {"a": Number(1)},
        {"é": 1},
        {"a": {"\ud800": 1}},
        {1: "a"},
        {"a": "\udfff"},
        {"a": [{"b": object()}]},
        {"a": "x" * 65_536},
        nested(MAX_DEPTH + 1),
    ],
)
def test_what_is_outside_the_profile_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(LedgerError) as caught:
        encode(entry)
    assert caught.value.code == "ledger.entry_invalid"


def test_the_bounds_themselves_are_inside() -> None:
    for entry in ({"a": MAX_INTEGER}, {"a": -MAX_INTEGER}, nested(MAX_DEPTH), {"a": "x" * (65_535 - 8)}):
        assert decode(encode(entry)) == entry


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b"\xef\xbb\xbf{}",
        b"{}\n",
        b"[" * 60_000,
        b'{"a":"\\u0041"}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":01}',
        b"{" * 100_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(LedgerError):
        decode(data)


def test_messages_never_show_the_value() -> None:
    with pytest.raises(LedgerError) as caught:
        encode({"secret": "4111111111111111\ud800"})
    assert "4111" not in str(caught.value.diagnostics())
    assert caught.value.evidence == {"path": "$.secret"}


def test_a_cycle_is_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(LedgerError):
        encode({"a": cycle})


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_are_written_and_read(time_us: int) -> None:
    text = format_time(time_us)
    assert parse_time(text) == time_us
    assert len(text) == 27


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000000+00:00",
        "2026-13-01T00:00:00.000000Z",
        5,
        None,
        "٢026-01-01T00:00:00.000000Z",
    ],
)
def test_other_forms_of_time_are_refused(text: object) -> None:
    with pytest.raises(LedgerError):
        parse_time(text)
