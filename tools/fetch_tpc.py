"""Fetches the queries and small data of TPC-H and TPC-DS that sqlglot's source distribution carries for its own tests.

    python -m tools.fetch_tpc [FOLDER]

They stay outside the repository (`.cache/tpc` by default, which git ignores), as they are not ours. Nothing is installed: pip takes the
archive from the package index, and two folders of data are read out of it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

__all__ = ["DEFAULT_FOLDER", "fetch"]

DEFAULT_FOLDER = Path(__file__).parent.parent / ".cache" / "tpc"
_PACKAGE = "sqlglot==30.30.0"
_FOLDERS = ("tpc-h", "tpc-ds")
_INSIDE = "/tests/fixtures/optimizer/"


def fetch(folder: Path = DEFAULT_FOLDER) -> Path:
    """Returns the folder with `tpc-h` and `tpc-ds`, after fetching them if they are not there.

    Raises:
        RuntimeError: The package index does not give the archive, or the archive does not hold them.
    """
    if all((folder / name).is_dir() for name in _FOLDERS):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*download, "--dest", temporary, _PACKAGE], capture_output=True, text=True, check=False)
        archives = list(Path(temporary).glob("*.tar.gz"))
        if not archives:
            raise RuntimeError(f"{_PACKAGE} cannot be downloaded: {done.stderr.strip()[-400:]}")
        made = Path(temporary) / "made"
        with tarfile.open(archives[0]) as archive:
            for member in archive:
                name = member.name.partition(_INSIDE)[2]
                source = archive.extractfile(member) if member.isfile() and name.startswith(_FOLDERS) else None
                if source is not None and ".." not in name:
                    target = made / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(source.read())
        if not all((made / name).is_dir() for name in _FOLDERS):
            raise RuntimeError(f"The archive of {_PACKAGE} does not hold {' and '.join(_FOLDERS)}.")
        try:
            made.rename(folder)
        except OSError:
            # Another process was faster.
            if not folder.is_dir():
                raise
    return folder


if __name__ == "__main__":
    print(fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER))
