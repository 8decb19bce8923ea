"""Writes a folder that appears whole or not at all, and whose manifest lists the digest of every file in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from guardrails.errors import UsageError
from guardrails.ledger.keys import sync_directory

__all__ = ["NewFolder", "new_folder"]

_THREADS = 8
"""Files are made durable several at a time, so that the file system can do it for many at once."""


class NewFolder:
    """A folder that is being written.

    Attributes:
        digests: SHA-256 (hex) by path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.digests: dict[str, str] = {}

    def write(self, path: str, data: bytes) -> None:
        """Writes a file; `path` is relative, with slashes."""
        place = self._root.joinpath(*path.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        self.digests[path] = sha256(data).hexdigest()

    def seal(self, path: str, manifest: dict[str, object], encode: Callable[[dict[str, object]], bytes]) -> str:
        """Writes the manifest with the SHA-256 of itself, without that field, in ``sha256``; returns that."""
        digest = sha256(encode(manifest)).hexdigest()
        self.write(path, encode(manifest | {"sha256": digest}))
        return digest

    def sync(self) -> None:
        """Makes everything durable, files before the folders that name them."""
        places = [Path(folder) for folder, _, _ in os.walk(self._root)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(_sync_file, (self._root.joinpath(*path.split("/")) for path in self.digests)):
                pass
        for place in reversed(places):
            sync_directory(place)


@contextmanager
def new_folder(target: Path) -> Iterator[NewFolder]:
    """Gives a folder to write into, which becomes `target` in one step when nothing went wrong, and is removed otherwise.

    Raises:
        UsageError: `target` exists already or cannot be written (usage.input_invalid).
    """
    if target.exists() or target.is_symlink():
        raise UsageError("usage.input_invalid", f"{target} exists already; an export never replaces anything.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
            root = Path(temporary) / "bundle"
            root.mkdir()
            folder = NewFolder(root)
            yield folder
            folder.sync()
            root.rename(target)
            sync_directory(target.parent)
    except OSError as error:
        raise UsageError("usage.input_invalid", f"{target} cannot be written.", evidence={"error": str(error)}) from error


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
