"""Conditions that the policy lets test the real value of a protected column, each counted as so many probes of the session.

The mask stays in every other place. A permitted condition moves into the subquery that yields the masked columns, as one more column
that nobody can name, and leaves that column behind: so the statement learns the truth of this condition for each row and nothing else.
Only what is positively understood moves: one column of a base relation, compared with constants of its own kind, in WHERE or ON. All
else goes on seeing the masked value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Catalog, ColumnRef, Mask, Value
from guardrails.sql.dialects import EngineDialect
from guardrails.sql.owners import owner_of, sources_of
from guardrails.sql.sources import relation_of

__all__ = ["HIDDEN_META", "ROW_ALIAS", "Hidden", "IsMaskedText", "hide_column", "move_probes"]

ROW_ALIAS = "gr_row"
"""Alias of the base relation inside a protecting subquery."""
HIDDEN_META = "gr_hidden"
"""Key in a Table node's `meta`: columns that its protecting subquery yields beside those of the relation."""

IsMaskedText = Callable[[str, str], bool]
"""Whether a text is one that a kind of mask makes; see `guardrails.masking.masked_text`."""

_EQUALITY = (exp.EQ, exp.NEQ, exp.In)
_REAL = (*_EQUALITY, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike, exp.Between, exp.Is)
_CONNECTORS = (exp.And, exp.Or, exp.Not, exp.Paren)
_FOLDING = frozenset({"lower", "upper"})
_TEXT_ONLY = (exp.Like, exp.ILike)
_INT64 = 2**63


@dataclass(slots=True)
class Hidden:
    """Hands out the names of hidden columns, and counts the probes."""

    masks: Mapping[ColumnRef, Mask]
    catalog: Catalog
    dialect: EngineDialect
    params: Mapping[str, Value]
    is_masked_text: IsMaskedText
    probes: int = 0
    _names: int = field(default=0)

    def name(self) -> str:
        self._names += 1
        return f"gr_hidden_{self._names}"

    def mask_of(self, column: exp.Column) -> tuple[exp.Table, Mask] | None:
        """Returns the base relation in FROM that a column belongs to, and the column's mask; None when it has none."""
        if not isinstance(column.this, exp.Identifier):
            return None
        meant = column if column.table else self.meant(column)
        table = owner_of(meant) if meant is not None else None
        key = relation_of(table) if table is not None else None
        mask = self.masks.get(ColumnRef(key, column.name)) if key is not None else None
        return (table, mask) if table is not None and mask is not None else None

    def meant(self, name: exp.Column) -> exp.Column | None:
        """Returns the column that a bare name means, be it taken for an output name or for the only column of that name (DuckDB)."""
        select = name.find_ancestor(exp.Select) if self.dialect.names_seen == "mixed" else None
        if select is None:
            return None
        aliased = [e.this for e in select.expressions if isinstance(e, exp.Alias) and e.alias == name.name]
        holders = []
        for source in sources_of(select):
            key = relation_of(source) if isinstance(source, exp.Table) else None
            if key is None:
                return None
            names = self.catalog.relations[key].column_names
            holders += (
                [source.alias] if any(self.dialect.fold_name(n) == self.dialect.fold_name(name.name) for n in names) else []
            )
        column = aliased[0] if len(aliased) == 1 and isinstance(aliased[0], exp.Column) else None
        is_same = column is not None and [column.table] == holders and column.name == name.name
        return column if is_same else None


def move_probes(tree: exp.Expr, hidden: Hidden) -> None:
    """Moves every permitted condition of a tree into the relation that it asks about."""
    for node in list(tree.find_all(*_REAL)):
        if not _is_condition(node):
            continue
        outer = node.parent if isinstance(node.parent, exp.Escape) else node
        column = _column_of(node)
        found = hidden.mask_of(column) if column is not None else None
        if column is None or found is None:
            continue
        table, mask = found
        if _is_permitted(node, column, mask) and _are_fitting(node, mask, hidden):
            _move(outer, node, table, mask, hidden)


def hide_column(table: exp.Table, value: exp.Expr, hidden: Hidden) -> exp.Column:
    """Gives a relation one more column, which its protecting subquery yields, and returns a reference to it.

    Args:
        table: The relation in FROM.
        value: Of the relation's own columns, whose alias is changed in place to `ROW_ALIAS`.
        hidden: Of the statement.

    Raises:
        StatementError: The whole row is used somewhere, in which the column would show (``mask.unsupported``).
    """
    _require_no_whole_row(table)
    for column in value.find_all(exp.Column):
        column.set("table", exp.to_identifier(ROW_ALIAS, quoted=True))
    name = exp.to_identifier(hidden.name(), quoted=True)
    table.meta.setdefault(HIDDEN_META, []).append(exp.Alias(this=value, alias=name))
    return exp.Column(this=name.copy(), table=exp.to_identifier(table.alias, quoted=True))


def _is_condition(node: exp.Expr) -> bool:
    """Whether a node is a term of WHERE or ON, beneath AND, OR, NOT and parentheses alone."""
    child, parent = node, node.parent
    if isinstance(parent, exp.Escape):
        child, parent = parent, parent.parent
    while isinstance(parent, _CONNECTORS):
        child, parent = parent, parent.parent
    is_where = isinstance(parent, exp.Where) and isinstance(parent.parent, exp.Select)
    return is_where or (isinstance(parent, exp.Join) and parent.args.get("on") is child)


