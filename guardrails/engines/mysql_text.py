"""MySQL's second lock over the text, and the values put into it.

PyMySQL has no values apart from the text, so they are written into it as constants, between the lexemes of the regenerated text: no
constant of the statement is touched. `sql_mode` and the connection's character set (utf8mb4, in which no byte of a longer character is
a quote or a backslash) are the session's own, so that what is escaped here is what the server reads.

The lock knows the words that a text of the guard can have for a plan: keywords, functions without effects, types. Everything else, a
variable, a comment, a second statement, INTO, a lock, has no words here and is refused, whatever the SQL layer thought of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from guardrails.errors import EngineError, StatementError
from guardrails.model import Plan, Value
from guardrails.sql.dialects.base import function_names
from guardrails.sql.lexemes import Lexeme, lexemes_of

__all__ = ["called_functions", "checked_lexemes", "constant", "with_values"]

_QUERY_WORDS = """
    SELECT WITH RECURSIVE DISTINCT ALL AS FROM JOIN INNER LEFT RIGHT CROSS OUTER NATURAL ON USING WHERE GROUP BY ROLLUP HAVING WINDOW ORDER
    ASC DESC LIMIT OFFSET UNION EXCEPT INTERSECT AND OR XOR NOT IS NULL TRUE FALSE IN BETWEEN LIKE ESCAPE CASE WHEN THEN ELSE END EXISTS
    ANY DIV COLLATE INTERVAL OVER PARTITION ROWS RANGE CURRENT ROW UNBOUNDED PRECEDING FOLLOWING EXCLUDE CAST MATCH AGAINST MODE BOOLEAN
    LANGUAGE QUERY EXPANSION SEPARATOR EXTRACT SUBSTRING TRIM BOTH LEADING TRAILING CHAR GROUP_CONCAT FILTER IGNORE INDEX
    WITHIN BINARY CHARACTER SET UNSIGNED SIGNED INTEGER DECIMAL DOUBLE FLOAT DATE DATETIME TIME TIMESTAMP JSON VALUES
    MICROSECOND SECOND MINUTE HOUR DAY WEEK MONTH QUARTER YEAR SECOND_MICROSECOND MINUTE_MICROSECOND MINUTE_SECOND HOUR_MICROSECOND
    HOUR_SECOND HOUR_MINUTE DAY_MICROSECOND DAY_SECOND DAY_MINUTE DAY_HOUR YEAR_MONTH SQL_TSI_SECOND SQL_TSI_MINUTE SQL_TSI_HOUR
    SQL_TSI_DAY SQL_TSI_WEEK SQL_TSI_MONTH SQL_TSI_QUARTER SQL_TSI_YEAR CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP LOCALTIME
    LOCALTIMESTAMP
"""
_QUERY = frozenset(_QUERY_WORDS.split())
_WORDS: Mapping[str, frozenset[str]] = {
    "explain": frozenset({"EXPLAIN", "FORMAT", "TRADITIONAL"}),
    "insert": frozenset({"INSERT", "INTO", "RETURNING", "DUPLICATE", "KEY", "UPDATE"}),
    "update": frozenset({"UPDATE"}),
    "delete": frozenset({"DELETE", "RETURNING"}),
}
"""By action; every plan has the words of queries."""
_FIRST = {"explain": {"EXPLAIN"}, "insert": {"INSERT"}, "update": {"UPDATE"}, "delete": {"DELETE"}}
_FIRST_OF_QUERY = {"SELECT", "WITH", "("}
_AFTER: Mapping[str, str] = {"INSERT": "", "DELETE": "", "EXPLAIN": "", "INTO": "INSERT", "UPDATE": "KEY"}
"""Words that stand at the very beginning, or after one other word alone."""
_SIGNS = frozenset({*"(),.*+-/%=<>&|^~", "<=", ">=", "<>", "<=>", "<<", ">>"})
_SYSTEM_DATABASES = {"information_schema", "mysql", "performance_schema", "sys"}
_NAMED_AFTER = {"COLLATE", "SET", "USING"}
"""Words after which a collation's or a character set's name follows."""
_ESCAPED = str.maketrans({"\\": "\\\\", "'": "''", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"})


def checked_lexemes(plan: Plan) -> tuple[Lexeme, ...]:
    """Returns the lexemes of a plan's text, after the lock has looked at each of them.

    Raises:
        EngineError: One is none that the plan's actions can have (``engine.refused``).
    """
    try:
        lexemes = lexemes_of(plan.sql, "mysql")
    except StatementError as error:
        raise _refused("comment") from error
    actions = ["explain"] if plan.is_explain else [a for a in ("insert", "update", "delete") if a in plan.actions]
    words = _QUERY.union(*(_WORDS[action] for action in actions))
    starts = set().union(*(_FIRST[action] for action in actions)) if actions else _FIRST_OF_QUERY
    if not lexemes or lexemes[0].text.upper().split()[0] not in starts:
        raise _refused(lexemes[0].text if lexemes else "nothing")
    for index, lexeme in enumerate(lexemes):
        if not _is_known(lexemes, index, words):
            raise _refused(lexeme.text)
    if any(x.kind == "placeholder" and x.text not in plan.params for x in lexemes):
        raise _refused("placeholder")
    return lexemes


def called_functions(lexemes: Sequence[Lexeme]) -> frozenset[str]:
    """Returns the lower-case names of everything that is called."""
    return frozenset(x.text.lower() for i, x in enumerate(lexemes) if x.kind == "word" and _next(lexemes, i) == "(")


def with_values(lexemes: Sequence[Lexeme], params: Mapping[str, Value]) -> str:
    """Returns the text with every placeholder's value in its place."""
    return "".join(x.blanks + (constant(params[x.text]) if x.kind == "placeholder" else x.text) for x in lexemes)


