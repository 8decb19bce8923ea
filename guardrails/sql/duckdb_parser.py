"""DuckDB's own parser, which every query for DuckDB is held against, and which names result columns.

It reads text and nothing else: a connection in memory without tables, files, extensions or variables, and the functions of the JSON
extension that turn a text into a syntax tree and back. What sqlglot read and would write must be the same tree to the engine.
Source: https://duckdb.org/docs/stable/data/json/sql_to_and_from_json
"""

from __future__ import annotations

import json
import threading
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from guardrails.errors import StatementError, UsageError

if TYPE_CHECKING:
    import duckdb

__all__ = ["LOCKED", "check_same_tree", "duckdb_label"]

LOCKED: dict[str, str] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
    "default_null_order": "nulls_last",
    "default_order": "asc",
}
"""Settings of every connection: no file, no network, no extension, no variable of the process, and NULL sorted last."""

_DROPPED = {"query_location", "query_location_length", "qualified_name", "named_param_map", "is_operator"}
_POSITION_PREFIX = "gr_pos_"
_NEGATED = {
    "OPERATOR_IS_NULL": "OPERATOR_IS_NOT_NULL",
    "COMPARE_NOT_DISTINCT_FROM": "COMPARE_DISTINCT_FROM",
    "COMPARE_DISTINCT_FROM": "COMPARE_NOT_DISTINCT_FROM",
}
_SAME_FUNCTION = {"^@": "starts_with", "position": "strpos"}
_LIST = {"class": "FUNCTION", "type": "FUNCTION", "function_name": "list_value", "order_bys": {"type": "ORDER_MODIFIER"}}
_LOCAL = threading.local()
_SERIALIZE = "SELECT json_serialize_sql(?, skip_default := true, skip_empty := true, skip_null := true)"


def check_same_tree(written: str, read: str) -> None:
    """Checks that two texts of one query are the same statement to DuckDB.

    Args:
        written: What the agent wrote.
        read: What was generated from our reading of it.

    Raises:
        StatementError: They are not (``sql.parsers_disagree``), or it takes the text for no query (``sql.syntax``).
        UsageError: DuckDB is not installed (``usage.extra_missing``).
    """
    first = _tree(written)
    if first is None:
        raise StatementError("sql.syntax", "The statement is not valid duckdb SQL.")
    if first != _tree(read):
        raise StatementError("sql.parsers_disagree", "DuckDB reads this statement otherwise than it was understood.")


@lru_cache(maxsize=4096)
def duckdb_label(text: str, windows: str = "") -> str | None:
    """Returns the name that DuckDB gives to an expression without alias, None where it takes the text for none.

    Args:
        text: The expression.
        windows: The WINDOW clause that it may refer to, without the word; empty for none.

    Raises:
        UsageError: DuckDB is not installed (``usage.extra_missing``).
    """
    ending = f" FROM gr_any WINDOW {windows}" if windows else " FROM gr_any"
    found = _asked("SELECT json_deserialize_sql(json_serialize_sql(?))", f"SELECT {text}{ending}")
    return None if found is None else found.removeprefix("SELECT ").removesuffix(" FROM gr_any")


def _tree(text: str) -> object:
    serialized = _asked(_SERIALIZE, text)
    loaded: dict[str, Any] = json.loads(serialized) if serialized is not None else {}
    statements = [] if loaded.get("error", True) else loaded.get("statements", [])
    return _plain(statements[0]) if len(statements) == 1 else None


