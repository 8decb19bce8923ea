"""A folder that a log is published in. Readers of the folder, such as a web server, see each file whole or not at all."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from threading import Lock

from guardrails.errors import LedgerError
from guardrails.ledger.publishing.source import check_limit

__all__ = ["DirectoryTarget"]

_INCOMING = ".incoming"
_LOCK = ".lock"
_STALE_S = 3600
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


class DirectoryTarget:
    """A folder; see `Target`. It is made with the first file that is written.

    A file is written under another name in ``.incoming``, made durable and only then given its name. One that a killed process
    left there is removed by a later publication.

    Args:
        root: The folder.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).absolute()
        self._changed: set[Path] = set()
        self._guard = Lock()

    def __str__(self) -> str:
        return str(self._root)

    def get(self, path: str, limit_bytes: int) -> bytes | None:
        try:
            with self._place(path).open("rb") as file:
                return check_limit(path, file.read(limit_bytes + 1), limit_bytes)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _failed(f"{path} cannot be read.", error) from error

    def create(self, path: str, data: bytes) -> bool:
        place = self._place(path)
        if os.path.lexists(place):
            return False
        with self._writing(place, data) as temporary:
            try:
                os.link(temporary, place)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                # Without hard links two publishers could each find it missing; what they write is the same unless the log forked.
                temporary.replace(place)
        return True

    def replace(self, path: str, data: bytes, expected: bytes | None) -> bool:
        place = self._place(path)
        with self._exclusive():
            if self.get(path, max(len(expected or b""), len(data)) + 1_000_000) != expected:
                return False
            self._sync()
            with self._writing(place, data) as temporary:
                temporary.replace(place)
            self._sync()
            self._remove_stale()
        return True

    def list(self, folder: str) -> Iterator[str]:
        try:
            found = sorted(p for p in self._place(folder).rglob("*") if p.is_file())
        except OSError as error:
            raise _failed(f"{folder} cannot be read.", error) from error
        return (p.relative_to(self._root).as_posix() for p in found)

    def delete(self, path: str) -> None:
        place = self._place(path)
        try:
            place.unlink(missing_ok=True)
            if place.parent.name.endswith(".p") and not any(place.parent.iterdir()):
                place.parent.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failed(f"{path} cannot be deleted.", error) from error

    def _place(self, path: str) -> Path:
        parts = path.split("/")
        if any(part in ("", ".", "..") or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            raise LedgerError("ledger.tile_invalid", "This is not the path of a file of a published log.")
        return self._root.joinpath(*parts)

    @contextmanager
    def _writing(self, place: Path, data: bytes) -> Iterator[Path]:
        try:
            self._make_folder(place.parent)
            self._make_folder(self._root / _INCOMING)
            temporary = self._root / _INCOMING / token_hex(16)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)
            with self._guard:
                self._changed.add(place.parent)
        except OSError as error:
            raise _failed(f"{place.relative_to(self._root)} cannot be written.", error) from error

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for made in reversed(missing):
            made.mkdir(exist_ok=True)
            with self._guard:
                self._changed.add(made.parent)

    def _sync(self) -> None:
        with self._guard:
            changed, self._changed = self._changed, set()
        for folder in changed:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        import fcntl

        try:
            self._make_folder(self._root)
            with (self._root / _LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise _failed("The folder cannot be written.", error) from error

    def _remove_stale(self) -> None:
        oldest = time.time() - _STALE_S
        for left in (self._root / _INCOMING).iterdir():
            if left.stat().st_mtime < oldest:
                left.unlink(missing_ok=True)


def _failed(message: str, error: OSError) -> LedgerError:
    return LedgerError(
        "ledger.unavailable", message, hint="Check the folder and its permissions.", evidence={"error": str(error)}
    )
