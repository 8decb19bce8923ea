"""System calls that fail, disks that are full, writes that are torn and power that is lost: nothing acknowledged goes with them."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.faults import Case, Ended, Nursery, compiler, examine, power_cuts
from tests.support.faults.nursery import KINDS, LEDGER, is_applicable
from tests.support.faults.power import read_trace, restore

PATIENCE_S = 60
HANG_S = 5
KILLS = ("kill-before", "kill-after", "torn")
ESCAPED = 70
"""Status of a child that ended by an error which is not the library's."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: what is synchronised is worked out, not waited for."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    if compiler() is None:
        missing("a C compiler on Linux is needed to inject faults")
    with Nursery(tmp_path_factory.mktemp("nursery"), is_quiet=True) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def calls(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The system calls of the short run, in order."""
    found = nursery.calls(tmp_path_factory.mktemp("calls") / "run", "short")
    assert {"open", "write", "sync", "rename"} <= set(found), "the ledger's calls are not seen: the fault library does not hold"
    return found


def inject(nursery: Nursery, folder: Path, shape: str, kind: str, at: int) -> Ended:
    """Runs one case, asserts that its fault landed and that the ledger is as it must be, and removes it."""
    folder.mkdir()
    ended = nursery.run(Case(str(folder), shape, kind, at, kill_after_s=PATIENCE_S))
    assert ended.landed, (kind, at)
    if kind in KILLS:
        assert ended.was_killed, (kind, at, ended)
    else:
        assert (ended.status, ended.lines[-1]) == (0, "done"), (kind, at, ended)
    examine(folder / LEDGER, ended.acknowledged)
    shutil.rmtree(folder)
    return ended


def all_told(ended: list[Ended], kind: str) -> None:
    """Asserts that the faults did something: not all was acknowledged, and not nothing."""
    full = 7
    lost = sum(full - len(one.acknowledged) for one in ended)
    assert all(len(one.acknowledged) <= full for one in ended)
    assert any(one.acknowledged for one in ended)
    if kind == "short":
        assert lost == 0, "half a write that can be continued harms nothing"
    else:
        assert lost > 0, "every append was acknowledged: the faults did nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_every_call(nursery: Nursery, calls: tuple[str, ...], folder: Path, kind: str) -> None:
    hit = [n for n, call in enumerate(calls, 1) if is_applicable(kind, call)]
    assert len(hit) > len(calls) / 2
    all_told([inject(nursery, folder / f"{kind}-{n}", "short", kind, n) for n in hit], kind)


@pytest.mark.parametrize("kind", ["eio", "full", "kill-before", "torn"])
def test_a_fault_while_threads_append(nursery: Nursery, folder: Path, kind: str) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    # Threads group their appends by chance, so a late number may not come up; most of them must.
    ended = []
    for n in range(8):
        home = folder / f"{n}"
        home.mkdir()
        one = nursery.run(Case(str(home), "threads", kind, chance.randint(60, 150), kill_after_s=PATIENCE_S))
        assert one.status != ESCAPED, (seed, one)
        examine(home / LEDGER, one.acknowledged)
        ended.append(one)
    assert sum(bool(one.landed) for one in ended) >= 4, seed


@pytest.mark.fuzz
@pytest.mark.parametrize("shape", ["threads", "large"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_calls_of_longer_runs(nursery: Nursery, folder: Path, shape: str, kind: str) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    longer = nursery.calls(folder / "calls", shape)
    landed = 0
    for n in chance.sample(range(1, len(longer) + 1), 60):
        home = folder / f"{n}"
        home.mkdir()
        one = nursery.run(Case(str(home), shape, kind, n, kill_after_s=PATIENCE_S))
        landed += bool(one.landed)
        assert one.status != ESCAPED, (seed, n, one)
        examine(home / LEDGER, one.acknowledged)
        shutil.rmtree(home)
    assert landed > 20, seed


def test_an_error_that_lasts_is_told_by_the_library(nursery: Nursery, calls: tuple[str, ...], folder: Path) -> None:
    renames = [n for n, call in enumerate(calls, 1) if call == "rename"]
    assert len(renames) == 2, "the key file and the public one"
    for n in (at for rename in renames for at in range(rename - 3, rename + 1)):
        home = folder / f"{n}"
        home.mkdir()
        ended = nursery.run(Case(str(home), "short", "eio-on", n, kill_after_s=PATIENCE_S))
        assert (ended.status, ended.lines[-1:]) == (0, ("done",)), (n, ended.landed)


@pytest.mark.parametrize(("kind", "at"), [("eio", 2), ("full", 3), ("enospc-on", 4), ("eio-on", 3)])
def test_an_error_while_opening_is_told_soon(nursery: Nursery, folder: Path, kind: str, at: int) -> None:
    ended = nursery.run(Case(str(folder), "short", kind, at, kill_after_s=HANG_S))
    assert ended.landed
    assert (ended.status, ended.lines[-1:]) == (0, ("done",))


def test_a_loss_of_power_at_any_moment_loses_nothing_acknowledged(nursery: Nursery, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    ended = nursery.run(Case(str(run), is_traced=True))
    records = read_trace(run / "trace")
    assert len(ended.acknowledged) == 7
    seed = random.randrange(2**32)
    lost = 0
    for chance in (None, random.Random(seed)):
        for cut in power_cuts(records, chance):
            found = folder / f"cut-{cut.moment}"
            found.mkdir()
            restore(cut, found)
            told = Ended(0, cut.said, ()).acknowledged
            aftermath = examine(found / LEDGER, told)
            lost += aftermath.size < 7
            shutil.rmtree(found)
    assert lost > 50, "no cut came early enough to lose anything"


def test_an_append_that_was_not_synchronised_would_be_found(nursery: Nursery, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    nursery.run(Case(str(run), is_traced=True))
    records = [r for r in read_trace(run / "trace") if r.op != "S" or not r.path.endswith("-wal")]
    cut = next(cut for cut in power_cuts(records) if sum(line.startswith("ack") for line in cut.said) == 7)
    restore(cut, folder)
    with pytest.raises(AssertionError):
        examine(folder / LEDGER, Ended(0, cut.said, ()).acknowledged)
