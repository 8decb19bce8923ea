"""Who appends at the same time shares a commit; what is wrong with one part is nobody else's error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guardrails.errors import LedgerError
from guardrails.ledger import Ledger
from guardrails.ledger.group import GroupCommit, Ticket
from guardrails.ledger.verify import verify


def in_threads(count: int, work: object) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_batches_hold_everybody_who_waits_in_order() -> None:
    batches: list[list[int]] = []

    def commit(draw: Callable[[], list[Ticket[int, int]]]) -> None:
        time.sleep(0.02)
        batches.append([ticket.request for ticket in draw()])
        for ticket in draw():
            ticket.result = ticket.request * 2

    group: GroupCommit[int, int] = GroupCommit(commit)
    results: dict[int, int] = {}
    in_threads(12, lambda n: results.__setitem__(n, group.submit(n)))
    assert results == {n: 2 * n for n in range(12)}
    assert sorted(n for batch in batches for n in batch) == list(range(12))
    assert len(batches) < 12


def test_a_batch_is_never_larger_than_the_limit() -> None:
    sizes: list[int] = []

    def commit(draw: Callable[[], list[Ticket[int, int]]]) -> None:
        time.sleep(0.01)
        sizes.append(len(draw()))
        for ticket in draw():
            ticket.result = 0

    group: GroupCommit[int, int] = GroupCommit(commit, limit=3)
    in_threads(10, group.submit)
    assert max(sizes) <= 3
    assert sum(sizes) == 10


def test_a_failed_batch_fails_for_all_and_the_next_one_goes_on() -> None:
    is_broken, caught = True, []

    def commit(draw: Callable[[], list[Ticket[int, int]]]) -> None:
        time.sleep(0.01)
        if is_broken:
            raise LedgerError("ledger.unavailable", "The disk is full.")
        for ticket in draw():
            ticket.result = 1

    group: GroupCommit[int, int] = GroupCommit(commit)

    def work(n: int) -> None:
        try:
            group.submit(n)
        except LedgerError as error:
            caught.append(error)

    in_threads(6, work)
    assert len(caught) == 6
    assert len({id(error) for error in caught}) == 6
    assert {error.message for error in caught} == {"The disk is full."}
    is_broken = False
    assert group.submit(7) == 1


def test_an_interrupted_leader_hands_the_lead_on() -> None:
    started, calls = threading.Event(), []

    def commit(draw: Callable[[], list[Ticket[int, int]]]) -> None:
        calls.append(len(draw()))
        if len(calls) == 1:
            started.set()
            time.sleep(0.05)
            raise KeyboardInterrupt
        for ticket in draw():
            ticket.result = 5

    group: GroupCommit[int, int] = GroupCommit(commit)
    raised: list[BaseException] = []

    def leader() -> None:
        try:
            group.submit(0)
        except KeyboardInterrupt as error:
            raised.append(error)

    first = threading.Thread(target=leader)
    first.start()
    assert started.wait(10)
    assert group.submit(1) == 5
    first.join(10)
    assert len(raised) == 1


def test_one_invalid_entry_in_a_batch_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    refused: list[int] = []
    with Ledger.open(path) as ledger:

        def work(n: int) -> None:
            for k in range(20):
                try:
                    outcome = {"type": "outcome", "session": "s", "intent": "none"}
                    ledger.append(outcome if n % 3 == 0 else {"type": "note", "session": "s", "k": k})
                except LedgerError as error:
                    assert error.code == "ledger.entry_invalid"
                    refused.append(n)

        in_threads(9, work)
        assert ledger.size == 6 * 20
    assert len(refused) == 3 * 20
    report = verify(path)
    assert report.is_verified, report.problems


def test_all_of_many_or_nothing_also_inside_a_batch(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "audit.db") as ledger:
        intent = ledger.append({"type": "intent"}).entry_id
        closing = {"type": "outcome", "intent": intent}
        with pytest.raises(LedgerError):
            ledger.append_many([{"type": "note"}, closing, {"type": "intent"}, closing])
        assert ledger.size == 1
        assert [a.index for a in ledger.append_many([{"type": "note"}, closing])] == [1, 2]
        assert ledger.entry(1)["seq"] == 1
    assert verify(tmp_path / "audit.db").unknown == ()


def test_tiles_are_complete_however_many_come_together(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with Ledger.open(path) as ledger:
        for count in (255, 1, 1, 300, 700, 3, 1024):
            ledger.append_many({"n": n} for n in range(count))
        with Ledger.open(path) as other:  # another writer takes over in the middle of a tile
            other.append_many({"n": n} for n in range(500))
        ledger.append_many({"n": n} for n in range(500))
    report = verify(path)
    assert report.is_verified, report.problems
    assert report.size == 3284
