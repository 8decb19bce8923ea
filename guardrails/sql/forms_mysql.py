"""MySQL's constructs in the one form that sqlglot writes as it reads, and that MySQL and MariaDB both take.

What sqlglot would translate for another server (`REGEXP` becomes REGEXP_LIKE, which MariaDB lacks), or write with other parentheses
than it reads, gets an equivalent form here; what has none is refused.
"""

from __future__ import annotations

from sqlglot import exp

from guardrails.errors import StatementError

__all__ = ["give_mysql_forms"]

_MODIFIERS = {"HIGH_PRIORITY", "SQL_SMALL_RESULT", "SQL_BIG_RESULT", "SQL_BUFFER_RESULT", "SQL_NO_CACHE", "SQL_CACHE"}
"""Words after SELECT that change nothing of the result."""
_UNIT_FIRST = {"timestampdiff", "timestampadd", "get_format"}
"""Functions whose first argument is a word."""
_UNITS = {
    *("MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"),
    *("SQL_TSI_SECOND", "SQL_TSI_MINUTE", "SQL_TSI_HOUR", "SQL_TSI_DAY", "SQL_TSI_WEEK", "SQL_TSI_MONTH", "SQL_TSI_QUARTER"),
    *("SQL_TSI_YEAR", "DATE", "TIME", "DATETIME", "TIMESTAMP"),
}
_SAME_TYPES = {exp.DType.INT: exp.DType.BIGINT, exp.DType.VARCHAR: exp.DType.CHAR}
_PREDICATES = (exp.In, exp.Between, exp.Like, exp.RegexpLike, exp.Escape)
_LOOSER = (exp.Not, exp.And, exp.Or, exp.Xor)
_INTERVALS = (exp.Paren, exp.Column)


def give_mysql_forms(tree: exp.Expr) -> None:
    """Changes a parsed tree in place.

    Raises:
        StatementError: A construct has no form that is kept (``sql.construct_unsupported``).
    """
    nodes = list(tree.walk())
    for node in nodes:
        _check_order(node)
    for node in nodes:
        match node:
            case exp.Select():
                _select(node)
            case exp.Fetch():
                _fetch(node)
            case exp.Join():
                _join(node)
            case exp.Interval():
                _interval(node)
            case exp.Anonymous():
                _call(node)
            case exp.RegexpLike():
                _regular_expression(node)
            case exp.Soundex():
                node.replace(exp.Anonymous(this="SOUNDEX", expressions=[node.this]))
            case exp.Stuff():
                arguments = [node.this, node.args["start"], node.args["length"], node.expression]
                node.replace(exp.Anonymous(this="INSERT", expressions=arguments))
            case exp.JSONExtract() | exp.JSONExtractScalar():
                _json(node)
            case exp.GroupConcat():
                _group_concat(node)
            case exp.StrPosition():
                _position(node)
            case exp.Cast():
                _cast(node)
            case exp.IntDiv():
                _integer_division(node)
            case exp.Not():
                _negation(node)


def _check_order(node: exp.Expr) -> None:
    """Refuses chains of predicates, which the server and the parser take in another order."""
    if isinstance(node, _PREDICATES):
        names = ("expression",) if isinstance(node, exp.Escape) else ("this", "expression", "low", "high")
        operands = [_bare(node.args[name]) for name in names if node.args.get(name)]
        is_chain = any(isinstance(operand, _PREDICATES) for operand in operands)
    elif isinstance(node, exp.Collate):
        # The parser takes what follows for part of the collation's name.
        is_chain = not isinstance(node.expression, exp.Var) or isinstance(_inner(node.this), exp.Not)
    else:
        right = node.expression if isinstance(node, exp.NullSafeEQ) else None
        is_chain = isinstance(right, exp.Paren) and isinstance(right.this, (exp.LT, exp.LTE, exp.GT, exp.GTE))
    if is_chain:
        raise StatementError(
            "sql.construct_unsupported", "One condition or COLLATE follows another.", hint="Put it in parentheses."
        )


def _select(node: exp.Select) -> None:
    modifiers = node.args.get("operation_modifiers")
    if modifiers and all(m.name in _MODIFIERS for m in modifiers):
        node.set("operation_modifiers", None)


def _fetch(node: exp.Fetch) -> None:
    """`FETCH FIRST n ROWS ONLY` of MariaDB is LIMIT, which MySQL has too; WITH TIES is not."""
    options = node.args.get("limit_options")
    if options is not None and set(_present(options)) <= {"rows"}:
        node.replace(exp.Limit(expression=node.args.get("count") or exp.Literal.number(1)))


