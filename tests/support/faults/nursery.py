"""A process with the fault library preloaded, which forks one child for each case: a case costs a fork, not an interpreter."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from tests.support.faults import workload
from tests.support.faults.power import read_trace

__all__ = ["KINDS", "LEDGER", "Case", "Ended", "Nursery", "compiler", "is_applicable"]

KINDS = ("eio", "eio-on", "enospc", "enospc-on", "short", "full", "kill-before", "kill-after", "torn")
"""Faults: an error once or from then on; a write of half its bytes, alone or before a full disk; SIGKILL before or after a call, or
in the middle of a write."""
LEDGER = "audit.db"
_SOURCE = Path(__file__).with_name("shim.c")
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Case:
    """One child.

    Args:
        folder: Where its ledger is, or is to be.
        shape: What it does, a name of `workload.SHAPES`.
        kind: A fault of `KINDS`, or ``none``.
        at: Number of the call that the fault befalls, from 1.
        kill_after_s: SIGKILL from outside after so many seconds.
        is_traced: Record every call with its data.
    """

    folder: str
    shape: str = "short"
    kind: str = "none"
    at: int = 0
    kill_after_s: float | None = None
    is_traced: bool = False


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Args:
        status: Exit status, or the negative number of the signal.
        lines: What it said.
        landed: Calls that the fault befell, as ``<number> <call> <path>``.
        calls: Names of all calls in order; empty unless traced.
    """

    status: int
    lines: tuple[str, ...]
    landed: tuple[str, ...]
    calls: tuple[str, ...] = ()

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL

    @property
    def acknowledged(self) -> list[tuple[int, str, str]]:
        """(index, id, leaf hash) of each entry that it called durable."""
        found = []
        for line in self.lines:
            if line.startswith("ack "):
                _, index, entry_id, digest = line.split(" ")
                found.append((int(index), entry_id, digest))
        return found

    @property
    def refusals(self) -> int:
        return sum(line.startswith("refused ") for line in self.lines)


def compiler() -> str | None:
    """Returns the C compiler, None where there is none or where libraries cannot be preloaded."""
    return shutil.which("gcc") or shutil.which("cc") if sys.platform == "linux" else None


class Nursery:
    """Runs cases one after another. Use as a context manager.

    Args:
        folder: Where the library is built.
        is_quiet: Do not show the tracebacks of children that ended by an error of another kind than the library's.
    """

    def __init__(self, folder: Path, *, is_quiet: bool = False) -> None:
        library = folder / "faults.so"
        command = [compiler() or "gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl", "-lpthread"]
        subprocess.run(command, check=True)
        environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": str(_ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({str(library)!r})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env=environment,
            stderr=subprocess.DEVNULL if is_quiet else None,
            text=True,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate(timeout=60)

    def run(self, case: Case) -> Ended:
        """Runs one case to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(case)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery ended"
        folder = Path(case.folder)
        return Ended(
            int(answer),
            _lines(folder / "said"),
            _lines(folder / "landed"),
            _calls(folder / "trace") if case.is_traced else (),
        )

    def calls(self, folder: Path, shape: str) -> tuple[str, ...]:
        """Returns the system calls of a run without faults, by name in order."""
        folder.mkdir(parents=True)
        ended = self.run(Case(str(folder), shape, is_traced=True))
        assert ended.status == 0, ended.lines
        assert ended.lines[-1] == "done"
        assert not ended.refusals
        return ended.calls


def is_applicable(kind: str, call: str) -> bool:
    """Tells whether a fault can befall a call; `call` is a name of `Nursery.calls` (a write of one byte is a ``byte``)."""
    if kind in ("short", "full", "torn"):
        return call == "write"
    if kind in ("enospc", "enospc-on"):
        return call not in ("unlink", "open")  # opening needs space only where it makes a file, which the name does not tell
    return True


def _lines(path: Path) -> tuple[str, ...]:
    # A line without its end was cut off by the kill, and so was never said.
    return tuple(path.read_text("utf-8").split("\n")[:-1]) if path.exists() else ()


_NAMES = {"W": "write", "S": "sync", "T": "truncate", "U": "unlink", "R": "rename", "O": "open", "N": "open"}


def _calls(path: Path) -> tuple[str, ...]:
    records = [record for record in read_trace(path) if record.op != "A"]
    return tuple("byte" if record.op == "W" and len(record.data) == 1 else _NAMES[record.op] for record in records)


def serve(library: str) -> None:
    """Runs in the process that the library is preloaded into: one case a line in, one status a line out."""
    shim = ctypes.CDLL(library)
    for line in sys.stdin:
        case = Case(**json.loads(line))
        child = os.fork()
        if child == 0:
            status = 70
            try:
                _live(case, shim)
                status = 0
            except BaseException:  # noqa: BLE001 - anything else than the library's errors is a finding, told by the status
                traceback.print_exc()
            finally:
                os._exit(status)
        print(_wait(child, case.kill_after_s), flush=True)


def _wait(child: int, kill_after_s: float | None) -> int:
    deadline = None if kill_after_s is None else time.monotonic() + kill_after_s
    while deadline is not None and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.001, max(0.0, deadline - time.monotonic())))
    if deadline is not None:
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _live(case: Case, shim: ctypes.CDLL) -> None:
    folder = Path(case.folder)
    descriptors = []
    for name in ("said", "landed", "trace"):
        (folder / name).unlink(missing_ok=True)
        wanted = name != "trace" or case.is_traced
        descriptors.append(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if wanted else -1)
    said, landed, trace = descriptors
    say = workload.writer_of_lines(said, shim.fault_note if case.is_traced else None)
    at = ctypes.c_long(case.at)
    assert shim.fault_arm(f"/{LEDGER}".encode(), case.kind.encode(), at, landed, trace) == 0
    try:
        workload.run(str(folder / LEDGER), case.shape, say)
    finally:
        shim.fault_disarm()
