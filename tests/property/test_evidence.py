"""Bundles of random ledgers and ranges verify, and the verifier's own canonical form is that of the ledger."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import LedgerError
from guardrails.ledger import Ledger, SessionKey
from guardrails.ledger.entry import decode, encode
from guardrails.ledger.evidence import export_evidence, verify_evidence
from guardrails.ledger.evidence.verifier import UNREADABLE, read_entry
from guardrails.ledger.keys import Ed25519Signer

SIGNER = Ed25519Signer("example.com/log", b"k" * 32)
SIZES = st.one_of(st.integers(0, 40), st.integers(250, 262), st.integers(508, 516), st.integers(766, 770))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=SIZES)
def test_every_range_of_every_ledger_verifies(data: st.DataObject, size: int) -> None:
    with tempfile.TemporaryDirectory() as temporary, Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        key = SessionKey({})
        ledger.bind("s0", key)
        grown = sorted(data.draw(st.lists(st.integers(0, size), max_size=3)))
        notes = [ledger.checkpoint()]
        entries = [{"type": "note", "session": f"s{n % 3}" if n % 3 else "s0", "n": n} for n in range(size)]
        for start, end in zip([0, *grown], [*grown, size], strict=True):
            ledger.append_many(entries[start:end])
            notes.append(ledger.checkpoint())
        total = ledger.size
        bounds = sorted((data.draw(st.integers(0, total)), data.draw(st.integers(0, total))))
        cited = data.draw(st.none() | st.sets(st.integers(bounds[0], max(bounds[0], bounds[1] - 1)), max_size=5))
        if bounds[0] == bounds[1]:
            cited = None
        since = data.draw(st.none() | st.sampled_from(notes))
        folder = Path(temporary) / "out"
        done = export_evidence(ledger, folder, start=bounds[0], end=bounds[1], cited=cited, since=since)
        report = verify_evidence(folder, key=ledger.verifier_key, since=since)
        assert report.is_verified, report.problems
        assert report.facts["range"] == bounds
        assert report.facts["cited"] == done.cited == (bounds[1] - bounds[0] if cited is None else len(cited))
        assert report.facts["size"] == total
        paths = [p for p in folder.rglob("*") if p.is_file()]
        data.draw(st.sampled_from(paths)).unlink()
        assert not verify_evidence(folder, key=ledger.verifier_key, since=since).is_verified


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**54), 2**54) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def agrees(data: bytes) -> bool:
    """Returns whether both accept these bytes, which they do or do not alike."""
    try:
        expected = decode(data)
    except LedgerError:
        expected = None
    try:
        found = read_entry(data)
    except UNREADABLE:
        found = None
    assert found == expected, data
    return found is not None


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.sampled_from(["orjson", "json", "ascii", "plain"]))
def test_the_verifier_accepts_what_the_ledger_accepts(entry: dict[str, object], how: str) -> None:
    try:
        encode(entry)
        is_within = True
    except LedgerError:
        is_within = False
    if how == "orjson":
        agrees(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
    elif how == "json":
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        agrees(text.encode())
    elif how == "ascii":
        agrees(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())
    else:
        agrees(json.dumps(entry).encode())
    if is_within:
        assert agrees(encode(entry))


@given(st.binary(max_size=40) | st.text(alphabet='{}[]":,0123456789.eE-+truefalsn\\u \n', max_size=40).map(str.encode))
def test_the_verifier_refuses_what_the_ledger_refuses(data: bytes) -> None:
    agrees(data)
    agrees(b'{"a":' + data + b"}")
