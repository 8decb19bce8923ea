"""Which process wrote an entry, and whether that process has surely ended.

An intent without an outcome is only given up for lost when its writer is positively known to be gone: same host, and the
process ended, was replaced by another of the same number, or the machine was started anew. Anything in doubt counts as
still running.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

__all__ = ["current_writer", "has_ended"]

_PROC = Path("/proc")


def current_writer() -> dict[str, object]:
    """Returns this process as ``{"host", "pid", "start"}``.

    `start` is ``<boot id>/<pid namespace>/<start in clock ticks since boot>`` where /proc tells it, else empty.
    """
    pid = os.getpid()
    ticks = _start_ticks(pid)
    return {"host": socket.gethostname(), "pid": pid, "start": f"{_boot()}/{_namespace()}/{ticks}" if ticks else ""}


def has_ended(writer: object) -> bool:
    """Tells whether the process in a `writer` field has surely ended; False whenever that cannot be known from here."""
    if not isinstance(writer, dict) or writer.get("host") != socket.gethostname() or os.name != "posix":
        return False
    pid, start = writer.get("pid"), writer.get("start")
    if type(pid) is not int or pid <= 0 or not isinstance(start, str):
        return False
    boot, _, rest = start.partition("/")
    namespace, _, ticks = rest.partition("/")
    if start and boot != _boot():
        return bool(_boot())
    if start and namespace != _namespace():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    running = _start_ticks(pid)
    return bool(start and running) and running != ticks


def _start_ticks(pid: int) -> str:
    """Returns field 22 of /proc/<pid>/stat, ``ended`` for a process that is dead but not reaped, empty where unknown."""
    try:
        # The name of the program, in parentheses, may itself hold spaces and parentheses.
        fields = (_PROC / str(pid) / "stat").read_text("ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        return ""
