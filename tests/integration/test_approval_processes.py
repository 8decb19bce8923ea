"""Processes that race for grants and answers, one that is killed between the ledger and the store, and one that waits for another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from guardrails.approval import ApprovalDesk, ApprovalStore, WaitingChannel
from guardrails.errors import Denied, GuardrailsError
from guardrails.model import ApprovalRequest, Principal
from tests.support.approvals import BO, LEA, NOW, Bench, asked

FORK = multiprocessing.get_context("fork")
Work = Callable[[ApprovalDesk, int], list[str]]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("approvals")
    bench = (
        Bench.in_file(folder) if request.param == "sqlite" else Bench.in_server(request.getfixturevalue("postgres_url"), folder)
    )
    with bench.desk():
        return bench


def race(bench: Bench, work: Work, processes: int = 3) -> list[list[str]]:
    """Lets processes do the same at the same moment; returns what each of them tells."""
    barrier = FORK.Barrier(processes)
    pipes = [FORK.Pipe(duplex=False) for _ in range(processes)]

    def run(number: int, barrier: Barrier) -> None:
        with bench.desk() as desk:
            barrier.wait(60)
            pipes[number][1].send(work(desk, number))

    racers = [FORK.Process(target=run, args=(number, barrier)) for number in range(processes)]
    for racer in racers:
        racer.start()
    told = [receiver.recv() if receiver.poll(60) else [] for receiver, _ in pipes]
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    return told


def filed(bench: Bench, count: int, **terms: object) -> list[ApprovalRequest]:
    with bench.desk() as desk:
        return [desk.submit(asked(now=NOW, **terms)) for _ in range(count)]


def test_each_grant_goes_to_one_of_several_processes(bench: Bench) -> None:
    requests = filed(bench, 12)
    with bench.desk() as desk:
        for request in requests:
            desk.approve(request.id, BO, "x", NOW)
    digests = [request.digest for request in requests]
    won = race(bench, lambda desk, _: [digest for digest in digests if desk.consume(digest, NOW)])
    assert sorted(digest for some in won for digest in some) == sorted(digests)


def test_people_who_answer_at_once_each_count_once(bench: Bench) -> None:
    requests = filed(bench, 6, quorum=2)
    people = [BO, replace(BO, id="BO@example.com"), LEA]

    def approve(desk: ApprovalDesk, number: int) -> list[str]:
        told = []
        for request in requests:
            try:
                told.append(desk.approve(request.id, people[number], "x", NOW).state)
            except GuardrailsError as error:
                told.append(error.code)
        return told

    for told in zip(*race(bench, approve), strict=True):
        # Bo in two processes is one person; who comes after the decision hears that.
        assert Counter(told)["approved"] == 1
        assert Counter(told)["pending"] == 1
        assert set(told) <= {"approved", "pending", "approval.voted", "approval.closed"}
    with bench.desk() as desk:
        for request in requests:
            assert {person.lower() for person in desk.status(request.id, now=NOW).approvers} == {BO.id, LEA.id}
            decided = [entry for entry in desk.ledger.entries(session=request.id) if entry["type"] == "approval.decided"]
            assert [entry["vote"] for entry in decided] == [1, 2]
            assert desk.consume(request.digest, NOW) is not None


def test_of_a_yes_and_a_no_at_once_one_counts(bench: Bench) -> None:
    requests = filed(bench, 6)

    def answer(desk: ApprovalDesk, number: int) -> list[str]:
        told = []
        for request in requests:
            try:
                told.append((desk.approve if number else desk.deny)(request.id, BO if number else LEA, "x", NOW).state)
            except GuardrailsError as error:
                told.append(error.code)
        return told

    for told in zip(*race(bench, answer, processes=2), strict=True):
        assert sorted(told) in (["approval.closed", "approved"], ["approval.closed", "denied"])


def test_the_same_asked_for_at_once_is_one_request(bench: Bench) -> None:
    wanted = [[asked(f"same-{number}", NOW) for number in range(6)] for _ in range(3)]
    told = race(bench, lambda desk, number: [desk.submit(request).id for request in wanted[number]])
    assert told[0] == told[1] == told[2]
    with bench.desk() as desk:
        for request_id in told[0]:
            entries = [entry["type"] for entry in desk.ledger.entries(session=request_id)]
            assert entries == ["approval.requested"]


@pytest.mark.parametrize("step", ["answer", "use"])
def test_a_process_killed_between_ledger_and_store_leaves_no_second_use(bench: Bench, step: str) -> None:
    (request,) = filed(bench, 1)
    with bench.desk() as desk:
        if step == "use":
            desk.approve(request.id, BO, "x", NOW)

    def die(ledger_append: Callable[..., object]) -> Callable[..., object]:
        def append(*arguments: object, **options: object) -> object:
            ledger_append(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        return append

    def run() -> None:
        with bench.desk() as desk:
            # The entry is durable, and the process ends before the store's transaction does.
            desk.ledger.append = die(desk.ledger.append)  # type: ignore[method-assign]
            if step == "answer":
                desk.approve(request.id, BO, "x", NOW)
            else:
                desk.consume(request.digest, NOW)

    victim = FORK.Process(target=run)
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL
    with bench.desk() as desk:
        if step == "answer":
            # What the ledger has counts: the yes is taken up.
            assert desk.status(request.id, now=NOW).state == "pending"
            assert desk.consume(request.digest, NOW) is not None
        else:
            # Nobody knows whether it ran, so it is used up; the same may be asked for again.
            with pytest.raises(Denied) as refused:
                desk.consume(request.digest, NOW)
            assert refused.value.code == "approval.forged"
            assert desk.status(request.id, now=NOW).state == "used"
            assert desk.submit(asked(request.digest, NOW)).id != request.id
        assert desk.consume(request.digest, NOW) is None


@pytest.mark.parametrize("is_yes", [True, False])
def test_waiting_ends_with_the_answer_from_elsewhere(tmp_path: Path, is_yes: bool) -> None:
    url, by = f"sqlite:///{tmp_path / 'audit.db'}", Principal(BO.id, BO.groups)
    request = asked(now=int(time.time()))
    with ApprovalStore.open(url) as store, ApprovalStore.open(url) as other:
        store.submit(request)
        answer = other.approve if is_yes else other.deny
        timer = threading.Timer(0.2, answer, (request.id, by, "x", int(time.time())))
        timer.start()
        channel = WaitingChannel(store, poll_s=0.02, timeout_s=20)
        if is_yes:
            assert channel.ask(request) is None
            assert store.consume(request.digest, int(time.time())) is not None
        else:
            with pytest.raises(Denied) as refused:
                channel.ask(request)
            assert refused.value.code == "approval.denied"
        timer.join()
        pending = asked(now=int(time.time()))
        store.submit(pending)
        assert WaitingChannel(store, poll_s=0.01, timeout_s=0.05).ask(pending) is None
        assert store.status(pending.id, now=int(time.time())).state == "pending"
