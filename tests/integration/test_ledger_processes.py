"""Several processes on one ledger, and processes that are killed: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guardrails.errors import LedgerError
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify

APPENDER = """
import sys
from guardrails.ledger import Ledger

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Ledger.open(path) as ledger:
    for n in range(count):
        intent = ledger.append({"type": "intent", "session": name, "n": n}, private={"sql": b"SELECT 1"})
        ledger.append({"type": "outcome", "session": name, "intent": intent.entry_id})
"""
ENDLESS = """
import sys
from guardrails.ledger import Ledger

ledger = Ledger.open(sys.argv[1])
ledger.recover()
while True:
    intent = ledger.append({"type": "intent", "session": "s"})
    print(intent.index, flush=True)
    outcome = ledger.append({"type": "outcome", "session": "s", "intent": intent.entry_id})
    print(outcome.index, flush=True)
"""
HANGING = """
import sys
from guardrails.ledger import Ledger

ledger = Ledger.open(sys.argv[1])
intent = ledger.append({"type": "intent", "session": "s"})
print(intent.index, flush=True)
sys.stdin.read()
"""


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    return [os.readlink(f) for f in folder.iterdir() if f.is_symlink()] if folder.exists() else []


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_begin_and_fill_one_ledger(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    children = [start(APPENDER, path, f"process-{i}", 25) for i in range(4)]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    report = verify(path)
    assert report.is_verified, report.problems
    assert (report.size, report.unknown) == (200, ())
    with Ledger.open(path, read_only=True) as ledger:
        for i in range(4):
            assert [e["n"] for e in ledger.entries(session=f"process-{i}") if e["type"] == "intent"] == list(range(25))
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(("-wal", "-shm"))) == [
        "audit.db",
        "audit.db.key",
        "audit.db.pub",
    ]


def test_killed_appenders_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, seed = tmp_path / "audit.db", random.randrange(2**32)
    pause = random.Random(seed)
    kills, size = 0, 0
    for _ in range(10):
        child = start(ENDLESS, path)
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(pause.uniform(0, 0.05))
        child.kill()
        # Through the same buffer as the first line: reading the pipe itself would lose what is buffered.
        lines = [first, *child.stdout]
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        kills += 1
        acknowledged = [int(line) for line in lines if line.endswith("\n")]
        assert acknowledged == list(range(acknowledged[0], acknowledged[0] + len(acknowledged)))
        report = verify(path)
        assert report.is_verified, (seed, report.problems)
        assert size <= acknowledged[0] <= acknowledged[-1] < report.size, seed
        size = report.size
    assert kills == 10
    with Ledger.open(path) as ledger:
        open_before = verify(path).unknown
        given_up = {ledger.entry(index)["type"] for index in range(ledger.size)} & {"outcome.unknown"}
        recovered = ledger.recover()
        assert len(recovered) <= 1
        assert not open_before or given_up or recovered
        assert ledger.recover() == ()
    report = verify(path)
    assert report.is_verified
    assert report.unknown == open_before


def test_an_intent_whose_process_was_killed_is_given_up_and_a_running_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    lost, running = start(HANGING, path), start(HANGING, path)
    try:
        assert lost.stdout is not None
        assert running.stdout is not None
        lost_index, running_index = int(lost.stdout.readline()), int(running.stdout.readline())
        lost.kill()  # not waited for: a dead process that is not yet reaped has ended too
        deadline = time.monotonic() + 10
        recovered: tuple[object, ...] = ()
        with Ledger.open(path) as ledger:
            while not recovered and time.monotonic() < deadline:
                recovered = ledger.recover()
            assert len(recovered) == 1
            assert ledger.entry(2)["intent"] == ledger.entry(lost_index)["id"]
            assert ledger.recover() == ()
        assert lost.wait() == -signal.SIGKILL
        report = verify(path)
        assert report.is_verified
        assert report.unknown == tuple(sorted((lost_index, running_index)))
    finally:
        for child in (lost, running):
            child.kill()
            child.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_ledger_is_usable_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with Ledger.open(path) as ledger, Ledger.open("sqlite:///:memory:") as memory:
        ledger.append({"before": True})
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    if any(str(path) in name for name in open_files()):
                        os._exit(2)  # SQLite's connections and locks must not cross a fork
                    for _ in range(10):
                        ledger.append({"type": "note", "session": "child"})
                    try:
                        memory.append({})  # would be a second, diverging log
                    except LedgerError:
                        status = 0
                finally:
                    os._exit(status)
            children.append(child)
        for _ in range(10):
            ledger.append({"type": "note", "session": "parent"})
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        assert ledger.size == 41
        assert len({e["writer"]["pid"] for e in ledger.entries()}) == 4  # type: ignore[index]
    report = verify(path)
    assert report.is_verified, report.problems


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_while_it_begins_a_ledger_does_not_spoil_it(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    pause = random.Random(seed)
    landed, begun = 0, 0
    for attempt in range(40):
        path = tmp_path / str(attempt) / "audit.db"
        path.parent.mkdir()
        child = os.fork()
        if child == 0:
            try:
                with Ledger.open(path) as ledger:
                    ledger.append({})
                time.sleep(10)
            finally:
                os._exit(1)
        time.sleep(pause.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        landed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        begun += path.exists()
        with Ledger.open(path) as ledger:
            ledger.append({})
            assert ledger.size in (1, 2)
        report = verify(path)
        assert report.is_verified, (seed, report.problems)
    assert landed == 40
    assert begun > 5, "no kill came late enough to hit anything"
