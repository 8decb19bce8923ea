"""Environments of their own, for packages whose requirements do not go together with ours: made once, kept, and shared by all workers.

`GUARDRAILS_TEST_ENVIRONMENTS` names the folder that they are kept in; by default it is one in the system's temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

__all__ = ["environment"]

_LONGEST_S = 600


def environment(*requirements: str) -> Path:
    """Returns the folder of programs of an environment with these packages, as pip is asked for them.

    Raises:
        RuntimeError: pip could not install them, or another worker took too long over it.
    """
    named = hashlib.sha256("\n".join((sys.version, *sorted(requirements))).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("GUARDRAILS_TEST_ENVIRONMENTS") or Path(tempfile.gettempdir()) / "guardrails-environments")
    made, making = folder / named, folder / f"{named}.making"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_LONGEST_S):
        if (made / "ready").exists():
            return made / ("Scripts" if os.name == "nt" else "bin")
        try:
            making.mkdir()
        except FileExistsError:
            # Another worker is at it.
            time.sleep(1)
            continue
        try:
            _make(made, requirements)
        finally:
            making.rmdir()
    raise RuntimeError(f"Nobody has made the environment {made}.")


def _make(made: Path, requirements: tuple[str, ...]) -> None:
    # It is not moved afterwards: the paths of an environment are written into its programs.
    shutil.rmtree(made, ignore_errors=True)
    venv.create(made, with_pip=True, symlinks=os.name != "nt")
    python = made / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if done.returncode:
        raise RuntimeError(f"pip could not install {requirements}: {done.stderr[-500:]}")
    (made / "ready").touch()
