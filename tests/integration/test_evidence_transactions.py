"""Evidence of a change in a transaction says what became of it, however small the range and wherever the transaction ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guardrails import Guard
from guardrails.ledger.evidence import Report, export_evidence, verify_evidence
from guardrails.transactions import Transaction
from tests.support.evidence import HandMade
from tests.support.guarded_shop import open_guard
from tests.support.schema import make_sqlite_shop

SET = "UPDATE orders SET status = :status WHERE id = :id"


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    with open_guard(f"sqlite:///{make_sqlite_shop(tmp_path / 'shop.db')}", tmp_path) as opened:
        yield opened


def begin(guard: Guard) -> Transaction:
    begun = guard.begin()
    assert begun is not None
    return begun


def change(guard: Guard, transaction: Transaction, order: int) -> None:
    guard.execute(SET, {"status": "x", "id": order}, transaction=transaction)


def noise(guard: Guard, count: int = 600) -> None:
    """Enough of entries that what follows lies in no bundle of what was before."""
    guard.ledger.append_many({"type": "note", "n": n} for n in range(count))


def places(guard: Guard, is_wanted: Callable[[dict[str, Any]], object]) -> list[int]:
    return [index for index, entry in enumerate(guard.ledger.entries()) if is_wanted(dict(entry))]


def changes_at(guard: Guard) -> list[int]:
    return places(guard, lambda e: e["type"] == "intent" and "number" in e.get("transaction", ()))


def judged(guard: Guard, folder: Path, start: int, end: int | None = None) -> Report:
    export_evidence(guard.ledger, folder, start=start, end=start + 1 if end is None else end)
    report = verify_evidence(folder, key=guard.ledger.verifier_key)
    assert report.is_verified, report.problems
    return report


def far_apart(guard: Guard, end: Callable[[Transaction], None]) -> tuple[int, int]:
    """Makes three changes far from each other, the second taken back by a savepoint; returns where the second and the third are."""
    transaction = begin(guard)
    change(guard, transaction, 1)
    noise(guard)
    transaction.save("here")
    change(guard, transaction, 2)
    noise(guard)
    transaction.roll_back_to("here")
    noise(guard)
    change(guard, transaction, 3)
    noise(guard)
    end(transaction)
    noise(guard)
    return changes_at(guard)[1], changes_at(guard)[2]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "taken-back"])
def test_the_end_of_the_transaction_comes_with_one_statement(guard: Guard, tmp_path: Path, kept: bool) -> None:
    saved, last = far_apart(guard, Transaction.commit if kept else Transaction.roll_back)
    began = places(guard, lambda e: (e.get("action") or {}).get("name") == "transaction")
    ended = places(guard, lambda e: "statements" in e.get("transaction", ()))
    undone = places(guard, lambda e: e["type"] == "transaction.rolled_back")
    assert [len(found) for found in (began, ended, undone)] == [1, 1, 1]
    for name, at in (("saved", saved), ("last", last)):
        # The intent alone, and the outcome alone.
        for part, start in (("intent", at), ("outcome", at + 1)):
            folder = tmp_path / f"{name}-{part}"
            report = judged(guard, folder, start)
            shown = (folder / "context.jsonl").read_bytes()
            assert all(guard.ledger.leaf(index) in shown for index in (*began, *ended, *undone))
            state = "committed" if kept and name == "last" else "taken_back"
            assert report.facts["changes"] == {"committed": [], "taken_back": [], "open": []} | {state: [at]}
            said = "\n".join(report.proven)
            assert (f"took them back before: entries [{at}]" in said) == (state == "committed")
            assert (f"taken back, before its end or by it: entries [{at}]" in said) == (state == "taken_back")


def test_an_end_that_is_left_out_is_not_taken_for_a_good_one(guard: Guard, tmp_path: Path) -> None:
    _, last = far_apart(guard, Transaction.roll_back)
    (ended,) = places(guard, lambda e: "statements" in e.get("transaction", ()))
    folder = tmp_path / "whole"
    judged(guard, folder, last)
    shorter = tmp_path / "shorter"
    # As somebody exports it who leaves out what came later.
    export_evidence(_Cut(guard, ended), shorter, start=last, end=last + 2)  # type: ignore[arg-type]
    report = verify_evidence(shorter, key=guard.ledger.verifier_key)
    assert report.is_verified, report.problems
    assert report.facts["changes"]["open"] == [last]
    assert f"whose end is not shown or unknown: entries [{last}]" in "\n".join(report.not_proven)
    (folder / f"proofs/{ended}.tlog-proof").unlink()
    assert not verify_evidence(folder, key=guard.ledger.verifier_key).is_verified
    shutil.rmtree(shorter)


class _Cut:
    """A ledger whose reader is not shown one entry as what it is."""

    def __init__(self, guard: Guard, hidden: int) -> None:
        self._ledger, self._hidden = guard.ledger, hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        for index, leaf in self._ledger.leaves(start, end):
            yield index, b'{"type":"note"}' if index == self._hidden else leaf


def test_an_open_transaction_has_no_end(guard: Guard, tmp_path: Path) -> None:
    transaction = begin(guard)
    change(guard, transaction, 1)
    (at,) = changes_at(guard)
    assert judged(guard, tmp_path / "open", at, at + 3).facts["changes"]["open"] == [at]
    transaction.roll_back()
    assert judged(guard, tmp_path / "ended", at, at + 3).facts["changes"]["taken_back"] == [at]


def test_one_transaction_says_nothing_of_another(guard: Guard, tmp_path: Path) -> None:
    for end in (Transaction.roll_back, Transaction.commit):
        transaction = begin(guard)
        change(guard, transaction, 1)
        end(transaction)
        noise(guard)
    first, second = changes_at(guard)
    assert judged(guard, tmp_path / "first", first).facts["changes"]["taken_back"] == [first]
    assert judged(guard, tmp_path / "second", second).facts["changes"]["committed"] == [second]
    assert judged(guard, tmp_path / "note", second + 300).facts["changes"] == {"committed": [], "taken_back": [], "open": []}


def test_an_end_found_after_a_crash(tmp_path: Path) -> None:
    """It names the transaction's intent, and nothing else of it; the intent lies before the range and the end after it."""
    made = HandMade()
    made.begin("s")
    first = made.add({"type": "intent", "session": "s", "transaction": {"id": "t", "number": 1}})
    whole = made.add({"type": "intent", "session": "s", "transaction": {"id": "t"}})
    made.add(
        {"type": "outcome", "session": "s", "intent": first, "status": "uncommitted", "transaction": {"id": "t", "number": 1}}
    )
    [made.add({"type": "note"}) for _ in range(600)]
    second = made.add({"type": "intent", "session": "s", "transaction": {"id": "t", "number": 2}})
    place = {"id": "t", "number": 2}
    made.add({"type": "outcome", "session": "s", "intent": second, "status": "uncommitted", "transaction": place})
    [made.add({"type": "note", "transaction": other}) for other in ("t", {"id": "t"}, {"id": ["t"]}) for _ in range(200)]
    made.add({"type": "outcome.unknown", "session": "s", "intent": whole, "reason": "crash"})
    done = export_evidence(made.log(), tmp_path / "out", start=604, end=606)
    assert done.context == 3
    report = verify_evidence(tmp_path / "out", key=made.log().verifier_key)
    assert report.is_verified, report.problems
    assert report.facts["changes"] == {"committed": [], "taken_back": [], "open": [604]}
