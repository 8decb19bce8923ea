"""No value of a statement, its parameters, results, errors or reasons is in the ledger's files, in any of the usual encodings."""

from __future__ import annotations

import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from guardrails import Guard
from guardrails.errors import ApprovalRequired, GuardrailsError
from guardrails.ledger.evidence import export_evidence
from guardrails.ledger.verify import verify
from tests.support.guarded_shop import LEAD, open_guard
from tests.support.schema import make_sqlite_shop

PLANTED = {
    "a literal": "Zq7-planted-literal",
    "a literal of a refused statement": "Zq7-planted-refused",
    "text that is no SQL": "Zq7-planted-broken",
    "a comment": "Zq7-planted-comment",
    "a parameter": "Zq7-planted-parameter-ä€",
    "a number": 718281828459045,
    "a result": "Zq7-planted-result",
    "a masked result": "978-27-1828",
    "a masked address": "zq7@planted.example",
    "a literal written": "Zq7-planted-status",
    "a literal of a failed statement": "Zq7-planted-failed",
    "an argument": "Zq7-planted-argument",
    "an error": "Zq7-planted-error",
    "a returned value": "Zq7-planted-returned",
    "a literal that waits": 271828182845904,
    "a reason": "Zq7-planted-reason",
    "a reason to deny": "Zq7-planted-denial",
}


def encodings(value: str | int) -> Iterator[tuple[str, bytes]]:
    """Yields the forms in which a value could be found: plain, UTF-16, hexadecimal, and base64 wherever it starts in it."""
    texts = [str(value).encode()]
    yield "UTF-16", str(value).encode("utf-16-le")
    yield "UTF-16", str(value).encode("utf-16-be")
    if isinstance(value, int):
        texts += [value.to_bytes(8, "big"), value.to_bytes(8, "little"), value.to_bytes(7, "big")]
    for text in texts:
        yield "as it is", text
        yield "reversed", text[::-1]
        yield "hexadecimal", text.hex().encode()
        yield "HEXADECIMAL", text.hex().upper().encode()
        for encode in (b64encode, urlsafe_b64encode):
            for shift in range(3):
                # Of a value in the midst of others, the characters that are its own alone.
                encoded = encode(b"\0" * shift + text + b"\0" * (-(shift + len(text)) % 3))
                first = 4 if shift else 0
                last = len(encoded) - (4 if (shift + len(text)) % 3 else 0)
                yield f"base64 from {shift}", encoded[first:last]
    if isinstance(value, str):
        yield "escaped", value.encode("ascii", "backslashreplace")
        yield "JSON", value.encode("unicode_escape")


def found(folder: Path) -> list[tuple[str, str, str]]:
    """Returns (file, what, encoding) for each planted value in any file of a ledger or of what was exported from one.

    Requests for approval lie beside it until they are decided: they are what the approver is shown, and no part of the ledger.
    """
    hits = []
    for file in sorted(p for p in folder.rglob("*") if p.is_file() and ".approvals" not in p.name):
        data = file.read_bytes()
        for what, value in PLANTED.items():
            hits += [(file.name, what, form) for form, text in encodings(value) if text in data]
    return hits


@pytest.fixture
def shop(tmp_path: Path) -> str:
    path = make_sqlite_shop(tmp_path / "shop.db")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO customers VALUES (77, ?, ?, ?, 'north', '2026-01-01')",
            (PLANTED["a result"], PLANTED["a masked address"], PLANTED["a masked result"]),
        )
    return f"sqlite:///{path}"


def use(guard: Guard) -> None:
    """Plants every value, by the way that it is named after."""
    seen = guard.execute(f"SELECT id FROM customers WHERE name = '{PLANTED['a literal']}' /* {PLANTED['a comment']} */")
    assert not seen.rows
    guard.execute("SELECT id FROM orders WHERE status = :s OR id = :n", {"s": PLANTED["a parameter"], "n": PLANTED["a number"]})
    result = guard.execute("SELECT name, email, ssn FROM customers WHERE id = 77")
    assert result.rows[0][0] == PLANTED["a result"]
    refused = [
        f"DELETE FROM customers WHERE name = '{PLANTED['a literal of a refused statement']}'",
        f"SELEC '{PLANTED['text that is no SQL']}",
        f"INSERT INTO orders VALUES (1, 1, 1, '{PLANTED['a literal of a failed statement']}', 'north', '2026')",
    ]
    for statement in refused:
        with pytest.raises(GuardrailsError):
            guard.execute(statement)
    written = f"INSERT INTO orders VALUES (900, 1, 1, '{PLANTED['a literal written']}', 'north', '2026')"
    assert guard.execute(written).rows_changed == 1

    @guard.action("send_mail")
    def send_mail(to: str) -> str:
        return str(PLANTED["a returned value"]) + to[:0]

    @guard.action("boom")
    def boom(what: str) -> None:
        raise ValueError(PLANTED["an error"])

    assert send_mail(to=str(PLANTED["an argument"])) == PLANTED["a returned value"]
    with pytest.raises(ValueError, match="planted"):
        boom(what=str(PLANTED["an argument"]))
    waits = f"DELETE FROM orders WHERE id = 4 AND amount < {PLANTED['a literal that waits']}"
    other = waits.replace("id = 4", "id = 3")
    for statement, decide, reason in ((other, guard.deny, "a reason to deny"), (waits, guard.approve, "a reason")):
        with pytest.raises(ApprovalRequired) as waiting:
            guard.execute(statement)
        decide(waiting.value.request.id, by=LEAD, reason=str(PLANTED[reason]))
    assert guard.execute(waits).rows_changed == 1


def test_no_planted_value_is_in_any_file_of_the_ledger(shop: str, tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    with open_guard(shop, folder) as guard:
        use(guard)
        names = {p.name for p in folder.iterdir()}
        assert {"audit.db", "audit.db-wal", "audit.db.pub"} <= names, names
        assert found(folder) == [], "while it is open, with the write-ahead log"
        export_evidence(guard.ledger, folder / "bundle")
        types = [str(entry["type"]) for entry in guard.ledger.entries()]
    # Each of them was recorded: what is not there could not leak.
    assert types.count("refusal") >= 2
    assert {"intent", "outcome", "approval.requested", "approval.decided"} <= set(types)
    report = verify(folder / "audit.db")
    assert report.is_verified, report.problems
    assert found(folder) == []


@pytest.mark.parametrize("what", PLANTED)
def test_each_encoding_would_be_found(what: str, tmp_path: Path) -> None:
    value = PLANTED[what]
    text = str(value).encode()
    planted = [text, text.decode().encode("utf-16-le"), text.hex().encode(), text.hex().upper().encode(), text[::-1]]
    planted += [b64encode(b"x" * shift + text + b"yz") for shift in range(3)]
    for n, data in enumerate(planted):
        file = tmp_path / f"{n}"
        file.write_bytes(b"before" + data + b"after")
        assert any(hit[1] == what for hit in found(tmp_path)), (n, data)
        with suppress(FileNotFoundError):
            file.unlink()
