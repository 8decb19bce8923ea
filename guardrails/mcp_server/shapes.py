"""What the tools take and give, as models: the source of the schemas that clients are told, and of the structured content they get."""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from guardrails.model import Receipt

__all__ = [
    "ColumnShown",
    "DescribeArguments",
    "ExplainArguments",
    "Explained",
    "NoArguments",
    "QueryArguments",
    "QueryResult",
    "ReasonShown",
    "ReceiptShown",
    "RelationList",
    "RelationShown",
    "RelationSummary",
]

Scalar: TypeAlias = str | int | float | bool | None
Cell: TypeAlias = Any
"""JSON; exact numbers, times and whole numbers beyond 2^53 are text, bytes base64 (see `guardrails.as_json.json_value`)."""

_MOST_NAME = 400


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class QueryArguments(_Arguments):
    """Arguments of `query`."""

    sql: str = Field(description="One SQL statement.")
    params: dict[str, Scalar] | list[Scalar] | None = Field(
        None, description="Values for the placeholders: an object by name, a list by position."
    )


class ExplainArguments(QueryArguments):
    """Arguments of `explain`."""


class DescribeArguments(_Arguments):
    """Arguments of `describe`."""

    relation: str = Field(description="A table or view, as list_tables names it.", max_length=_MOST_NAME)


class NoArguments(_Arguments):
    """Arguments of `list_tables`: none."""


class ReceiptShown(_Shown):
    """Where the ledger has recorded it, and the hash to prove it by."""

    index: int = Field(description="Index of the leaf in the ledger.")
    hash: str = Field(description="The leaf's hash, hexadecimal.")

    @classmethod
    def of(cls, receipt: Receipt) -> ReceiptShown:
        return cls(index=receipt.leaf_index, hash=receipt.leaf_hash)


class QueryResult(_Shown):
    """What a statement gave."""

    columns: list[str]
    rows: list[list[Cell]] = Field(description="One list a row, in the order of the columns.")
    row_count: int = Field(description="How many rows are here.")
    rows_changed: int = Field(description="How many rows a change has changed.")
    truncated: bool = Field(description="There are more rows than a limit lets through.")
    masked: dict[str, str] = Field(description="Columns whose values are masked, each with the kind of mask.")
    receipt: ReceiptShown


class ColumnShown(_Shown):
    """A column that may be selected."""

    name: str
    type: str
    nullable: bool
    mask: str | None = Field(description="The kind of mask that stands in place of the values; null when they are shown.")


class RelationSummary(_Shown):
    """A table or view that may be selected from."""

    name: str = Field(description="As statements name it.")
    kind: str
    columns: list[str]
    masked: dict[str, str] = Field(description="Columns whose values are masked, each with the kind of mask.")
    rows_filtered: bool = Field(description="Some rows may be left out.")
    needs_approval: bool = Field(description="Reading it waits for a person.")


class RelationShown(_Shown):
    """A table or view with its columns."""

    name: str
    kind: str
    columns: list[ColumnShown]
    primary_key: list[str]
    rows_filtered: bool
    needs_approval: bool
    receipt: ReceiptShown


class RelationList(_Shown):
    """The tables and views that may be selected from."""

    tables: list[RelationSummary]
    receipt: ReceiptShown


class ReasonShown(_Shown):
    """Why something is refused or waits, and the way out."""

    code: str
    message: str
    hint: str


class Explained(_Shown):
    """What the guard understands of a statement and decides about it, with the engine's plan of a query."""

    effect: str = Field(description="allow, approve (a person has to say yes first) or deny.")
    reasons: list[ReasonShown]
    kind: str | None = Field(description="The statement's verb.")
    reads: list[str] = Field(description="Columns that it reads, as relation.column.")
    writes: list[str] = Field(description="Columns that it changes, as relation.column.")
    functions: list[str]
    masked: dict[str, str] = Field(
        description="Columns of the result whose values would be masked, each with the kind of mask."
    )
    rows_filtered: list[str] = Field(description="Relations of which some rows may be left out.")
    row_limit: int
    seconds_limit: float
    plan: list[str] | None = Field(description="The engine's plan, line by line; null where there is none.")
    plan_note: str | None = Field(description="Why an allowed statement has no plan here.")
    receipt: ReceiptShown | None = Field(description="Where the ledger has recorded the plan's making or the refusal.")
