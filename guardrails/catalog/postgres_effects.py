"""What else a statement sets off in PostgreSQL: triggers and rules of what it changes, and code of users behind types.

The search path of a guarded statement finds functions and operators of the system alone. Casts, operator classes, the bounds of
ranges and the checks of domains are found by type wherever they are, so a type with such code is told by name.
Source: https://www.postgresql.org/docs/current/catalogs.html, https://www.postgresql.org/docs/current/typeconv.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from guardrails.catalog.plpgsql import is_plain_body, is_plain_path
from guardrails.model import Action

if TYPE_CHECKING:
    import psycopg

__all__ = ["PARTS", "general_effects", "relation_effects", "types_with_code"]

_Node = tuple[int, Action]
_EVENTS: dict[int, Action] = {4: "insert", 8: "delete", 16: "update", 32: "truncate"}
"""Bits of a trigger's type."""
_RULES: dict[str, Action] = {"2": "update", "3": "insert", "4": "delete"}
_FIRST_OF_USERS = 16384
"""Smaller object ids are the system's own."""
_DATA: tuple[Action, ...] = ("insert", "update", "delete", "truncate")
_SCHEMA: tuple[Action, ...] = ("create", "alter", "drop")

# Functions of users, but for those in C, which only a superuser can install, and those that are another name of a harmless built-in.
_OWN = """
    own AS MATERIALIZED (
        SELECT p.oid, p.provolatile = 'v' OR p.prosecdef AS is_unbound FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_language l ON l.oid = p.prolang
        WHERE p.oid >= 16384 AND (p.prokind = 'a' OR CASE l.lanname
            WHEN 'c' THEN false
            WHEN 'internal' THEN NOT EXISTS (
                SELECT FROM pg_catalog.pg_proc b WHERE b.prosrc = p.prosrc AND b.oid < 16384 AND b.provolatile <> 'v')
            ELSE true END)
    ),
    called AS MATERIALIZED (
        SELECT d.objid AS constraint_oid FROM pg_catalog.pg_depend d
        LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
        JOIN own ON own.is_unbound
            AND own.oid = CASE WHEN d.refclassid = 'pg_catalog.pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END
        WHERE d.classid = 'pg_catalog.pg_constraint'::regclass
    )
"""

_TRIGGERS = """
    SELECT t.tgrelid, t.tgtype::int, l.lanname, p.prosrc, p.proconfig,
           t.tgqual::text ~ ':(op)?funcid (1[6-9][0-9]{3}|[2-9][0-9]{4}|[0-9]{6,}) '
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE t.tgenabled <> 'D' AND p.oid >= 16384
"""
_REWRITES = "SELECT ev_class, ev_type FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN' AND ev_enabled <> 'D'"
_CHECKS = f"""
    WITH {_OWN} SELECT c.conrelid FROM pg_catalog.pg_constraint c JOIN called ON called.constraint_oid = c.oid WHERE c.conrelid <> 0
"""  # noqa: S608 - constants
_REFERENCES = """
    SELECT confrelid, conrelid, confdeltype, confupdtype FROM pg_catalog.pg_constraint
    WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
"""
_CHILDREN = """
    SELECT h.inhparent, h.inhrelid, c.relkind = 'p' FROM pg_catalog.pg_inherits h
    JOIN pg_catalog.pg_class c ON c.oid = h.inhparent WHERE c.relkind IN ('r', 'p', 'f')
"""

# Two types of which one is converted into, or compared with, the other by code of users.
_PAIRS = f"""
    WITH {_OWN}, pairs(one, other) AS (
        SELECT castsource, casttarget FROM pg_catalog.pg_cast WHERE castfunc IN (SELECT oid FROM own)
        UNION SELECT amproclefttype, amprocrighttype FROM pg_catalog.pg_amproc WHERE amproc::oid IN (SELECT oid FROM own)
        UNION SELECT a.amoplefttype, a.amoprighttype FROM pg_catalog.pg_amop a
            JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr WHERE o.oprcode::oid IN (SELECT oid FROM own)
        UNION SELECT o.oprleft, o.oprright FROM pg_catalog.pg_operator o
            WHERE o.oid >= 16384 AND o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprcode::oid IN (SELECT oid FROM own)
        UNION SELECT r.rngtypid, r.rngtypid FROM pg_catalog.pg_range r
            WHERE r.rngcanonical::oid IN (SELECT oid FROM own) OR r.rngsubdiff::oid IN (SELECT oid FROM own)
        UNION SELECT t.oid, t.oid FROM pg_catalog.pg_type t
            WHERE t.typinput::oid IN (SELECT oid FROM own) OR t.typoutput::oid IN (SELECT oid FROM own)
               OR t.typsend::oid IN (SELECT oid FROM own) OR t.typmodin::oid IN (SELECT oid FROM own)
        UNION SELECT c.contypid, c.contypid FROM pg_catalog.pg_constraint c
            JOIN called ON called.constraint_oid = c.oid WHERE c.contypid <> 0
        UNION SELECT 0, 0 FROM pg_catalog.pg_proc p JOIN own ON own.oid = p.oid
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND EXISTS (
                SELECT FROM pg_catalog.pg_proc b WHERE b.proname = p.proname AND b.pronamespace = p.pronamespace AND b.oid < 16384)
    )
    SELECT one, other FROM pairs
"""  # noqa: S608 - constants
_MADE_OF = """
    WITH RECURSIVE touched(oid) AS (
        SELECT oid FROM pg_catalog.unnest(%s::oid[]) AS t(oid)
        UNION
        SELECT next.oid FROM touched CROSS JOIN LATERAL (
            SELECT t.oid FROM pg_catalog.pg_type t WHERE touched.oid IN (t.typelem, t.typbasetype)
            UNION ALL
            SELECT t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
            WHERE t.typrelid <> 0 AND a.atttypid = touched.oid
            UNION ALL
            SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngsubtype = touched.oid
        ) AS next(oid)
    )
    SELECT oid FROM touched
"""
_EVENT_TRIGGERS = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled <> 'D' AND e.evtfoid >= 16384)
"""

_PART = """
        UNION ALL
        SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(',', x.oid, x.xmin, x.ctid), ';' ORDER BY x.oid))
        FROM pg_catalog.{} x {}"""
_COUNTED = {
    "pg_trigger": "JOIN wanted w ON w.oid = x.tgrelid WHERE x.tgfoid >= 16384",
    "pg_constraint": "LEFT JOIN wanted w ON w.oid = x.conrelid WHERE (x.contype = 'c' AND (x.contypid <> 0 OR w.oid IS NOT NULL))"
    " OR (x.contype = 'f' AND (x.confdeltype IN ('c', 'n', 'd') OR x.confupdtype IN ('c', 'n', 'd')))",
    "pg_policy": "",
}
_OF_USERS = ("pg_proc", "pg_operator", "pg_cast", "pg_amproc", "pg_amop", "pg_opclass", "pg_event_trigger")
PARTS = "".join(
    _PART.format(name, where) for name, where in {**_COUNTED, **dict.fromkeys(_OF_USERS, "WHERE x.oid >= 16384")}.items()
)
"""What of this the version of the schema is made of, after the relations' own parts."""


