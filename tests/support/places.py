"""Where the tests keep their files: in memory where there is enough of it, and bytecode beside the source.

Ledgers and databases synchronise each commit, and a disk takes milliseconds for that which no test looks at: what a loss of power
leaves behind is worked out by `tests.support.faults`, from the calls themselves.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["keep_bytecode", "keep_files_in_memory"]

_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 6 * 2**30
"""Databases of one run are dropped at its end and take 2 GB at most; twice that stays free."""


def keep_files_in_memory() -> None:
    """Makes temporary files be made in memory, by this process and those that it starts, unless TMPDIR names another place."""
    if "TMPDIR" in os.environ or not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return
    found = os.statvfs(_MEMORY)
    # Programs are built there too, and run.
    if found.f_bavail * found.f_frsize < _ENOUGH_BYTES or found.f_flag & os.ST_NOEXEC:
        return
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None


def keep_bytecode() -> None:
    """Lets the hundreds of interpreters that tests start find the library compiled, as where it is installed."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
