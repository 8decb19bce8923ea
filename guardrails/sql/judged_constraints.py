"""What a change may fail by, from CREATE TABLE as the parser reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sqlglot import exp

from guardrails.model import Constraint, DialectName

__all__ = ["constraints_of"]

_ACTIONS = {"CASCADE": "cascade", "SET NULL": "set", "SET DEFAULT": "set"}


def constraints_of(
    schema: exp.Schema, dialect: DialectName, fold: Callable[[exp.Identifier], str], key_of: Callable[[exp.Table], str]
) -> frozenset[Constraint]:
    """Returns the constraints of a table; foreign keys that name no columns there have none yet.

    Args:
        schema: Columns and constraints of CREATE TABLE.
        dialect: Whose SQL it is.
        fold: The catalog's name of an identifier.
        key_of: The key of a relation.
    """
    found: set[Constraint] = set()
    for item in schema.expressions:
        own = (fold(item.this),) if isinstance(item, exp.ColumnDef) else ()
        for node in item.walk():
            found |= set(_constraints(node, own, dialect, fold, key_of))
    return frozenset(found)


def _constraints(
    node: exp.Expr,
    own: tuple[str, ...],
    dialect: DialectName,
    fold: Callable[[exp.Identifier], str],
    key_of: Callable[[exp.Table], str],
) -> Iterator[Constraint]:
    match node:
        case exp.PrimaryKeyColumnConstraint() | exp.UniqueColumnConstraint() | exp.PrimaryKey():
            named = _names((node.this, *node.expressions), fold) if own == () else own
            yield Constraint("unique", tuple(sorted(named)), _is_plain(dialect, named))
        case exp.CheckColumnConstraint():
            yield Constraint("check", tuple(sorted(_names([node.this], fold))))
        case exp.ForeignKey():
            yield _foreign(node.args["reference"], _names(node.expressions, fold), fold, key_of)
        case exp.Reference() if own:
            yield _foreign(node, own, fold, key_of)


def _foreign(
    node: exp.Expr, own: tuple[str, ...], fold: Callable[[exp.Identifier], str], key_of: Callable[[exp.Table], str]
) -> Constraint:
    schema = node.this
    table = schema.this if isinstance(schema, exp.Schema) else schema
    actions = {"DELETE": "", "UPDATE": ""}
    for option in node.args.get("options") or []:
        for event in actions:
            prefix = f"ON {event} "
            if str(option).upper().startswith(prefix):
                actions[event] = _ACTIONS.get(str(option).upper().removeprefix(prefix), "")
    referred = _names(schema.expressions, fold) if isinstance(schema, exp.Schema) else ()
    key = key_of(table)
    return Constraint(
        "foreign", own, refers_to=key, referred=referred, on_delete=actions["DELETE"], on_update=actions["UPDATE"]
    )


def _names(nodes: Iterable[object], fold: Callable[[exp.Identifier], str]) -> tuple[str, ...]:
    """The names that some nodes hold, in order, each once."""
    found = (fold(i) for node in nodes if isinstance(node, exp.Expr) for i in node.find_all(exp.Identifier, bfs=False))
    return tuple(dict.fromkeys(found))


def _is_plain(dialect: DialectName, columns: tuple[str, ...]) -> bool:
    """Whether NULL equals nothing: it does in SQL Server, and in Oracle where another column of the key is not NULL."""
    return dialect != "tsql" and (dialect != "oracle" or len(columns) == 1)