def relation_effects(
    connection: psycopg.Connection[Any], with_code: Collection[int]
) -> Mapping[int, tuple[tuple[Action, str], ...]]:
    """Returns by relation what changes of it set off beyond themselves: the action, and what it is.

    Changes go on: to children and partitions, and along foreign keys that change other relations.

    Args:
        connection: As for the catalog.
        with_code: Relations with columns whose types run code of users; no trigger of theirs is plain.
    """
    found: dict[_Node, set[str]] = {}
    for relation, event in connection.execute(_REWRITES):
        found.setdefault((relation, _RULES[event]), set()).add("rule")
    for relation, bits, language, body, settings, has_condition in connection.execute(_TRIGGERS.encode()):
        if not has_condition and relation not in with_code and _is_plain(language, body, settings or ()):
            continue
        for bit, event in _EVENTS.items():
            if bits & bit:
                found.setdefault((relation, event), set()).add("trigger")
    for (relation,) in connection.execute(_CHECKS.encode()):
        for event in ("insert", "update"):
            found.setdefault((relation, event), set()).add("check")
    return _by_relation(found, _causes(connection)) if found else {}


def types_with_code(connection: psycopg.Connection[Any]) -> frozenset[int]:
    """Returns the types whose values set off code of users when they are converted, compared or written; 0 stands for any."""
    found: set[int] = set()
    for pair in connection.execute(_PAIRS.encode()):
        own = {oid for oid in pair if oid >= _FIRST_OF_USERS}
        found |= own or {0}
    made = connection.execute(_MADE_OF, (sorted(found - {0}),)) if found - {0} else ()
    return frozenset(found.union(oid for (oid,) in made))


def general_effects(connection: psycopg.Connection[Any], types: Iterable[int]) -> tuple[tuple[Action, str], ...]:
    """Returns what statements set off whatever relation they name; `*` is every action."""
    row = connection.execute(_EVENT_TRIGGERS).fetchone()
    found: list[tuple[Action, str]] = [(action, "event trigger") for action in _SCHEMA] if row and row[0] else []
    return (("*", "code"), *found) if 0 in types else tuple(found)


def _is_plain(language: str, body: str, settings: Iterable[str]) -> bool:
    # Here and not above: reading a live catalog needs no parser until a trigger is to be read.
    from guardrails.sql.dialects import dialect_of

    rules = dialect_of("postgres")
    return language == "plpgsql" and is_plain_path(settings) and is_plain_body(body, rules.functions, rules.types)


def _causes(connection: psycopg.Connection[Any]) -> Mapping[_Node, list[_Node]]:
    """By a change the changes that bring it about."""
    found: dict[_Node, list[_Node]] = {}
    for parent, child, is_partitioned in connection.execute(_CHILDREN):
        for action in _DATA:
            if is_partitioned or action != "insert":
                found.setdefault((child, action), []).append((parent, action))
        if is_partitioned:
            # A row may move to another partition.
            for action in ("insert", "delete"):
                found.setdefault((child, action), []).append((parent, "update"))
    for referred, referring, on_delete, on_update in connection.execute(_REFERENCES):
        if on_delete in "cnd":
            found.setdefault((referring, "delete" if on_delete == "c" else "update"), []).append((referred, "delete"))
        if on_update in "cnd":
            found.setdefault((referring, "update"), []).append((referred, "update"))
    return found


def _by_relation(
    effects: Mapping[_Node, set[str]], causes: Mapping[_Node, list[_Node]]
) -> Mapping[int, tuple[tuple[Action, str], ...]]:
    found: dict[int, set[tuple[Action, str]]] = {}
    waiting = [(node, what) for node, names in effects.items() for what in names]
    seen: set[tuple[_Node, str]] = set()
    while waiting:
        node, what = waiting.pop()
        if (node, what) in seen:
            continue
        seen.add((node, what))
        found.setdefault(node[0], set()).add((node[1], what))
        waiting += [(cause, what) for cause in causes.get(node, ())]
    return {relation: tuple(sorted(pairs)) for relation, pairs in found.items()}