def _plain(node: Any) -> Any:
    """Takes away from a tree what does not change its meaning."""
    if isinstance(node, list):
        return [_plain(n) for n in node]
    if not isinstance(node, dict):
        return node
    kept = {k: _plain(v) for k, v in node.items() if k not in _DROPPED}
    match node.get("class"), node.get("type"):
        case "PARAMETER", _:
            kept["identifier"] = str(node.get("identifier")).removeprefix(_POSITION_PREFIX)
        case "TYPE", _:
            name = str(node.get("type_name")).lower()
            kept["type_name"] = _types().get(name, name)
            if kept["type_name"] == "varchar":
                # A length that DuckDB reads and does not keep to.
                kept.pop("children", None)
        case "COLUMN_REF", _:
            kept["column_names"] = [str(n).lower() for n in node.get("column_names", [])]
        case "OPERATOR", "OPERATOR_NOT" if kept["children"][0].get("type") in _NEGATED:
            # sqlglot writes `a IS NOT NULL` as `NOT a IS NULL`.
            alias = {"alias": kept["alias"]} if "alias" in kept else {}
            return kept["children"][0] | {"type": _NEGATED[kept["children"][0]["type"]], **alias}
        case "OPERATOR", "ARRAY_CONSTRUCTOR":
            # `ARRAY[1, 2]` is `[1, 2]`.
            alias = {"alias": kept["alias"]} if "alias" in kept else {}
            arguments = [{"expression": child} for child in kept.get("children", [])]
            listed = {"arguments": arguments} if arguments else {}
            return _LIST | listed | alias
        case "CONSTANT", _:
            kept["literal"] = _constant(node.get("literal"))
        case "FUNCTION" | "WINDOW", _:
            name = str(node.get("function_name")).lower()
            kept["function_name"] = _SAME_FUNCTION.get(name, name)
            arguments = kept.get("arguments", [])
            if kept["function_name"] == "+" and len(arguments) == 1 and _is_number(arguments[0].get("expression")):
                return arguments[0]["expression"]
            if name.startswith("to_"):
                _unify_unit(kept)
            elif name == "date_part" and arguments:
                _lower_text(arguments[0].get("expression"))
    if node.get("alias") == "_values":
        # What VALUES is called where it has no name.
        kept["alias"] = "valueslist"
        return _unwrapped(kept)
    if "null_order" in node:
        # The connection's settings say what the default is.
        kept["null_order"] = "NULLS LAST" if node["null_order"] == "ORDER_DEFAULT" else node["null_order"]
        kept["type"] = "ASCENDING" if node.get("type") == "ORDER_DEFAULT" else node.get("type")
    return kept


def _is_number(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("literal"), dict)
        and node["literal"].get("kind") in ("INTEGER", "NUMERIC")
    )


def _constant(literal: Any) -> Any:
    if not isinstance(literal, dict) or literal.get("kind") not in ("INTEGER", "NUMERIC"):
        return literal
    text = str(literal.get("text")).replace("_", "").lower()
    return literal | {"text": f"0{text}" if text.startswith(".") else text}


def _unwrapped(source: dict[str, Any]) -> dict[str, Any]:
    """`(SELECT * FROM (VALUES …))` without a name is how sqlglot writes VALUES where a query stands."""
    inner = source.get("subquery", {}).get("node", {})
    rows = inner.get("from_table", {})
    is_plain = inner.keys() <= {"type", "cte_map", "select_list", "from_table", "aggregate_handling"}
    is_star = inner.get("select_list") == [{"class": "STAR", "type": "STAR"}]
    if source.get("type") == "SUBQUERY" and is_plain and is_star and rows.get("type") == "EXPRESSION_LIST":
        found: dict[str, Any] = rows
        return found
    return source


def _lower_text(node: Any) -> None:
    literal = node.get("literal") if isinstance(node, dict) else None
    if isinstance(literal, dict):
        literal["text"] = str(literal.get("text")).lower()


def _unify_unit(call: dict[str, Any]) -> None:
    """`INTERVAL 1 DAY` and `INTERVAL '1' DAY` are casts of the same number."""
    try:
        constant = call["arguments"][0]["expression"]["child"]["arguments"][0]["expression"]["child"]
    except (KeyError, IndexError, TypeError):
        return
    literal = constant.get("literal") if isinstance(constant, dict) else None
    if isinstance(literal, dict) and str(literal.get("text", "")).isdigit():
        literal["kind"] = "STRING"


@cache
def _types() -> dict[str, str]:
    rows = _connection().execute("SELECT lower(type_name), lower(logical_type) FROM duckdb_types() WHERE internal").fetchall()
    return dict(rows)


def _asked(question: str, text: str) -> str | None:
    import duckdb

    connection = _connection()
    try:
        row = connection.execute(question, [text]).fetchone()
    except (duckdb.Error, UnicodeError):
        return None
    return None if row is None or row[0] is None else str(row[0])


def _connection() -> duckdb.DuckDBPyConnection:
    """Returns this thread's own connection."""
    found: duckdb.DuckDBPyConnection | None = getattr(_LOCAL, "connection", None)
    if found is None:
        try:
            import duckdb
        except ImportError as error:
            raise UsageError(
                "usage.extra_missing", "DuckDB is not installed.", hint="Install guardrails-sql[duckdb]."
            ) from error
        found = duckdb.connect(":memory:", config={**LOCKED, "threads": "1"})
        found.execute("SET lock_configuration = true")
        _LOCAL.connection = found
    return found
