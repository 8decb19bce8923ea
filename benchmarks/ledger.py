"""The ledger's costs as ratios within one run, since machines and their noise differ.

    python -m benchmarks.ledger append [--device-us 250]     signed durable appends against bare fdatasync and against pymerkle
    python -m benchmarks.ledger pair                         canonical form, hash and session signature of an intent and its outcome
    python -m benchmarks.ledger proofs --size 1000000        proofs from the stored tiles, against pymerkle's SQLite tree of that size
    python -m benchmarks.ledger verify --size 300000         full verification, by level
    python -m benchmarks.ledger postgres --url postgresql://…   one by one against 64 writers on one PostgreSQL

What each line compares is said in the line. Rounds are interleaved, the figures are medians, and the machine's load is printed.
`--device-us` lets every fsync and fdatasync of the run take so much longer (a shim that gcc compiles), as on a slower disk.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from guardrails.ledger import Ledger, SessionKey, merkle
from guardrails.ledger.entry import check
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.signing import sealed
from guardrails.ledger.verify import Level, verify

ROUNDS = 5
INTENT = {
    "type": "intent",
    "session": "s",
    "principal": {"id": "ana@example.com", "issuer": "https://id.example.com", "groups": ["support"], "verified": "oidc"},
    "agent": {"name": "bot", "model": "m-1"},
    "statement": {"dialect": "sqlite", "normalised": "SELECT name FROM customers WHERE id = ?", "reads": ["customers.name"]},
    "decision": {"effect": "allow", "rules": ["read-shop"], "policy": "0" * 64},
}
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
static void wait_us(void) {
    long us = atol(getenv("DEVICE_US"));
    struct timespec t = {us / 1000000, (us % 1000000) * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, 0);
}
int fdatasync(int fd) { int r = ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); wait_us(); return r; }
int fsync(int fd) { int r = ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); wait_us(); return r; }
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["append", "pair", "proofs", "verify", "postgres"])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--folder", help="where files are written; a temporary folder by default")
    parser.add_argument("--device-us", type=int, default=0)
    parser.add_argument("--url", default="postgresql://127.0.0.1/test")
    parser.add_argument("--alone", action="store_true", help="leave pymerkle out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.device_us and "DEVICE_US" not in os.environ:
            sys.exit(on_slower_device(Path(folder), options.device_us))
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        {
            "append": lambda: append(Path(folder)),
            "pair": pair,
            "proofs": lambda: proofs(Path(folder), options.size, alone=options.alone),
            "verify": lambda: verification(Path(folder), options.size),
            "postgres": lambda: postgres(options.url),
        }[options.what]()
        print(f"load {os.getloadavg()[0]:.1f}")


def on_slower_device(folder: Path, device_us: int) -> int:
    """Runs this again with a shim in front of fsync."""
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(folder / "shim.so"), "DEVICE_US": str(device_us)}
    return subprocess.run([sys.executable, "-m", "benchmarks.ledger", *sys.argv[1:]], env=environment, check=False).returncode


def rate(work: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def interleaved(works: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Returns the median rate per second of each work, their rounds taken in turn."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (work, count) in works.items():
            rates[name].append(rate(work, count))
    return {name: statistics.median(found) for name, found in rates.items()}


def sync_writes(path: Path, count: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(count):
        os.write(descriptor, b"x" * 600)
        os.fdatasync(descriptor)
    os.close(descriptor)


def in_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def append(folder: Path) -> None:
    from pymerkle import SqliteTree

    tree = SqliteTree(str(folder / "pymerkle.db"))
    tree.con.execute("PRAGMA journal_mode = WAL")
    tree.con.execute("PRAGMA synchronous = FULL")
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
    with Ledger.open(folder / "audit.db") as ledger:
        keys = []
        for n in range(64):
            keys.append(SessionKey({}))
            ledger.bind(f"s{n}", keys[-1])
        note = INTENT | {"type": "note"}
        numbers = iter(range(10**9))

        def several(entries: int) -> Callable[[], None]:
            def work() -> None:
                entry = note | {"session": f"s{next(numbers) % 64}"}
                for _ in range(entries):
                    ledger.append(entry)

            return work

        found = interleaved(
            {
                "fdatasync": (lambda: sync_writes(folder / "floor", 1000), 1000),
                "bare SQLite row": (
                    lambda: [bare.execute("INSERT INTO t (b) VALUES (?)", (b"x" * 600,)) for _ in range(1000)],
                    1000,
                ),
                "pymerkle": (lambda: [tree.append_entry(b"x" * 600) for _ in range(1000)], 1000),
                "1 writer": (several(1000), 1000),
                "8 writers": (lambda: in_threads(8, several(250)), 2000),
                "32 writers": (lambda: in_threads(32, several(100)), 3200),
                "64 writers": (lambda: in_threads(64, several(50)), 3200),
                "many together": (lambda: ledger.append_many([note] * 3000), 3000),
            }
        )
    for name, per_second in found.items():
        of_floor, of_pymerkle = per_second / found["fdatasync"], per_second / found["pymerkle"]
        print(f"{name:<16} {of_floor:6.2f} of fdatasync {of_pymerkle:6.2f} of pymerkle ({per_second:,.0f}/s)")
    tree.close()


def pair() -> None:
    key = SessionKey({})
    stamps = {
        "v": 2,
        "id": "0" * 32,
        "time": "2026-01-01T00:00:00.000000Z",
        "seq": 1,
        "writer": {"host": "h", "pid": 1, "start": ""},
    }
    outcome = {
        "type": "outcome",
        "session": "s",
        "intent": "0" * 32,
        "status": "ok",
        "rows": 3,
        "duration_us": 1234,
        "masks": [],
    }

    def work() -> None:
        for _ in range(1000):
            for entry in (INTENT, outcome):
                merkle.leaf_hash(sealed(check(entry) | stamps, key))

    signing = interleaved({"pairs": (work, 1000), "signatures": (lambda: [key.sign(b"x" * 700) for _ in range(2000)], 2000)})
    print(f"canonical form, hash and signature of a pair: {1e6 / signing['pairs']:.0f} µs")
    print(f"of which two bare signatures are {2e6 / signing['signatures']:.0f} µs")


def filled(folder: Path, size: int, name: str) -> Path:
    path = folder / name
    with Ledger.open(path, signer=Ed25519Signer.generate("example.com/benchmark")) as ledger:
        while ledger.size < size:
            ledger.append_many([{"n": ledger.size + k} for k in range(min(2048, size - ledger.size))])
    return path


def proofs(folder: Path, size: int, *, alone: bool) -> None:
    chance = random.Random(1)

    def anywhere(count: int) -> list[int]:
        return [chance.randrange(1, size - 1) for _ in range(count)]

    with Ledger.open(filled(folder, size, "audit.db"), read_only=True) as ledger:
        works: dict[str, tuple[Callable[[], object], int]] = {
            "inclusion": (lambda: [ledger.inclusion_proof(i) for i in anywhere(200)], 200),
            "consistency": (lambda: [ledger.consistency_proof(i) for i in anywhere(200)], 200),
        }
        if not alone:
            from pymerkle import SqliteTree

            tree = SqliteTree(str(folder / "pymerkle.db"))
            tree.con.execute("PRAGMA synchronous = OFF")
            tree.append_entries((b"%d" % n for n in range(size)), chunksize=10_000)
            works["pymerkle inclusion"] = (lambda: [tree.prove_inclusion(i + 1, size) for i in anywhere(20)], 20)
            works["pymerkle consistency"] = (lambda: [tree.prove_consistency(i, size) for i in anywhere(20)], 20)
        found = interleaved(works)
    print(f"size {size:,}")
    for name, per_second in found.items():
        print(f"{name:<22} {1e3 / per_second:8.3f} ms")
    if not alone:
        for name in ("inclusion", "consistency"):
            print(f"{name}: 1/{found[name] / found[f'pymerkle {name}']:.1f} of pymerkle's time")


def verification(folder: Path, size: int) -> None:
    path = filled(folder, size, "audit.db")
    levels: tuple[Level, ...] = ("hash", "entries", "signatures")
    for level in levels:
        count = size if level != "signatures" else min(size, 30_000)
        target = path if count == size else filled(folder, count, "small.db")
        per_second = rate(lambda target=target, level=level: verify(target, level=level), count)  # type: ignore[misc]
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"verify, level {level:<10} {per_second:10,.0f} entries/s, at most {memory_mb:,.0f} MB so far")


def postgres(url: str) -> None:
    schema = f"benchmark_{os.getpid()}"
    separator = "&" if "?" in url else "?"
    signer = Ed25519Signer.generate("example.com/benchmark")
    with Ledger.open(f"{url}{separator}ledger_schema={schema}", signer=signer) as ledger:
        note = INTENT | {"type": "note"}
        found = interleaved(
            {
                "1 writer": (lambda: [ledger.append(note) for _ in range(200)], 200),
                "64 writers": (lambda: in_threads(64, lambda: [ledger.append(note) for _ in range(50)]), 3200),
            }
        )
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
    print(f"64 writers: {found['64 writers'] / found['1 writer']:.1f} of one by one ({found['1 writer']:,.0f}/s one by one)")


if __name__ == "__main__":
    main()
