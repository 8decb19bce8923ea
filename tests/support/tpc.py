"""TPC-H and TPC-DS on every engine: queries and rows out of the fetched folder, types of columns found in the rows."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import sqlglot

__all__ = ["SUITES", "Table", "queries", "spellings", "tables"]

SUITES = ("tpc-h", "tpc-ds")
_TYPES = ((r"-?\d{1,18}", "BIGINT"), (r"-?\d+\.\d*|-?\d+", "DECIMAL(15, 4)"), (r"\d{4}-\d\d-\d\d", "DATE"))
_MAKE = {"BIGINT": int, "DECIMAL(15, 4)": Decimal, "DATE": date.fromisoformat, "VARCHAR(300)": str}
_READ_DIALECTS = ("", "snowflake")


@dataclass(frozen=True)
class Table:
    """One table: its columns as (name, type), and its rows as Python values."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[object, ...], ...]

    def ddl(self) -> str:
        return f"CREATE TABLE {self.name} ({', '.join(f'{name} {type_}' for name, type_ in self.columns)})"


def tables(folder: Path, suite: str, most: int) -> list[Table]:
    """Returns a suite's tables with up to so many rows each."""
    return [_table(path, most) for path in sorted((folder / suite).glob("*.csv.gz"))]


def _table(path: Path, most: int) -> Table:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE)
    lines = [line[: len(header)] for line in lines if len(line) >= len(header)]
    types = [_type([line[i] for line in lines]) for i in range(len(header))]
    rows = tuple(
        tuple(_MAKE[t](value) if value else None for value, t in zip(line, types, strict=True)) for line in lines[:most]
    )
    return Table(path.name.removesuffix(".csv.gz"), tuple(zip(header, types, strict=True)), rows)


def _type(values: Iterable[str]) -> str:
    found = [v for v in values if v]
    for pattern, name in _TYPES:
        if found and all(re.fullmatch(pattern, v) for v in found):
            return name
    return "VARCHAR(300)"


def queries(folder: Path, suite: str) -> list[str]:
    """Returns a suite's queries in order, as their authors wrote them."""
    text = (folder / suite / f"{suite}.sql").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("--", "#"))]
    statements = [s.strip() for s in re.split(r";[ \t]*(?:\n|\Z)", "\n".join(lines)) if s.strip()]
    # Each is followed by what sqlglot's optimizer makes of it.
    return statements[::2]


def spellings(sql: str, dialect: str) -> Sequence[str]:
    """Returns a query as it is, then as sqlglot writes it for an engine, for engines that do not take the first."""
    found = [sql]
    for read in _READ_DIALECTS:
        try:
            found += sqlglot.transpile(sql, read=read, write=dialect)
        except sqlglot.ParseError:
            continue
    return found
