"""Where a ledger is: a SQLite file, memory, or a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guardrails.errors import UsageError

__all__ = ["Location"]

_POSTGRES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Location:
    """A ledger's place: a file; a PostgreSQL database when `postgres` is its URL; memory when both are None."""

    path: Path | None
    postgres: str | None = None

    @classmethod
    def parse(cls, url: str | Path) -> Location:
        """Reads ``sqlite:///relative``, ``sqlite:////absolute``, ``sqlite:///:memory:``, ``postgresql://…`` or a plain path.

        Raises:
            UsageError: It is a URL of another kind (usage.database_unsupported).
        """
        text = str(url)
        if text.startswith(_POSTGRES):
            return cls(None, text)
        if text.startswith("sqlite:///"):
            text = text.removeprefix("sqlite:///")
            if "?" in text:
                raise UsageError("usage.database_unsupported", "A ledger's URL takes no options after a question mark.")
        elif "://" in text or text.startswith("sqlite:"):
            raise UsageError(
                "usage.database_unsupported",
                "The ledger's URL is not supported.",
                hint="Use sqlite:///path, sqlite:////path or postgresql://host/database.",
            )
        if not text or "\0" in text:
            raise UsageError("usage.database_unsupported", "The ledger's URL names no file.")
        return cls(None if text == ":memory:" else Path(text).absolute())

    @property
    def is_memory(self) -> bool:
        return self.path is None and self.postgres is None

    def beside(self, suffix: str) -> Path | None:
        """Returns the file beside the ledger that carries its name and a suffix, such as ``.key`` or ``.pub``."""
        return None if self.path is None else self.path.with_name(self.path.name + suffix)
