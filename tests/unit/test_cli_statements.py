"""Reading statements from arguments and JSON Lines: order, ids, and lines that are not statements."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.cli.statements import asked_statements, from_json_lines
from guardrails.errors import UsageError

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda i: st.lists(i, max_size=3), max_leaves=5
)
LINES = st.fixed_dictionaries({"sql": st.text()}, optional={"id": JSON_VALUES, "params": st.lists(JSON_VALUES, max_size=3)})


@given(st.lists(LINES, max_size=5))
def test_lines_come_out_in_order_with_their_ids(lines: list[dict[str, object]]) -> None:
    stream = io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode())
    found = list(from_json_lines(stream))
    assert [a.sql for a in found] == [line["sql"] for line in lines]
    assert [a.id for a in found] == [line.get("id", number) for number, line in enumerate(lines, 1)]
    assert [a.params for a in found] == [line.get("params", {}) for line in lines]
    assert not any(a.problem for a in found)


@given(st.binary())
def test_no_bytes_stop_the_stream(garbage: bytes) -> None:
    lines = garbage.replace(b"\n", b" ") + b'\n{"sql": "SELECT 1", "id": "last"}'
    *_, last = from_json_lines(io.BytesIO(lines))
    assert (last.id, last.sql, last.problem) == ("last", "SELECT 1", None)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"SELECT 1", "usage.input_invalid"),
        (b"[]", "usage.input_invalid"),
        (b"{}", "usage.input_invalid"),
        (b'{"sql": null}', "usage.input_invalid"),
        (b'{"sql": "SELECT 1", "params": 3}', "usage.input_invalid"),
        (b'{"sql": "SELECT 1", "sql": "DROP TABLE t"}', "usage.input_invalid"),
        (b'{"sql": "SELECT 1", "params": [NaN]}', "usage.input_invalid"),
        (b'{"sql": "SELECT \xff"}', "sql.encoding"),
        (b'{"sql": "SELECT 1", "params": ' + b"[" * 100_000, "usage.input_invalid"),
        (b'{"sql": "SELECT 1", "params": [' + b"9" * 10_000 + b"]}", "usage.input_invalid"),
        (b'{"sql": "' + b"x" * 16_000_001 + b'"}', "sql.too_large"),
    ],
)
def test_a_malformed_line_has_a_code_and_the_next_is_read(line: bytes, code: str) -> None:
    first, second = from_json_lines(io.BytesIO(line + b'\n\n{"sql": "SELECT 2"}\n'))
    assert first.problem
    assert first.problem.code == code
    assert first.id == 1
    assert second.sql == "SELECT 2"


def test_an_endless_line_is_not_kept() -> None:
    """Sixty megabytes without a line break are read, and dropped, in pieces."""

    class Endless(io.RawIOBase):
        left = 60_000_000
        largest = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            size = min(len(buffer), self.left)
            buffer[:size] = b"x" * size
            self.left -= size
            Endless.largest = max(Endless.largest, size)
            return size

    (only,) = from_json_lines(io.BufferedReader(Endless(), 65_536))
    assert only.problem
    assert only.problem.code == "sql.too_large"


@pytest.mark.parametrize(("arguments", "is_jsonl"), [((), False), (("SELECT 1",), True)])
def test_one_source_of_statements_is_needed(arguments: tuple[str, ...], is_jsonl: bool) -> None:
    with pytest.raises(UsageError) as caught:
        asked_statements(arguments, is_jsonl=is_jsonl)
    assert caught.value.code == "usage.input_invalid"
