"""The four tools: what clients are told of each, and the function behind it, which runs under the principal of the call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from guardrails.as_json import json_value
from guardrails.errors import ApprovalRequired, Denied, UsageError
from guardrails.guard import Guard
from guardrails.mcp_server import schema
from guardrails.mcp_server.shapes import (
    DescribeArguments,
    ExplainArguments,
    Explained,
    NoArguments,
    QueryArguments,
    QueryResult,
    ReasonShown,
    ReceiptShown,
    RelationList,
    RelationShown,
)
from guardrails.model import ColumnRef, Decision, DialectName, Params, Receipt, Result, Row

try:
    from mcp_types import Tool, ToolAnnotations
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

from pydantic import BaseModel

__all__ = ["GuardedTool", "NotSeen", "guarded_tools"]

_EXPLAIN: Mapping[DialectName, str] = {"sqlite": "EXPLAIN QUERY PLAN"}
_DIALECTS: Mapping[DialectName, str] = {"sqlite": "SQLite", "postgres": "PostgreSQL", "mysql": "MariaDB", "duckdb": "DuckDB"}
_PLACEHOLDERS: Mapping[DialectName, tuple[str, str]] = {"duckdb": ("$name", "?"), "postgres": (":name", "$1")}
"""How values stand in statements, by name and by position."""
_MOST_NAMES = 200
_LARGEST = 2**53 - 1


class NotSeen(Exception):
    """A relation was asked for that does not exist, or that the principal may not see: which of the two is not told."""


@dataclass(frozen=True, slots=True)
class GuardedTool:
    """One tool.

    Args:
        definition: What clients are told.
        arguments: What it takes.
        run: Runs it in the session in force, with the id of the call.
    """

    definition: Tool
    arguments: type[BaseModel]
    run: Callable[[BaseModel, str | None], BaseModel]


def guarded_tools(guard: Guard, result_bytes: int) -> dict[str, GuardedTool]:
    """Returns the tools by name.

    Args:
        guard: The guard.
        result_bytes: Most bytes of rows in one answer, as JSON.
    """
    engine = _DIALECTS.get(guard.database.dialect, guard.database.dialect)
    named, placed = _PLACEHOLDERS.get(guard.database.dialect, (":name", "?"))
    placeholders = f"Give values as params: an object for {named}, a list for {placed}."
    repair = "A refusal says what to change in the statement."
    tools = [
        _tool(
            "query",
            f"Runs one {engine} statement and returns its rows. {placeholders} Values may be masked and rows left out by policy. "
            f"{repair}",
            QueryArguments,
            QueryResult,
            lambda given, call: query(guard, given, call, result_bytes),
            # Which changes a principal may make is the policy's, and may be any.
            ToolAnnotations(title="Query the database", read_only_hint=False, destructive_hint=True, idempotent_hint=False),
        ),
        _tool(
            "describe",
            "Describes one table or view: its columns with their types, and which of them are masked.",
            DescribeArguments,
            RelationShown,
            lambda given, call: describe(guard, given, call),
            _reading("Describe a table"),
        ),
        _tool(
            "explain",
            f"Says whether a {engine} statement would be allowed, what it reads and changes, and how the engine would run it. "
            "It does not run it.",
            ExplainArguments,
            Explained,
            lambda given, call: explain(guard, given, call),
            _reading("Explain a statement"),
        ),
        _tool(
            "list_tables",
            "Lists the tables and views that may be read, with their columns, and which of them are masked.",
            NoArguments,
            RelationList,
            lambda _, call: schema.listed(guard, ("list_tables", call)),
            _reading("List the tables"),
        ),
    ]
    return {tool.definition.name: tool for tool in tools}


def query(guard: Guard, given: BaseModel, call: str | None, result_bytes: int) -> QueryResult:
    """Runs one statement.

    Raises:
        GuardrailsError: As `Guard.execute`.
    """
    sql, params = _statement(given)
    result = guard.execute(sql, params, tool="query", tool_call_id=call)
    rows, is_cut = _fitting(result, result_bytes)
    return QueryResult(
        columns=list(result.columns),
        rows=rows,
        row_count=len(rows),
        rows_changed=result.rows_changed,
        truncated=result.is_truncated or is_cut,
        masked=_masked(result.decision),
        receipt=ReceiptShown.of(result.receipt),
    )


def describe(guard: Guard, given: BaseModel, call: str | None) -> BaseModel:
    """Describes one relation.

    Raises:
        NotSeen: There is none of that name, as far as the principal may see.
    """
    found = schema.find(guard, str(getattr(given, "relation", "")), ("describe", call))
    if found is None:
        raise NotSeen
    return found


def explain(guard: Guard, given: BaseModel, call: str | None) -> Explained:
    """Says what the guard decides about a statement, and how the engine would run it; the statement does not run.

    What is asked is recorded: as the refusal that it gets, as the making of the plan, or else as a message of the conversation.
    """
    sql, params = _statement(given)
    decision = guard.check(sql, params)
    plan: Result | None = None
    receipt: Receipt | None = None
    note = "Only queries have a plan." if decision.effect == "allow" else None
    is_query = decision.access is not None and decision.access.is_read_only and decision.access.kind == "select"
    if decision.effect == "deny" or (decision.effect == "allow" and is_query):
        try:
            made = guard.execute(f"{_words(guard)} {sql}", params, tool="explain", tool_call_id=call)
            receipt = made.receipt
            # Words before a statement may make one that is allowed of one that is not: the answer is about what was asked.
            plan, note = (made, None) if decision.effect == "allow" else (None, None)
        except (Denied, ApprovalRequired) as refused:
            receipt = refused.receipt
            note = refused.message if decision.effect == "allow" else None
    else:
        # Asking for a plan would ask people for approval, or there is none: of changes no engine is asked for one.
        guard.note("assistant", f"explain: {sql}", tool="explain", tool_call_id=call)
    return _explained(guard, decision, plan, note, receipt)


def _explained(guard: Guard, decision: Decision, plan: Result | None, note: str | None, receipt: Receipt | None) -> Explained:
    access, obligations = decision.access, decision.obligations
    is_told = access is not None and decision.effect != "deny"
    # What a view reads is not told where the principal may not see it; a refusal tells its reasons alone.
    visible = {ColumnRef(r.key, c.column.name) for r in guard.seen() for c in r.columns} if is_told else set()
    return Explained(
        effect=decision.effect,
        reasons=[ReasonShown(code=r.code, message=r.message, hint=r.hint) for r in decision.reasons],
        kind=access.kind if access is not None and is_told else None,
        reads=_names(access.reads if access is not None else (), visible),
        writes=_names(access.writes if access is not None else (), visible),
        functions=list(access.functions[:_MOST_NAMES]) if access is not None and is_told else [],
        masked=_masked(decision),
        rows_filtered=sorted({f.relation for f in obligations.row_filters} & {column.relation for column in visible}),
        row_limit=obligations.limits.rows,
        seconds_limit=obligations.limits.seconds,
        plan=[line for row in plan.rows for line in _line(row).splitlines()] if plan is not None else None,
        plan_note=note,
        receipt=ReceiptShown.of(receipt) if receipt is not None else None,
    )


def _tool(
    name: str,
    description: str,
    arguments: type[BaseModel],
    shown: type[BaseModel],
    run: Callable[[BaseModel, str | None], BaseModel],
    annotations: ToolAnnotations,
) -> GuardedTool:
    definition = Tool(
        name=name,
        title=annotations.title,
        description=description,
        input_schema=arguments.model_json_schema(),
        output_schema=shown.model_json_schema(mode="serialization"),
        annotations=annotations.model_copy(update={"open_world_hint": False}),
    )
    return GuardedTool(definition, arguments, run)


def _reading(title: str) -> ToolAnnotations:
    return ToolAnnotations(title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True)


def _statement(given: BaseModel) -> tuple[str, Params | None]:
    if not isinstance(given, QueryArguments):
        raise UsageError("usage.bug", "These are the arguments of another tool.")
    return given.sql, given.params


def _words(guard: Guard) -> str:
    return _EXPLAIN.get(guard.database.dialect, "EXPLAIN")


def _fitting(result: Result, most_bytes: int) -> tuple[list[list[object]], bool]:
    """The rows that fit, and whether some do not."""
    rows: list[list[object]] = []
    left = most_bytes
    for row in result.rows:
        cells = [_exact(json_value(cell)) for cell in row]
        left -= len(json.dumps(cells, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if left < 0:
            return rows, True
        rows.append(cells)
    return rows, False


def _exact(value: object) -> object:
    """Whole numbers that many clients' own JSON would round (RFC 8259 section 6) are text."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= _LARGEST else str(value)
        case list():
            return [_exact(item) for item in value]
        case dict():
            return {name: _exact(item) for name, item in value.items()}
        case _:
            return value


def _masked(decision: Decision) -> dict[str, str]:
    """The columns of the result that derive from masked ones."""
    kinds = {mask.column: mask.kind for mask in decision.obligations.masks}
    returned = decision.access.returned if decision.access is not None and decision.effect != "deny" else ()
    return {o.name: kinds[source] for o in returned for source in o.sources if source in kinds}


def _names(columns: Iterable[ColumnRef], visible: set[ColumnRef]) -> list[str]:
    return [str(column) for column in columns if column in visible][:_MOST_NAMES]


def _line(row: Row) -> str:
    return "\t".join(str(cell) for cell in row if cell is not None)
