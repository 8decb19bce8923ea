"""What a loss of power leaves: of a traced run, the files at every moment with only those bytes that had been synchronised.

Names are taken for durable at once (a file that was made, renamed or removed stays so); what was written into a file counts from the
next synchronisation of that file on, and may count before. SQLite's shared memory (-shm) is never durable.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PowerCut", "Record", "power_cuts", "read_trace", "restore"]


@dataclass(frozen=True, slots=True)
class Record:
    """One call: op is W(rite), T(runcate), S(ync), U(nlink), R(ename), O(pen), N(open and empty), or A for what was said."""

    op: str
    path: str
    target: str
    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PowerCut:
    """A moment of a run: files by path as they are found afterwards, and what had been said by then."""

    moment: int
    files: dict[str, bytes]
    said: tuple[str, ...]


def read_trace(path: Path) -> list[Record]:
    """Returns the records of a trace, without a last one that is incomplete."""
    data, at, records = path.read_bytes(), 0, []
    while (end := data.find(b"\n", at)) >= 0:
        op, number, length, names = data[at:end].decode().split(" ", 3)
        at = end + 1
        name, _, target = names.partition("\t")
        content = b""
        if op in "WA":
            content = data[at : at + int(length)]
            at += int(length)
            if len(content) < int(length):
                break
        records.append(Record(op, name, target, int(number), content))
    return records


def power_cuts(records: list[Record], chance: random.Random | None = None) -> Iterator[PowerCut]:
    """Yields the state after each call that changed something durable or was said.

    Args:
        records: A trace, from a folder without a ledger on.
        chance: Lets each write that was not synchronised survive or not by chance, in place of none.
    """
    durable: dict[str, bytes] = {}
    pending: dict[str, list[Record]] = {}
    said: list[str] = []
    for moment, record in enumerate(records):
        if record.path.endswith("-shm"):
            continue
        if record.op == "A":
            said.append(record.data.decode())
        elif record.op in "WT":
            pending.setdefault(record.path, []).append(record)
        elif record.op in "ON" and record.number:
            durable.setdefault(record.path, b"")
        elif record.op == "S":
            if record.path not in durable:
                continue  # a folder
            for waiting in pending.pop(record.path, []):
                durable[record.path] = _applied(durable[record.path], waiting)
        elif record.op == "U":
            durable.pop(record.path, None)
            pending.pop(record.path, None)
        elif record.op == "R":
            durable[record.target] = durable.pop(record.path)
            pending[record.target] = pending.pop(record.path, [])
        files = dict(durable)
        if chance:
            for path, waiting in pending.items():
                for one in waiting:
                    if path in files and chance.random() < 0.5:
                        files[path] = _applied(files[path], one)
        yield PowerCut(moment, files, tuple(said))


def restore(cut: PowerCut, folder: Path) -> None:
    """Writes the files of a cut into an empty folder, by their names and for their owner alone."""
    for path, content in cut.files.items():
        target = folder / Path(path).name
        target.write_bytes(content)
        target.chmod(0o600)


def _applied(content: bytes, record: Record) -> bytes:
    if record.op == "T":
        return content[: record.number].ljust(record.number, b"\0")
    start, end = record.number, record.number + len(record.data)
    return content[:start].ljust(start, b"\0") + record.data + content[end:]
