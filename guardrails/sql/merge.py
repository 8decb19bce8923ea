"""Resolution of MERGE: what it joins, and every branch as the INSERT, UPDATE or DELETE that it is (SQL:2016, 14.12).

A merge needs the right to merge into its target and the right to do what each branch does there.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import ColumnRef, Relation, RelationUse
from guardrails.sql.conditions import can_be_false
from guardrails.sql.scope import Cte, Output, Scope
from guardrails.sql.tells import Change
from guardrails.sql.writes_mysql import MysqlWriteResolver

__all__ = ["MergeResolver"]


class MergeResolver(MysqlWriteResolver):
    """Resolves queries, changes and MERGE."""

    def modification(self, node: exp.Expr, ctes: Mapping[str, Cte]) -> list[Output]:
        if isinstance(node, exp.Merge):
            return self._merge(node, ctes)
        return super().modification(node, ctes)

    def _merge(self, node: exp.Merge, ctes: Mapping[str, Cte]) -> list[Output]:
        key, relation, target = self.target(node.this, "merge")
        others = Scope(None, ctes)
        self.item(node.args["using"], others)
        both = self.with_target(target, others)
        alone = Scope(None, ctes)
        alone.add(target)
        condition = node.args["on"]
        self.clauses["joined"] |= self.expression(condition, both)
        both.join_conditions.append(node.args["on"])
        self.relate(both, [])
        is_bound = can_be_false(node.args["on"])
        for when in node.args["whens"].expressions:
            is_matched, is_of_target = bool(when.args.get("matched")), bool(when.args.get("source"))
            scope = both if is_matched else alone if is_of_target else others
            own = when.args.get("condition")
            self.conditions([own], scope)
            is_restricted = (is_bound and is_matched) or (own is not None and can_be_false(when.args["condition"]))
            self._branch(when.args["then"], key, relation, scope, is_restricted=is_restricted)
        self.require_select(target)
        return self.returning(node, target, ctes, others)

    def _branch(self, then: exp.Expr, key: str, relation: Relation, scope: Scope, *, is_restricted: bool) -> None:
        if isinstance(then, exp.Insert):
            self._insert_branch(then, key, relation, scope)
            return
        action = "update" if isinstance(then, exp.Update) else then.name.lower()
        if action == "do nothing":
            return
        if action not in ("update", "delete"):
            raise StatementError(
                "sql.construct_unsupported", "A branch of MERGE is none of INSERT, UPDATE, DELETE and DO NOTHING."
            )
        self.uses.add(RelationUse(key, action))
        self.is_restricted &= is_restricted
        if isinstance(then, exp.Update):
            self.assignments(then.expressions, key, relation, scope, None)
        else:
            self.writes |= {ColumnRef(key, c) for c in relation.column_names}
            self.changes.append(Change(key, "delete"))

    def _insert_branch(self, then: exp.Insert, key: str, relation: Relation, scope: Scope) -> None:
        names, row = then.this, then.args.get("expression")
        if not isinstance(row, exp.Tuple) or (names is not None and not isinstance(names, exp.Tuple)):
            raise StatementError(
                "sql.construct_unsupported", "INSERT in MERGE takes a list of columns and VALUES with one row."
            )
        columns = (
            [self.own_column(c, relation) for c in names.expressions] if names is not None else list(relation.column_names)
        )
        if len(row.expressions) > len(columns):
            raise StatementError("sql.syntax", "INSERT has more values than columns.")
        if names is not None:
            names.set("expressions", [exp.Column(this=exp.to_identifier(c, quoted=True)) for c in columns])
        self.uses.add(RelationUse(key, "insert"))
        self.writes |= {ColumnRef(key, c) for c in columns}
        self.changes.append(Change(key, "insert", frozenset(columns)))
        for column, value in zip(columns, list(row.expressions), strict=False):
            self.flow(key, [column], self.expression(value, scope))
