"""What a condition can do without looking at data: whether it excludes any row, and whether it relates the relations it joins."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

__all__ = ["are_related", "can_be_false", "conjuncts", "has_tautology"]

_REFLEXIVE = (exp.EQ, exp.GTE, exp.LTE, exp.Like, exp.ILike, exp.NullSafeEQ)
_IRREFLEXIVE = (exp.NEQ, exp.GT, exp.LT, exp.NullSafeNEQ)


def can_be_false(node: exp.Expr) -> bool:
    """Whether a predicate may exclude a row; False for constants that hold, `x = x`, `x IS NULL OR x IS NOT NULL`, `a OR TRUE`.

    A judgement on the text alone: a predicate over columns that happens to hold for every row counts as one that can be false.
    """
    node = _bare(node)
    if isinstance(node, (exp.Where, exp.Having)):
        return can_be_false(node.this)
    if isinstance(node, exp.And):
        return any(can_be_false(n) for n in node.flatten())
    if isinstance(node, exp.Or):
        arms = [_bare(n) for n in node.flatten()]
        return all(can_be_false(n) for n in arms) and not _are_complementary(arms)
    if isinstance(node, _REFLEXIVE) and _bare(node.this) == _bare(node.expression):
        return False
    if isinstance(node, (exp.Like, exp.ILike)) and _is_every_text(node.expression):
        return False
    if isinstance(node, exp.Boolean):
        return not node.this
    if isinstance(node, exp.EQ) and _is_number(node.this) and _is_number(node.expression):
        return float(node.this.name) != float(node.expression.name)
    inner = _bare(node.this) if isinstance(node, exp.Not) else node
    if inner is not node and isinstance(inner, _IRREFLEXIVE) and _bare(inner.this) == _bare(inner.expression):
        return False
    return node.find(exp.Column) is not None


def has_tautology(node: exp.Expr) -> bool:
    """Whether a condition is true for every row, or has an OR of which one arm is (`id = 7 OR 1 = 1`)."""
    node = _bare(node)
    if isinstance(node, (exp.Where, exp.Having)):
        return has_tautology(node.this)
    if isinstance(node, exp.And):
        arms = list(node.flatten())
        # Programs write `WHERE 1 = 1 AND …` so that they can append to it; that changes nothing.
        return not can_be_false(node) or any(isinstance(_bare(n), exp.Or) and has_tautology(n) for n in arms)
    return not can_be_false(node)


def conjuncts(node: exp.Expr | None) -> list[exp.Expr]:
    """Returns the terms that AND joins at the top of a condition."""
    if node is None:
        return []
    node = _bare(node.this if isinstance(node, (exp.Where, exp.Having)) else node)
    return [c for n in node.flatten() for c in conjuncts(n)] if isinstance(node, exp.And) else [node]


def are_related(aliases: Iterable[str], conditions: Iterable[exp.Expr], links: Iterable[tuple[str, str]]) -> bool:
    """Whether conditions connect all the relations of one FROM.

    Args:
        aliases: The relations.
        conditions: Resolved conditions, each of which relates every relation that it names.
        links: Pairs that are related otherwise (USING, LATERAL).
    """
    group = {alias: alias for alias in aliases}
    if len(group) <= 1:
        return True

    def root(alias: str) -> str:
        while group[alias] != alias:
            alias = group[alias]
        return alias

    pairs = list(links)
    for condition in conditions:
        named = sorted({c.table for c in condition.find_all(exp.Column)} & group.keys())
        pairs += [(named[0], other) for other in named[1:]]
    for one, other in pairs:
        if one in group and other in group:
            group[root(one)] = root(other)
    return len({root(alias) for alias in group}) <= 1


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _is_number(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string


def _is_every_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string and bool(node.this) and set(node.this) == {"%"}


def _are_complementary(arms: list[exp.Expr]) -> bool:
    """`x IS NULL OR x IS NOT NULL`, `p OR NOT p`."""
    denied = [_bare(n.this) for n in arms if isinstance(n, exp.Not)]
    tests = [(n.this, n.expression, bool(n.args.get("negate"))) for n in arms if isinstance(n, exp.Is)]
    return any(arm in denied for arm in arms) or any((this, that, not negated) in tests for this, that, negated in tests)
