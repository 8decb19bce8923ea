"""Kills appenders with SIGKILL and lets their system calls fail, and counts what was found.

    python -m benchmarks.ledger_faults --kills 1000 [--seed N] [--faults] [--folder DIRECTORY]

Half of the kills come from outside after a random time, half from inside before, after or within a random system call. After each
one the ledger must verify, hold every entry that was acknowledged, and go on; the first that does not ends the run with its seed.
`--faults` also lets every system call of a short run fail in each of nine ways. Needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.faults import Case, Nursery, compiler, examine
from tests.support.faults.kills import random_kills
from tests.support.faults.nursery import KINDS, LEDGER, is_applicable

_TIMEOUT_S = 60


def main() -> int:
    parser = argparse.ArgumentParser(description="SIGKILL and failing system calls against a ledger.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--faults", action="store_true", help="also every fault at every system call of a short run")
    parser.add_argument("--folder", type=Path, help="where the ledgers lie; by default a temporary folder")
    options = parser.parse_args()
    if compiler() is None:
        print("error: needs Linux and a C compiler", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, Nursery(Path(folder), is_quiet=True) as nursery:
        print(f"seed {options.seed}, load {os.getloadavg()[0]:.2f}")
        if options.kills:
            _kill(nursery, Path(folder), options.kills, options.seed)
        if options.faults:
            _inject(nursery, Path(folder))
    return 0


def _kill(nursery: Nursery, folder: Path, count: int, seed: int) -> None:
    started = time.monotonic()
    tally = random_kills(nursery, folder, count, random.Random(seed), _progress)
    took_s = time.monotonic() - started
    print(f"kills               {tally.by_time + tally.by_call} ({tally.by_time} by time, {tally.by_call} by system call)")
    print(f"ledgers             {tally.ledgers}, each killed again and again, and verified after each kill")
    print(f"acknowledged        {tally.acknowledged} entries, lost 0")
    print(
        f"untold              {tally.unacknowledged} more entries: killed before it was told, or given up by the next appender"
    )
    print(f"nothing yet         {tally.before_the_first} kills came before the first acknowledgement of their run")
    print(f"given up            {tally.recovered} intents at the end; the others by the next appender")
    print(f"took                {took_s:.0f} s")


def _inject(nursery: Nursery, folder: Path) -> None:
    calls = nursery.calls(folder / "calls", "short")
    print(f"system calls        {len(calls)} in a run of 7 entries: {dict(Counter(calls))}")
    started = time.monotonic()
    for kind in KINDS:
        landed = acknowledged = refused = ended_by_kill = hung = escaped = 0
        for n in (n for n, call in enumerate(calls, 1) if is_applicable(kind, call)):
            home = folder / f"{kind}-{n}"
            home.mkdir()
            ended = nursery.run(Case(str(home), "short", kind, n, kill_after_s=_TIMEOUT_S if "kill" in kind else 5))
            examine(home / LEDGER, ended.acknowledged)
            landed += bool(ended.landed)
            acknowledged += len(ended.acknowledged)
            refused += ended.refusals
            is_kill = kind in ("kill-before", "kill-after", "torn")
            ended_by_kill += ended.was_killed and is_kill
            hung += ended.was_killed and not is_kill
            escaped += ended.status not in (0, -9)
            shutil.rmtree(home)
        print(
            f"{kind:<20}{landed} landed, {acknowledged} acknowledged of {7 * landed} and none lost, {refused} refused,"
            f" {ended_by_kill} killed, {hung} hung, {escaped} by a foreign error"
        )
    print(f"took                {time.monotonic() - started:.0f} s")


def _progress(done: int) -> None:
    if done % 100 == 0 and sys.stderr.isatty():
        print(f"{done} kills", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