def _join(node: exp.Join) -> None:
    if str(node.args.get("side") or "").upper() == "FULL":
        raise StatementError(
            "sql.construct_unsupported", "MySQL has no FULL JOIN.", hint="Use UNION of a LEFT JOIN and a RIGHT JOIN."
        )


def _interval(node: exp.Interval) -> None:
    """A quantity that is an expression stands in parentheses; without a unit it is something else."""
    quantity = node.this
    if node.args.get("unit") is None or node.args.get("fraction_in_string"):
        raise StatementError("sql.construct_unsupported", "This form of INTERVAL is not supported.", hint="Use DATE_ADD.")
    if not isinstance(quantity, _INTERVALS):
        node.set("this", exp.Paren(this=quantity))


def _call(node: exp.Anonymous) -> None:
    """The unit of TIMESTAMPDIFF is a word, not a column; BINARY with parentheses is the same cast as without."""
    if isinstance(node.this, str) and node.this.lower() == "values" and node.find_ancestor(exp.OnConflict) is None:
        raise StatementError("sql.construct_unsupported", "VALUES() stands outside of ON DUPLICATE KEY UPDATE.")
    if isinstance(node.this, str) and node.this.lower() == "binary" and len(node.expressions) == 1:
        node.replace(exp.Cast(this=node.expressions[0], to=exp.DataType(this=exp.DType.BINARY, nested=False)))
        return
    first = node.expressions[0] if node.expressions else None
    if not isinstance(node.this, str) or node.this.lower() not in _UNIT_FIRST or not isinstance(first, exp.Column):
        return
    if first.name.upper() in _UNITS and set(_present(first)) == {"this"}:
        first.replace(exp.Var(this=first.name.upper()))


def _regular_expression(node: exp.RegexpLike) -> None:
    """`a REGEXP b` finds a match where REGEXP_INSTR finds its position."""
    if set(_present(node)) != {"this", "expression"}:
        raise StatementError("sql.construct_unsupported", "This form of REGEXP is not supported.")
    call = exp.Anonymous(this="REGEXP_INSTR", expressions=[node.this, node.expression])
    node.replace(exp.Paren(this=exp.GT(this=call, expression=exp.Literal.number(0))))


def _json(node: exp.JSONExtract | exp.JSONExtractScalar) -> None:
    """`->` and `->>` are other names of functions, which MariaDB has under these names only."""
    path = node.expression
    path = path.this if isinstance(path, exp.Paren) else path
    call = exp.Anonymous(this="JSON_EXTRACT", expressions=[node.this, path])
    is_text = isinstance(node, exp.JSONExtractScalar)
    node.replace(exp.Anonymous(this="JSON_UNQUOTE", expressions=[call]) if is_text else call)


def _group_concat(node: exp.GroupConcat) -> None:
    """Several arguments are joined like the arguments of CONCAT, which is how the parser reads them."""
    for inner in list(node.find_all(exp.Concat)):
        inner.replace(exp.Anonymous(this="CONCAT", expressions=inner.expressions))
    if node.args.get("separator") is None:
        node.set("separator", exp.Literal.string(","))


def _position(node: exp.StrPosition) -> None:
    if set(_present(node)) != {"this", "substr"}:
        raise StatementError("sql.construct_unsupported", "This form of POSITION is not supported.", hint="Use LOCATE.")
    node.replace(exp.Anonymous(this="LOCATE", expressions=[node.args["substr"], node.this]))


def _cast(node: exp.Cast) -> None:
    """Two names of one type."""
    kind = node.to.this
    if kind in _SAME_TYPES and not isinstance(kind, exp.Expr):
        node.to.set("this", _SAME_TYPES[kind])


def _integer_division(node: exp.IntDiv) -> None:
    for name in ("this", "expression"):
        operand = node.args[name]
        if isinstance(operand, exp.Binary):
            node.set(name, exp.Paren(this=operand))


def _negation(node: exp.Not) -> None:
    """NOT binds less tightly than everything but AND, XOR and OR; `a IS NOT NULL = b` is read as one inside a comparison."""
    parent = node.parent
    is_operand = isinstance(parent, (exp.Binary, exp.Unary, exp.Between, exp.In)) and not isinstance(
        parent, (*_LOOSER, exp.Paren)
    )
    if is_operand and node.arg_key != "query" and node.index is None:
        paren = exp.Paren()
        node.replace(paren)
        paren.set("this", node)


def _inner(node: exp.Expr) -> exp.Expr:
    return _inner(node.this) if isinstance(node, exp.Paren) else node


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, (exp.Paren, exp.Not)):
        node = node.this
    return node


def _present(node: exp.Expr) -> list[str]:
    return [name for name, value in node.args.items() if value]
