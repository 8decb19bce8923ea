"""The canonical profile: equal to RFC 8785 within it, refused outside it."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import LedgerError
from guardrails.ledger.entry import MAX_DEPTH, MAX_ENTRY_BYTES, MAX_INTEGER, decode, encode, format_time, parse_time

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


anything = st.characters(exclude_categories=["Cs"])
awkward = st.sampled_from(
    '\0\b\t\n\x0b\f\r\x1b\x1f\x7f\x80\x85\u2028\u2029\ufeff\ufffe\uffff\ue000\U0001f600\U0010ffff"\\/<&\u0301\u00e9\u200b\u202e'
)
ascii_keys = st.text(st.characters(max_codepoint=127), max_size=12)


@given(st.dictionaries(ascii_keys, st.text(anything | awkward, max_size=40) | st.lists(awkward, max_size=6), max_size=8))
@settings(max_examples=400, deadline=None)
def test_all_of_unicode_is_written_as_rfc_8785_writes_it(entry: dict[str, object]) -> None:
    data = encode(entry)
    assert data == rfc8785.dumps(entry)
    assert decode(data) == entry
    assert json.loads(data) == entry


def test_every_character_is_written_as_rfc_8785_writes_it() -> None:
    for start in range(0, 0x110000, 4096):
        text = "".join(chr(c) for c in range(start, start + 4096) if not 0xD800 <= c <= 0xDFFF)
        if text:
            assert encode({"text": text}) == rfc8785.dumps({"text": text}), hex(start)
    for code in (*range(0x100), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x10FFFF):
        assert encode({"c": chr(code)}) == rfc8785.dumps({"c": chr(code)}), hex(code)


def test_every_ascii_key_is_sorted_and_written_as_rfc_8785_does_it() -> None:
    single = {chr(code): code for code in range(127, -1, -1)}
    pairs = {chr(a) + chr(b): a for a in (0, 9, 31, 32, 34, 47, 92, 127) for b in range(127, -1, -1)}
    for entry in (single, pairs, {"": 1, "\0": 2, "\0\0": 3, "a": {"\x7f": 1, "~": 2, "\x01": 3}}):
        assert encode(entry) == rfc8785.dumps(entry)
        assert decode(encode(entry)) == entry


@given(st.characters(min_codepoint=128), ascii_keys, ascii_keys)
def test_every_other_key_is_refused(character: str, before: str, after: str) -> None:
    key = before + character + after
    for entry in ({key: 1}, {"a": [{"b": {key: None}}]}):
        _refused(encode, entry)
    if not "\ud800" <= character <= "\udfff":
        _refused(decode, rfc8785.dumps({key: 1}))


@given(st.integers())
def test_integers_are_written_as_rfc_8785_writes_them_or_refused(number: int) -> None:
    _integer(number)


@pytest.mark.parametrize("distance", range(-3, 4))
@pytest.mark.parametrize("around", [2**31, 2**32, 2**53, 2**63, 2**64, 10**21])
def test_integers_around_a_bound(around: int, distance: int) -> None:
    _integer(around + distance)
    _integer(-around - distance)


def _integer(number: int) -> None:
    if abs(number) > MAX_INTEGER:
        _refused(encode, {"n": number})
        _refused(decode, b'{"n":%d}' % number)
        return
    assert decode(encode({"n": number})) == {"n": number}
    if abs(number) == 2**53:
        # A double holds it, but I-JSON (RFC 7493, section 2.2) ends one below it, and so does the judge.
        assert encode({"n": number}) == b'{"n":%d}' % number
    else:
        assert encode({"n": number}) == rfc8785.dumps({"n": number})


@given(st.floats() | st.decimals() | st.binary(max_size=4) | st.dates() | st.uuids() | st.complex_numbers() | st.fractions())
def test_values_of_other_types_are_refused(value: object) -> None:
    for entry in ({"a": value}, {"a": [value]}, {"a": {"b": (value,)}}):
        _refused(encode, entry)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_of_rfc_8785_is_refused_unless_it_is_written_as_an_integer(value: float) -> None:
    data = rfc8785.dumps({"a": value})
    text = data[5:-1].decode()
    if text.lstrip("-").isdecimal() and abs(int(text)) <= MAX_INTEGER:
        assert decode(data) == {"a": int(text)}
    else:
        _refused(decode, data)


@given(st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2), st.text(anything, max_size=5))
def test_surrogates_are_refused_wherever_they_are(surrogates: str, text: str) -> None:
    for bad in (surrogates + text, text + surrogates, text + surrogates + text):
        for entry in ({"a": bad}, {"a": [bad]}, {bad: 1}):
            _refused(encode, entry)
        _refused(decode, json.dumps({"a": bad}).encode())
        _refused(decode, json.dumps({"a": bad}, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(profile, ascii_keys, scalars, scalars)
def test_a_key_that_comes_twice_is_refused(entry: dict[str, object], key: str, one: object, other: object) -> None:
    pair = b"%s:%s" % (rfc8785.dumps(key), rfc8785.dumps(one))  # type: ignore[arg-type]
    again = b"%s:%s" % (rfc8785.dumps(key), rfc8785.dumps(other))  # type: ignore[arg-type]
    _refused(decode, b"{%s,%s}" % (pair, again))
    _refused(decode, b'{"a":{%s,%s}}' % (pair, again))


@given(st.integers(0, 40), st.sampled_from(["a", "\0", "\u00e9", "\u2028", "\U0001f600", '"']))
@settings(max_examples=60, deadline=None)
def test_the_bound_is_one_of_bytes_not_of_characters(over: int, character: str) -> None:
    width = len(rfc8785.dumps(character)) - 2
    room = MAX_ENTRY_BYTES - len(b'{"a":""}')
    count = room // width
    fill = {"a": character * count + "x" * (room - count * width)}
    data = encode(fill)
    assert len(data) == MAX_ENTRY_BYTES
    assert decode(data) == fill
    fill["a"] += "x" * (over + 1)
    _refused(encode, fill)
    _refused(decode, rfc8785.dumps(fill))


@pytest.mark.parametrize("shape", ["dictionaries", "lists", "both"])
def test_the_bound_of_depth_is_the_same_for_every_nesting(shape: str) -> None:
    def nest(depth: int) -> dict[str, object]:
        value: object = 1
        for level in range(depth - 1):
            value = [value] if shape == "lists" or (shape == "both" and level % 2) else {"a": value}
        return {"a": value}

    assert decode(encode(nest(MAX_DEPTH))) == nest(MAX_DEPTH)
    _refused(encode, nest(MAX_DEPTH + 1))
    _refused(decode, rfc8785.dumps(nest(MAX_DEPTH + 1)))  # type: ignore[arg-type]


@given(profile, st.data())
def test_a_changed_byte_is_another_entry_or_none(entry: dict[str, object], data: st.DataObject) -> None:
    encoded = bytearray(encode(entry))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(LedgerError):
        assert encode(decode(bytes(encoded))) == bytes(encoded) != encode(entry)


def _refused(function: Callable[..., object], argument: object) -> None:
    with pytest.raises(LedgerError) as caught:
        function(argument)
    assert caught.value.code == "ledger.entry_invalid"
