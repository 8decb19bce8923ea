"""Collecting rows within limits, for any rows and any limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guardrails.engines.base import RowCollector
from guardrails.errors import EngineError
from guardrails.model import Limits, Row

_VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=30), st.binary(max_size=30))
_ROWS = st.lists(st.tuples(_VALUES, _VALUES), max_size=30)


def _bytes(row: Row) -> int:
    return sum(len(v.encode()) if isinstance(v, str) else len(v) if isinstance(v, bytes) else 8 for v in row)


@given(_ROWS, st.integers(0, 40), st.integers(1, 300), st.integers(1, 7))
def test_what_is_kept_is_a_prefix_within_the_limits(rows: list[Row], most: int, size: int, portion: int) -> None:
    collector = RowCollector(Limits(rows=most, result_bytes=size))
    try:
        for start in range(0, len(rows), portion):
            if not collector.take(rows[start : start + portion]):
                break
    except EngineError as error:
        assert error.code == "engine.row_too_large"
        assert any(_bytes(row) > size for row in rows)
        return
    kept = collector.rows
    assert kept == rows[: len(kept)]
    assert len(kept) <= most
    assert sum(map(_bytes, kept)) <= size
    assert collector.is_truncated == (len(kept) < len(rows))
    if collector.is_truncated:
        following = rows[len(kept)]
        assert len(kept) == most or sum(map(_bytes, kept)) + _bytes(following) > size
