"""Scratch databases: made from a schema, written to row by row, opened as an engine of ours, and thrown away.

What differs between engines is a `Workshop` of a few lines; `Scratch` is the writing side of one database, over any DB-API driver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from guardrails.engines import Engine
from guardrails.model import Catalog
from guardrails.proving.copying.schema import Definition, SourceSchema

__all__ = ["Scratch", "Workshop", "apply"]

Execute = Callable[[str, Sequence[object]], Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class Scratch:
    """One scratch database, for writing.

    Args:
        url: Its address, for `Workshop.open`.
        execute: Runs one statement with its values and returns the rows.
        errors: What the driver raises when the database refuses.
        placeholder: Stands for a value in a statement.
        quote: Around names.
        marks: Statements that begin a row, keep it, and undo it.
        close: Commits and closes.
    """

    url: str
    execute: Execute
    errors: tuple[type[Exception], ...]
    placeholder: str
    quote: str
    marks: tuple[str, str, str]
    close: Callable[[], None]

    def name(self, *parts: str) -> str:
        """Returns a name with quotes, for a statement with placeholders."""
        quoted = ".".join(f"{self.quote}{p.replace(self.quote, self.quote * 2)}{self.quote}" for p in parts)
        return quoted.replace("%", "%%") if self.placeholder == "%s" else quoted

    def refusal(self, sql: str, values: Sequence[object] = ()) -> str | None:
        """Runs a statement; returns why the database refuses it, None when it does not."""
        try:
            self.execute(sql, values)
        except self.errors as error:
            return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return None

    def begin(self) -> None:
        self.execute(self.marks[0], ())

    def keep(self) -> None:
        self.execute(self.marks[1], ())

    def undo(self) -> None:
        self.execute(self.marks[2], ())
        if self.marks[2].startswith("ROLLBACK TO"):
            # A savepoint stays after its rollback.
            self.keep()


class Workshop(Protocol):
    """Makes scratch databases for one database, and throws them away when it is closed."""

    def catalog(self) -> Catalog:
        """The catalog of the database whose schema is copied."""
        ...

    def read(self) -> SourceSchema:
        """Reads its schema."""
        ...

    def create(self) -> Scratch:
        """Makes an empty database.

        Raises:
            UsageError: The server does not let this login make one (``usage.scratch_refused``).
        """
        ...

    def open(self, scratch: Scratch) -> Engine:
        """Opens one for guarded execution; `close` disposes of it."""
        ...

    def close(self) -> None:
        """Throws everything away that was made."""
        ...


def apply(scratch: Scratch, definitions: Sequence[Definition]) -> tuple[tuple[str, str], ...]:
    """Makes what can be made, in as many rounds as it takes; returns name and reason of what cannot."""
    waiting = list(definitions)
    while waiting:
        refused = [(d, reason) for d in waiting if (reason := scratch.refusal(d.sql)) is not None]
        if len(refused) == len(waiting):
            return tuple((d.name, reason) for d, reason in refused)
        waiting = [d for d, _ in refused]
    return ()
