"""Scanning leaves nothing that the detectors find, changes nothing else, and counts what it replaced."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.masking import find, scan_rows
from guardrails.model import ScanFinding, Value

HOT = st.sampled_from(["ana@example.com", "+49 30 1234567", "4111 1111 1111 1111", "AKIAIOSFODNN7EXAMPLE", "078-05-1120"])
TEXTS = st.text(max_size=12) | HOT | st.tuples(st.text(max_size=8), HOT, st.text(max_size=8)).map(" ".join)
CELLS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | TEXTS.map(str.encode) | st.binary()
VALUES = st.recursive(CELLS, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=6)


def texts(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case bytes():
            try:
                return [value.decode()]
            except UnicodeDecodeError:
                return []
        case list():
            return [text for item in value for text in texts(item)]
        case dict():
            return [text for key, item in value.items() for text in [key, *texts(item)]]
    return []


@settings(deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), max_size=5))
def test_what_was_found_is_gone_and_the_rest_is_the_same(rows: list[tuple[Value, Value]]) -> None:
    scanned, findings = scan_rows(("a", "b"), rows)
    assert len(scanned) == len(rows)
    for before, after in zip(rows, scanned, strict=True):
        for old, new in zip(before, after, strict=True):
            assert new is None or type(new) is type(old)
            if not any(find(text, context=name) for name in ("a", "b") for text in texts(old)) and not isinstance(
                old, (int, list, dict)
            ):
                assert new is old
    cells = [(name, text) for row in rows for name, cell in zip("ab", row, strict=True) for text in texts(cell)]
    expected = sum(len(find(text, context=name)) for name, text in cells)
    assert sum(finding.count for finding in findings) >= expected
    assert findings or all(
        new is old for before, after in zip(rows, scanned, strict=True) for old, new in zip(before, after, strict=True)
    )


def test_kinds_stand_where_values_stood() -> None:
    row: tuple[Value, ...] = (
        "write ana@example.com or call +49 30 1234567", {"ana@example.com": ["4111111111111111", 5]}, b"key AKIAIOSFODNN7EXAMPLE",
        b"\xff\xfe", 4111111111111111, Decimal("4111111111111111"), 4111111111111112, 4111111111111111.0, True, None,
    )  # fmt: skip
    rows, findings = scan_rows(tuple("abcdefghij"), [row])
    assert rows == (
        ("write [email] or call [phone]", {"[email]": ["[card]", 5]}, b"key [secret]", b"\xff\xfe", None, None, *row[6:]),
    )
    assert findings == (
        ScanFinding("a", "email", 1),
        ScanFinding("a", "phone", 1),
        ScanFinding("b", "card", 1),
        ScanFinding("b", "email", 1),
        ScanFinding("c", "secret", 1),
        ScanFinding("e", "card", 1),
        ScanFinding("f", "card", 1),
    )


def test_columns_may_be_left_alone() -> None:
    rows, findings = scan_rows(("a", "phone"), [("ana@example.com", "5552345678")], skip_columns={"a"})
    assert rows == (("ana@example.com", "[phone]"),)
    assert findings == (ScanFinding("phone", "phone", 1),)


def test_keys_that_become_equal_keep_their_values() -> None:
    rows, _ = scan_rows(("a",), [({"ana@example.com": 1, "bo@example.com": 2},)])
    assert rows == (({"[email]": 1, "[email] 2": 2},),)


def test_bottomless_json_ends() -> None:
    deep: Value = "ana@example.com"
    for _ in range(5000):
        deep = [deep]
    rows, findings = scan_rows(("a",), [(deep,)])
    level = rows[0][0]
    while isinstance(level, list):
        level = level[0]
    assert level == "[nested]"
    assert findings == (ScanFinding("a", "nested", 1),)


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        scan_rows(("a", "b"), [("x",)])