def constant(value: Value) -> str:
    """Returns a value as a constant of MySQL's.

    Raises:
        EngineError: MySQL has no such value, a number that is no number for instance (``engine.failed``).
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            text = repr(value)
            return text if "e" in text else f"{text}e0"
        case Decimal() if value.is_finite():
            return format(value, "f")
        case str():
            return _quoted(value)
        case bytes():
            return f"x'{value.hex()}'"
        case UUID():
            return _quoted(str(value))
        case list() | dict():
            return _quoted(json.dumps(value, ensure_ascii=False))
        case datetime() | date() | time() | timedelta():
            return _moment(value)
    raise EngineError("engine.failed", f"MySQL has no constants for this value of the type {type(value).__name__}.")


def _moment(value: datetime | date | time | timedelta) -> str:
    if isinstance(value, (datetime, time)) and value.tzinfo is not None:
        raise EngineError("engine.failed", "MySQL has no times with a time zone.", hint="Bind a time without one.")
    if isinstance(value, datetime):
        return f"TIMESTAMP'{value.isoformat(' ')}'"
    if isinstance(value, timedelta):
        sign, span = ("-", -value) if value < timedelta(0) else ("", value)
        minutes, seconds = divmod(span.days * 86400 + span.seconds, 60)
        fraction = f".{span.microseconds:06}" if span.microseconds else ""
        return f"TIME'{sign}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{fraction}'"
    return f"TIME'{value.isoformat()}'" if isinstance(value, time) else f"DATE'{value.isoformat()}'"


def _quoted(text: str) -> str:
    return f"'{text.translate(_ESCAPED)}'"


def _is_known(lexemes: Sequence[Lexeme], index: int, words: frozenset[str]) -> bool:
    lexeme = lexemes[index]
    match lexeme.kind:
        case "sign":
            return lexeme.text in _SIGNS
        case "name":
            return lexeme.text.strip("`").lower() not in _SYSTEM_DATABASES or _next(lexemes, index) != "."
        case "string":
            return lexeme.text.startswith("'")
        case "word":
            before = lexemes[index - 1] if index else None
            previous = (
                before.text.upper().split()[-1] if before is not None and before.kind == "word" else "" if index == 0 else "("
            )
            return _is_known_word(lexeme.text, previous, _next(lexemes, index), words)
    return True


def _is_known_word(text: str, previous: str, after: str, words: frozenset[str]) -> bool:
    """Whether one lexeme is made of words of the plan; `previous` is the word before, empty at the very beginning."""
    if after == "(" and text.lower() in function_names("mysql"):
        return True
    for word in text.upper().split():
        is_placed = previous in ("", _AFTER[word]) if word in _AFTER else word != "IGNORE" or after.upper() == "INDEX"
        if not is_placed or not (
            word in words or previous in _NAMED_AFTER or (word.startswith("_") and after.startswith(("'", "x", "0x")))
        ):
            return False
        previous = word
    return True


def _next(lexemes: Sequence[Lexeme], index: int) -> str:
    return lexemes[index + 1].text if index + 1 < len(lexemes) else ""


def _refused(what: str) -> EngineError:
    return EngineError(
        "engine.refused",
        "The engine's own lock refused the statement: it does more than was judged.",
        evidence={"denied": what[:60]},
    )
