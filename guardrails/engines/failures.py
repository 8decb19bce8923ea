"""From a driver's exception to an error of ours: the class of the failure for the model, the engine's own text for the operator.

An engine's text quotes values ("invalid input syntax for type integer: …"), names hidden relations and tells of rows that the
principal may not see. So the model gets a sentence from these tables, chosen by the error's code alone.
Sources: https://www.postgresql.org/docs/current/errcodes-appendix.html and https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from guardrails.errors import ConstraintError, EngineError

__all__ = ["CONSTRAINT", "Failure", "postgres_failure", "sqlite_failure"]


class Failure(NamedTuple):
    """One row: the code and the sentence for the model, the class of the error, and the way out where the code's own does not fit."""

    code: str
    message: str
    kind: type[EngineError] = EngineError
    hint: str = ""

    def error(self, evidence: Mapping[str, object]) -> EngineError:
        """Returns the error, with what only the operator reads."""
        return self.kind(self.code, self.message, hint=self.hint, evidence=evidence)


CONSTRAINT = Failure(
    "engine.failed",
    "A constraint would be violated.",
    ConstraintError,
    "Give other values: a key may be taken, a row that is referred to may be missing, or a value may not be allowed.",
)
"""On every engine."""


_TIMEOUT = Failure("engine.timeout", "The statement took too long.")
_LOCKED = Failure("engine.timeout", "The data was locked by others for too long.")
_REFUSED = Failure("engine.refused", "The engine's own lock refused the statement.")
_FORM = Failure("engine.refused", "The engine does not accept the statement in this form.")
_TYPES = Failure("engine.failed", "A function or operator does not fit the types of its arguments.")
_VALUE = Failure("engine.failed", "A value does not have the form of its type.")
_RESOURCES = Failure("engine.failed", "The database has not enough resources for the statement.")
_GENERAL = Failure("engine.failed", "The database could not run the statement.")

_SQLITE: dict[str, Failure] = {
    "SQLITE_AUTH": _REFUSED,
    "SQLITE_READONLY": _REFUSED,
    "SQLITE_PERM": _REFUSED,
    "SQLITE_INTERRUPT": _TIMEOUT,
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_TOOBIG": Failure("engine.row_too_large", "A value is larger than the limit."),
    "SQLITE_CONSTRAINT": CONSTRAINT,
    "SQLITE_MISMATCH": _VALUE,
    "SQLITE_FULL": _RESOURCES,
    "SQLITE_NOMEM": _RESOURCES,
    "SQLITE_SCHEMA": Failure("engine.schema_changed", "The schema changed meanwhile."),
}
"""By primary result code; an extended code (SQLITE_BUSY_SNAPSHOT) falls back to its primary one."""

_POSTGRES: dict[str, Failure] = {
    "0A": _FORM,
    "21": Failure("engine.failed", "A subquery returned more than one row where one is expected."),
    "22": _VALUE,
    "22003": Failure("engine.failed", "A number is out of the range of its type."),
    "22012": Failure("engine.failed", "Division by zero."),
    "23": CONSTRAINT,
    "25": _REFUSED,
    "25P03": _TIMEOUT,
    "26": _FORM,
    "40": Failure("engine.failed", "The transaction conflicted with another one; nothing was changed."),
    "42501": _REFUSED,
    "42601": _FORM,
    "42803": Failure("engine.failed", "A column must appear in GROUP BY or in an aggregate."),
    "42804": Failure("engine.failed", "Types do not match."),
    "42883": _TYPES,
    "42725": _TYPES,
    "42846": Failure("engine.failed", "A value cannot be cast to that type."),
    "42P01": Failure("engine.schema_changed", "A relation is no longer there."),
    "42703": Failure("engine.schema_changed", "A column is no longer there."),
    "53": _RESOURCES,
    "54": _RESOURCES,
    "55P03": _LOCKED,
    "57014": _TIMEOUT,
}
"""By SQLSTATE, or by its class (the first two characters)."""


def sqlite_failure(error: BaseException, *, evidence: Mapping[str, object] | None = None) -> EngineError:
    """Returns the error for an exception of `sqlite3`."""
    name = getattr(error, "sqlite_errorname", None) or ""
    primary = "_".join(name.split("_")[:2])
    return _error(_SQLITE.get(primary, _GENERAL), error, {"sqlite_error": name} | dict(evidence or {}))


def postgres_failure(error: BaseException, *, evidence: Mapping[str, object] | None = None) -> EngineError:
    """Returns the error for an exception of `psycopg`."""
    state = getattr(error, "sqlstate", None) or ""
    failure = _POSTGRES.get(state) or _POSTGRES.get(state[:2]) or _GENERAL
    return _error(failure, error, {"sqlstate": state} | dict(evidence or {}))


def _error(failure: Failure, error: BaseException, evidence: dict[str, object]) -> EngineError:
    facts = {"engine_text": str(error), "exception": type(error).__name__} | evidence
    return failure.error(facts)
