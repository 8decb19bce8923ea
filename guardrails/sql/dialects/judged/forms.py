"""Forms of a tree that are written as they are read, for dialects whose generator would translate.

A call with a syntax of its own (`POSITION(a IN b)`) becomes the plain call that the generator writes for it, and a unit of time
(`DATEADD(day, …)`) a word instead of a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

__all__ = ["Form", "Forms", "bare_word", "call", "call_of", "give_with", "name_of_call"]

Form = Callable[[exp.Expr], exp.Expr | None]
"""Returns what stands in a node's place, None to leave it."""

_WEEKDAYS = frozenset({"SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"})


@dataclass(frozen=True, slots=True)
class Forms:
    """What changes in the trees of a dialect.

    Args:
        nodes: By class of node, leaves first.
        units: Upper-case names of calls, with the position (from 0, or from the end) of the argument that is a unit of time.
        words: The units, in upper case.
    """

    nodes: Mapping[type[exp.Expr], Form] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)
    words: frozenset[str] = frozenset()


def give_with(forms: Forms) -> Callable[[exp.Expr], None]:
    """Returns the function that gives a tree these forms in place."""

    def give(tree: exp.Expr) -> None:
        for node in reversed(list(tree.walk())):
            form = forms.nodes.get(type(node))
            new = form(node) if form is not None else None
            if new is not None:
                node.replace(new)
            elif isinstance(node, exp.Anonymous):
                _give_unit(node, forms)

    return give


def call(name: str, *arguments: exp.Expr | None) -> exp.Anonymous:
    """Returns a plain call of a function; arguments that are None are left out."""
    return exp.Anonymous(this=name, expressions=[a for a in arguments if a is not None])


def call_of(name: str, *keys: str, ignored: str = "") -> Form:
    """Returns a form: the call of a function with these arguments of the node, unless the node has others too.

    Args:
        name: The function.
        keys: Names of the node's arguments, in the order of the call.
        ignored: An argument that only tells sqlglot what the call means in this dialect.
    """

    def form(node: exp.Expr) -> exp.Expr | None:
        present = {k for k, v in node.args.items() if v is not None and v != [] and v is not False} - {ignored}
        return call(name, *(node.args.get(k) for k in keys)) if present <= set(keys) else None

    return form


def name_of_call(node: exp.Expr) -> str:
    """Returns the upper-case name of a plain call, empty for anything else and for a name in quotes."""
    return node.this.upper() if isinstance(node, exp.Anonymous) and isinstance(node.this, str) else ""


def _give_unit(node: exp.Anonymous, forms: Forms) -> None:
    position = forms.units.get(name_of_call(node))
    arguments = node.expressions
    if position is None or not -len(arguments) <= position < len(arguments):
        return
    word = bare_word(arguments[position])
    if word in forms.words or (word.startswith("WEEK(") and word[5:-1] in _WEEKDAYS):
        arguments[position].replace(exp.Var(this=word))


def bare_word(node: exp.Expr) -> str:
    """Returns the word that a name without a qualifier stands for, and `WEEK(MONDAY)` for such a call."""
    if isinstance(node, exp.Var):
        return str(node.this).upper()
    if isinstance(node, exp.Column) and not node.table and isinstance(node.this, exp.Identifier):
        return str(node.name).upper()
    if name_of_call(node) == "WEEK" and len(node.expressions) == 1:
        return f"WEEK({bare_word(node.expressions[0])})"
    return ""
