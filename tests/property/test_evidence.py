"""Bundles of random ledgers and ranges verify, and the verifier's own canonical form is that of the ledger."""

from __future__ import annotations

import json
import tempfile
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import LedgerError
from guardrails.ledger import Ledger, SessionKey
from guardrails.ledger.entry import decode, encode
from guardrails.ledger.evidence import export_evidence, verify_evidence
from guardrails.ledger.evidence.verifier import UNREADABLE, canonical_manifest, read_entry
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


MANIFEST_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=4) | st.just("all"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["from", "to", "size", "root", "x"]), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence") / "out"
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        ledger.append_many({"type": "note", "session": f"s{n % 2}"} for n in range(6))
        since = ledger.checkpoint()
        ledger.append_many({"type": "note", "session": f"s{n % 2}"} for n in range(6))
        export_evidence(ledger, folder, from_time="2000-01-01", since=since)
    return folder


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_the_manifest_says_the_verifier_answers(bundle: Path, data: st.DataObject) -> None:
    original = (bundle / "manifest.json").read_bytes()
    manifest = json.loads(original)
    name = data.draw(st.sampled_from(sorted(set(manifest) - {"sha256"})))
    value = data.draw(MANIFEST_VALUES)
    changed = {key: item for key, item in manifest.items() if key != "sha256"} | {name: value}
    if changed[name] == manifest[name] and type(changed[name]) is type(manifest[name]):
        return
    try:
        changed["sha256"] = sha256(canonical_manifest(changed)).hexdigest()
        (bundle / "manifest.json").write_bytes(canonical_manifest(changed))
        report = verify_evidence(bundle, key=str(SIGNER.verifier()))
        # It may cite less, say nothing of times, and list as context what is cited anyway: all of that is true.
        is_true = (name, value) in (("cited", []), ("times", None), ("times", {"from": None, "to": None})) or name == "context"
        assert not report.is_verified or is_true, (name, value)
    finally:
        (bundle / "manifest.json").write_bytes(original)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_a_file_holds_the_verifier_answers(bundle: Path, data: st.DataObject) -> None:
    taken_for_true = sorted(
        path.relative_to(bundle).as_posix()
        for path in bundle.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "README.txt", "keys.json", "verify.py")
    )
    path = bundle / data.draw(st.sampled_from(taken_for_true))
    manifest, original = (bundle / "manifest.json").read_bytes(), path.read_bytes()
    at = data.draw(st.integers(0, len(original)))
    inserted = data.draw(st.binary(max_size=4) | st.text(max_size=4).map(str.encode) | st.just(original))
    content = original[:at] + inserted + original[at + data.draw(st.integers(0, 40)) :]
    if content == original:
        return
    try:
        path.write_bytes(content)
        changed = {key: item for key, item in json.loads(manifest).items() if key != "sha256"}
        changed["files"][path.relative_to(bundle).as_posix()] = sha256(content).hexdigest()
        changed["sha256"] = sha256(canonical_manifest(changed)).hexdigest()
        (bundle / "manifest.json").write_bytes(canonical_manifest(changed))
        assert not verify_evidence(bundle, key=str(SIGNER.verifier())).is_verified
    finally:
        path.write_bytes(original)
        (bundle / "manifest.json").write_bytes(manifest)
