"""From DuckDB's exceptions to errors of ours, chosen by the exception's class alone; the engine's text never reaches the model.

Source: https://duckdb.org/docs/stable/clients/python/overview (exceptions follow PEP 249, one class a kind of failure)
"""

from __future__ import annotations

import duckdb

from guardrails.engines.failures import CONSTRAINT, Failure
from guardrails.errors import EngineError

__all__ = ["duckdb_failure"]

_GENERAL = Failure("engine.failed", "The database could not run the statement.")
_FORM = Failure("engine.refused", "The engine does not accept the statement in this form.")
_REFUSED = Failure("engine.refused", "The engine's own lock refused the statement.")

# More special classes first.
_BY_CLASS: tuple[tuple[type[Exception], Failure], ...] = (
    (duckdb.InterruptException, Failure("engine.timeout", "The statement took too long.")),
    (duckdb.ConstraintException, CONSTRAINT),
    (duckdb.ConversionException, Failure("engine.failed", "A value does not have the form of its type.")),
    (duckdb.OutOfRangeException, Failure("engine.failed", "A number is out of the range of its type.")),
    (duckdb.OutOfMemoryException, Failure("engine.failed", "The database has not enough resources for the statement.")),
    (duckdb.PermissionException, _REFUSED),
    (duckdb.BinderException, Failure("engine.failed", "A function, operator or clause does not fit its arguments.")),
    (duckdb.CatalogException, _FORM),
    (duckdb.ParserException, _FORM),
    (duckdb.SyntaxException, _FORM),
    (duckdb.NotImplementedException, _FORM),
    (duckdb.TypeMismatchException, Failure("engine.failed", "A value does not have the form of its type.")),
    (duckdb.InvalidInputException, Failure("engine.failed", "A value does not have the form that is wanted.")),
    (duckdb.InvalidTypeException, Failure("engine.failed", "A type does not fit.")),
)


def duckdb_failure(error: Exception) -> EngineError:
    """Returns the error for an exception of the driver's, which stays its evidence."""
    text = str(error)
    failure = next((f for kind, f in _BY_CLASS if isinstance(error, kind)), _GENERAL)
    if isinstance(error, duckdb.Error) and "transaction is launched in read-only mode" in text:
        failure = _REFUSED
    elif isinstance(error, duckdb.Error) and text.startswith("INTERRUPT"):
        failure = _BY_CLASS[0][1]
    return failure.error({"engine_text": text, "error": type(error).__name__})