def _column_of(node: exp.Expr) -> exp.Column | None:
    """Returns the one column of a comparison with constants."""
    columns = list(node.find_all(exp.Column))
    return columns[0] if len(columns) == 1 and node.find(exp.Query) is None else None


def _is_permitted(node: exp.Expr, column: exp.Column, mask: Mask) -> bool:
    holder = _bare(column)
    if holder.parent is not node or holder.arg_key not in ("this", "expression"):
        # Text may be folded to one case where every condition is permitted.
        call = holder.parent
        is_folded = isinstance(call, exp.Anonymous) and str(call.this).lower() in _FOLDING and len(call.expressions) == 1
        if mask.predicate != "real" or mask.family != "text" or call is None or not is_folded:
            return False
        holder = _bare(call)
        if holder.parent is not node or isinstance(node, exp.Is):
            return False
    if isinstance(node, _TEXT_ONLY) and mask.family != "text":
        return False
    if isinstance(node, (exp.Between, exp.In, exp.Is, *_TEXT_ONLY)) and holder.arg_key != "this":
        return False
    return isinstance(node, _REAL) if mask.predicate == "real" else mask.predicate == "equality" and isinstance(node, _EQUALITY)


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node.parent, exp.Paren):
        node = node.parent
    return node


def _are_fitting(node: exp.Expr, mask: Mask, hidden: Hidden) -> bool:
    """Whether everything that the column is compared with is a constant of its own kind, so that no conversion can fail."""
    if isinstance(node, exp.Is):
        return isinstance(node.expression, exp.Null)
    constants = _constants(node)
    if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest") or node.args.get("field")):
        return False
    values = [_value(c, hidden) for c in constants]
    if not constants or not all(_is_of(v, mask.family) for v in values):
        return False
    # What the agent was shown matches the masked value, which the condition sees where it stands.
    return not any(isinstance(v, str) and hidden.is_masked_text(mask.kind, v) for v in values)


def _constants(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.In):
        return list(node.expressions)
    if isinstance(node, exp.Between):
        return [node.args["low"], node.args["high"]]
    sides = [node.this, node.expression]
    return [s for s in sides if s.find(exp.Column) is None]


class _Unknown:
    """Stands for what is no plain constant."""


def _value(node: exp.Expr, hidden: Hidden) -> object:
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Placeholder):
        return hidden.params.get(str(node.this), _Unknown)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
        number = _value(node.this, hidden)
        return -number if isinstance(number, (int, Decimal)) else _Unknown
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    if isinstance(node, exp.Literal):
        text = str(node.this)
        return int(text) if text.isdecimal() else Decimal(text) if text.replace(".", "", 1).isdecimal() else _Unknown
    return _Unknown


def _is_of(value: object, family: str) -> bool:
    match family:
        case "text":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
        case "numeric":
            # Beside a float the column's value would become one, which fails for the largest.
            return isinstance(value, (int, Decimal)) and not isinstance(value, bool) and abs(float(value)) < _INT64
        case "float":
            return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and abs(float(value)) < _INT64
        case "date":
            return _is_date(value)
    return False


def _is_date(value: object) -> bool:
    if isinstance(value, str):
        try:
            date.fromisoformat(value)
        except ValueError:
            return False
        return len(value) == len("2026-01-31")
    return isinstance(value, date) and not isinstance(value, datetime)


def _move(outer: exp.Expr, node: exp.Expr, table: exp.Table, mask: Mask, hidden: Hidden) -> None:
    hidden.probes += len(_constants(node)) or 1
    moved = _unordered(outer.copy(), node, mask, hidden)
    place = outer.parent, outer.arg_key, outer.index
    truth: exp.Expr = hide_column(table, moved, hidden)
    if isinstance(node, exp.Is):
        # A row that an outer join made up has no value there.
        truth = exp.Anonymous(this="coalesce", expressions=[truth, exp.Boolean(this=not node.args.get("negate"))])
    elif mask.kind == "pseudonym" and mask.family != "text" and isinstance(node, _EQUALITY):
        # A number that was shown for another is not told from a real one: it matches as either.
        both = exp.And if isinstance(node, exp.NEQ) else exp.Or
        truth = exp.Paren(this=both(this=outer.copy(), expression=truth))
    parent, key, index = place
    if parent is None or key is None:
        raise StatementError("mask.unsupported", "A condition stands where it cannot be moved.")
    parent.set(key, truth, index)


def _unordered(condition: exp.Expr, node: exp.Expr, mask: Mask, hidden: Hidden) -> exp.Expr:
    """Keeps an index over the column from answering a range, as rows would come in the order of their values."""
    relation = hidden.catalog.relations[mask.column.relation]
    is_ordering = mask.column.column in relation.indexed_columns and hidden.dialect.index_hint is None
    if isinstance(node, _EQUALITY) or not is_ordering:
        return condition
    negated = exp.Not(this=exp.Paren(this=condition.copy()))
    ifs = [exp.If(this=condition, true=exp.Boolean(this=True)), exp.If(this=negated, true=exp.Boolean(this=False))]
    return exp.Case(ifs=ifs)


def _require_no_whole_row(table: exp.Table) -> None:
    for column in table.root().find_all(exp.Column):
        is_star = isinstance(column.this, exp.Star) and column.table == table.alias
        if is_star or (not column.table and column.name == table.alias):
            raise StatementError(
                "mask.unsupported",
                "The whole row of a relation is used beside a condition on a protected column.",
                hint="Name the columns that you need.",
            )
