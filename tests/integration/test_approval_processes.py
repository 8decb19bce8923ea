"""Several processes race for one grant, and one process waits for another's answer."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from guardrails.approval import ApprovalStore, WaitingChannel
from guardrails.errors import Denied
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal

RACER = """
import sys, time
from guardrails.approval import ApprovalStore
store = ApprovalStore.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(" ".join(digest for digest in sys.argv[2:] if store.consume(digest, 150)), flush=True)
"""
BO = Principal("bo@example.com")


def request(number: int, now: int = 100) -> ApprovalRequest:
    return ApprovalRequest(f"r{number}", f"d{number}", "ana", None, None, "s", "", ApprovalTerms(), now, now + 100)


def test_each_grant_goes_to_one_of_several_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    digests = [f"d{n}" for n in range(40)]
    with ApprovalStore.open(url) as store:
        for n in range(40):
            store.submit(request(n))
            store.approve(f"r{n}", BO, "x", 120)
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, url, *digests], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [digest for racer in racers for digest in racer.communicate(timeout=60)[0].split()]
    assert sorted(won) == sorted(digests)


@pytest.mark.parametrize("is_yes", [True, False])
def test_waiting_ends_with_the_answer_from_elsewhere(tmp_path: Path, is_yes: bool) -> None:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    asked = request(1, int(time.time()))
    with ApprovalStore.open(url) as store, ApprovalStore.open(url) as other:
        store.submit(asked)
        answer = other.approve if is_yes else other.deny
        timer = threading.Timer(0.2, answer, (asked.id, BO, "x", int(time.time())))
        timer.start()
        channel = WaitingChannel(store, poll_s=0.02, timeout_s=20)
        if is_yes:
            assert channel.ask(asked) is None
            assert store.consume(asked.digest, int(time.time())) is not None
        else:
            with pytest.raises(Denied) as refused:
                channel.ask(asked)
            assert refused.value.code == "approval.denied"
        timer.join()
        pending = request(2, int(time.time()))
        store.submit(pending)
        assert WaitingChannel(store, poll_s=0.01, timeout_s=0.05).ask(pending) is None
        assert store.status(pending.id, now=int(time.time())).state == "pending"
