"""A bucket of an object store (S3, Google Cloud Storage, Azure) that a log is published in, through the package obstore.

Each object appears whole. Conditional writes keep two publishers from overwriting each other: a tile is only ever created, and
the checkpoint is only replaced while it still is the one that was compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.publishing.headers import cache_control, content_type
from guardrails.ledger.publishing.source import check_limit

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion
    from obstore.store import ObjectStore

__all__ = ["ObjectTarget"]


class ObjectTarget:
    """A bucket, or a folder in one; see `Target`.

    Args:
        store: A store of obstore.

    Raises:
        UsageError: The package obstore is not installed (usage.extra_missing).
    """

    def __init__(self, store: ObjectStore) -> None:
        _require_obstore()
        self._store = store

    @classmethod
    def open(cls, url: str) -> ObjectTarget:
        """Opens ``s3://bucket/folder``, ``gs://…`` or ``az://…``. Credentials, region and endpoint come from the environment,
        by the names that the store's own tools use (``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, ``AWS_ENDPOINT``).

        Raises:
            UsageError: The URL is not understood (usage.input_invalid), or obstore is not installed (usage.extra_missing).
        """
        _require_obstore()
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        try:
            return cls(from_url(url))
        except (BaseError, ValueError) as error:
            raise UsageError(
                "usage.input_invalid", "The URL of the object store is not understood.", evidence={"error": str(error)}
            ) from error

    def get(self, path: str, limit_bytes: int) -> bytes | None:
        found = self._found(path, limit_bytes)
        return None if found is None else found[0]

    def create(self, path: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        try:
            self._put(path, data, "create")
        except AlreadyExistsError:
            return False
        return True

    def replace(self, path: str, data: bytes, expected: bytes | None) -> bool:
        from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError

        found = self._found(path, max(len(expected or b""), len(data)) + 1_000_000)
        if (None if found is None else found[0]) != expected:
            return False
        try:
            self._put(path, data, "create" if found is None else found[1])
        except (AlreadyExistsError, PreconditionError, NotFoundError):
            return False
        return True

    def list(self, folder: str) -> Iterator[str]:
        import obstore

        with _reported(folder):
            found = [item["path"] for page in obstore.list(self._store, folder) for item in page]
        return iter(sorted(found))

    def delete(self, path: str) -> None:
        import obstore
        from obstore.exceptions import NotFoundError

        with _reported(path):
            try:
                obstore.delete(self._store, path)
            except NotFoundError:
                return

    def _found(self, path: str, limit_bytes: int) -> tuple[bytes, UpdateVersion] | None:
        import obstore
        from obstore.exceptions import NotFoundError

        with _reported(path):
            try:
                result = obstore.get(self._store, path)
            except (NotFoundError, FileNotFoundError):
                return None
            meta = result.meta
            if meta["size"] > limit_bytes:
                raise LedgerError("ledger.tile_invalid", f"{path} is longer than {limit_bytes} bytes.")
            data = check_limit(path, bytes(result.bytes()), limit_bytes)
        version: UpdateVersion = {}
        if meta["e_tag"] is not None:
            version["e_tag"] = meta["e_tag"]
        if meta["version"] is not None:
            version["version"] = meta["version"]
        return data, version

    def _put(self, path: str, data: bytes, mode: PutMode) -> None:
        import obstore

        with _reported(path):
            obstore.put(
                self._store,
                path,
                data,
                attributes={"Content-Type": content_type(path), "Cache-Control": cache_control(path)},
                mode=mode,
                use_multipart=False,
            )


@contextmanager
def _reported(path: str) -> Iterator[None]:
    from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, NotFoundError, PreconditionError):
        raise
    except (BaseError, OSError) as error:
        raise LedgerError(
            "ledger.unavailable",
            f"The object store refused {path}.",
            hint="Check the bucket, the credentials and that the store knows conditional writes.",
            evidence={"error": str(error)},
        ) from error


def _require_obstore() -> None:
    try:
        import obstore  # noqa: F401  only asked for
    except ImportError as error:
        raise UsageError(
            "usage.extra_missing",
            "Object stores need the package obstore.",
            hint="Install guardrails-sql[publish].",
        ) from error
