"""From PyMySQL's exceptions to errors of ours, chosen by the server's error number alone; its text never reaches the model.

Source: https://mariadb.com/kb/en/mariadb-error-codes/ and https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
"""

from __future__ import annotations

from collections.abc import Mapping

from guardrails.engines.failures import CONSTRAINT, Failure
from guardrails.errors import EngineError

__all__ = ["is_interrupted", "is_lost", "mysql_failure"]

_TIMEOUT = Failure("engine.timeout", "The statement took too long.")
_LOCKED = Failure("engine.timeout", "The data was locked by others for too long.")
_REFUSED = Failure("engine.refused", "The engine's own lock refused the statement.")
_FORM = Failure("engine.refused", "The engine does not accept the statement in this form.")
_TYPES = Failure("engine.failed", "A function or operator does not fit its arguments.")
_VALUE = Failure("engine.failed", "A value does not have the form of its type.")
_RANGE = Failure("engine.failed", "A number is out of the range of its type.")
_COLLATION = Failure("engine.failed", "Texts of different collations are compared; name one with COLLATE.")
_GROUPING = Failure("engine.failed", "A column must appear in GROUP BY or in an aggregate.")
_PATTERN = Failure("engine.failed", "A pattern or a path is not well formed.")
_RESOURCES = Failure("engine.failed", "The database has not enough resources for the statement.")
_CHANGED = Failure("engine.schema_changed", "The schema changed since the statement was judged.")
_LARGE = Failure("engine.row_too_large", "A value is larger than the limit.")
_LOST = Failure("engine.failed", "The connection to the database was lost.")
_GENERAL = Failure("engine.failed", "The database could not run the statement.")

_BY_FAILURE: dict[Failure, tuple[int, ...]] = {
    _TIMEOUT: (1028, 1317, 1907, 1969, 3024, 1160),
    _LOCKED: (1205, 1213, 1614),
    _REFUSED: (1044, 1045, 1142, 1143, 1227, 1290, 1370, 1792, 1836, 1290, 4141),
    _FORM: (
        1064,
        1149,
        1235,
        1248,
        1250,
        1060,
        1066,
        1052,
        1054,
        1247,
        1221,
        1222,
        1241,
        1109,
        1093,
        1327,
        3593,
        4015,
        4016,
        4018,
    ),
    CONSTRAINT: (1048, 1062, 1169, 1216, 1217, 1364, 1451, 1452, 1557, 1586, 1761, 1762, 3819, 4025, 1906, 3105),
    _TYPES: (1210, 1582, 1583, 1305, 1630, 1318, 1111, 1112, 4107, 4079),
    _VALUE: (1265, 1292, 1366, 1406, 1411, 1525, 1300, 1367, 3140, 3141, 4078),
    _RANGE: (1264, 1690, 1916, 1416, 1441),
    Failure("engine.failed", "Division by zero."): (1365,),
    Failure("engine.failed", "A subquery returned more than one row where one is expected."): (1242,),
    _COLLATION: (1267, 1270, 1271, 1253, 1273),
    _GROUPING: (1055, 1056, 1140, 3029, 3065),
    _PATTERN: (1139, 3685, 3692, 4037, 4038, 3143, 3144, 4042, 4043),
    _RESOURCES: (1021, 1037, 1038, 1041, 1104, 1114, 1135, 1040, 1203, 1226, 1436, 1456, 3636),
    _CHANGED: (1146, 1051, 1412, 1615, 1356),
    _LARGE: (1153, 1301, 1162, 2020),
    _LOST: (2003, 2006, 2013, 2055, 1053, 1080, 1152, 1158, 1159, 1161, 1927),
}
_FAILURES = {number: failure for failure, numbers in _BY_FAILURE.items() for number in numbers}
_INTERRUPTED = 1317
_LOST_NUMBERS = frozenset(_BY_FAILURE[_LOST]) | {0}


def mysql_failure(error: BaseException, *, evidence: Mapping[str, object] | None = None) -> EngineError:
    """Returns the error for an exception of `pymysql`."""
    number = _number(error)
    failure = _FAILURES.get(number, _GENERAL)
    facts = {"engine_text": str(error), "exception": type(error).__name__, "mysql_error": number}
    return failure.error(facts | dict(evidence or {}))


def is_lost(error: BaseException) -> bool:
    """Whether the exception says that the connection is gone, so that nobody knows what the server did."""
    return _number(error) in _LOST_NUMBERS


def is_interrupted(error: BaseException) -> bool:
    """Whether the exception says that somebody ended the statement (KILL QUERY)."""
    return _number(error) == _INTERRUPTED


def _number(error: BaseException) -> int:
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0
