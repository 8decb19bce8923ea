"""The frozen types that flow from a statement to its receipt (see `guardrails.flow`).

No behaviour beyond small derived properties, no I/O. Names follow XACML and Cedar (principal, obligation, decision) and the SQL
standard (relation, column, statement). Relation keys are strings: `name` inside the catalog's default schema, else `schema.name`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias
from uuid import UUID

__all__ = [
    "Access",
    "Action",
    "ApprovalGrant",
    "ApprovalRequest",
    "ApprovalTerms",
    "Catalog",
    "Column",
    "ColumnRef",
    "Constraint",
    "ConstraintKind",
    "Context",
    "Decision",
    "Declared",
    "DialectName",
    "Effect",
    "Execution",
    "IndexUse",
    "Limits",
    "Mask",
    "MaskExpression",
    "Obligations",
    "OutputColumn",
    "Params",
    "Plan",
    "PredicateMode",
    "Principal",
    "Probe",
    "Reason",
    "Receipt",
    "Relation",
    "RelationKind",
    "RelationUse",
    "Result",
    "Row",
    "RowFilter",
    "ScanFinding",
    "Statement",
    "StatementKind",
    "Value",
    "indexes_by_columns",
]

Value: TypeAlias = (
    bool
    | int
    | float
    | str
    | bytes
    | Decimal
    | datetime
    | date
    | time
    | timedelta
    | UUID
    | list["Value"]
    | dict[str, "Value"]
    | None
)
"""What a parameter or a result cell may be."""
Row: TypeAlias = tuple[Value, ...]
Params: TypeAlias = Mapping[str, Value] | Sequence[Value]

DialectName: TypeAlias = Literal[
    "sqlite", "postgres", "mysql", "duckdb", "tsql", "snowflake", "bigquery", "redshift", "databricks", "oracle", "trino"
]
"""Whose SQL it is; `mysql` is MariaDB too. From `tsql` on, statements are judged only: nothing here runs them."""
Effect: TypeAlias = Literal["allow", "deny", "approve"]
Action: TypeAlias = str
"""`select`, `insert`, `update`, `delete`, a DDL verb such as `drop` or `create`, or the name of a tool or an action."""
StatementKind: TypeAlias = Literal[
    "select", "insert", "update", "delete", "merge", "create", "drop", "alter", "truncate", "explain", "show", "other"
]  # fmt: skip
PredicateMode: TypeAlias = Literal["masked", "equality", "real"]
"""What conditions see of a protected column: the masked value, or the real one in comparisons for equality or in all simple ones."""
IndexUse: TypeAlias = Literal["any", "fetching", "bitmap"]
"""How a plan may use indexes: in any way, not without fetching the rows from the table, or as bitmaps of rows alone."""
RelationKind: TypeAlias = Literal["table", "view", "materialized_view", "foreign_table"]
ConstraintKind: TypeAlias = Literal["unique", "exclude", "check", "foreign", "trigger"]


@dataclass(frozen=True, slots=True)
class Statement:
    """What the agent wrote. `params` are bound values, by name or by position; they are never part of the text."""

    sql: str
    params: Params = field(default_factory=dict)
    dialect: DialectName = "sqlite"


@dataclass(frozen=True, slots=True)
class Principal:
    """The person on whose behalf the agent acts.

    Args:
        id: Stable subject, such as an e-mail address or an OIDC `sub`.
        groups: Groups or roles of the person.
        attributes: Further facts that row filters and conditions use as `principal.<name>`.
        issuer: Who vouches for it (the OIDC issuer), or None.
        verified: How: ``unverified`` for a principal that code merely named, ``jwt`` for a checked token.
        token_digest: SHA-256 (hex) of the token that established it, or None.
        expires_at: Unix seconds after which it is no longer valid, or None.
    """

    id: str
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, Value] = field(default_factory=dict)
    issuer: str | None = None
    verified: Literal["unverified", "jwt"] = "unverified"
    token_digest: str | None = None
    expires_at: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", frozenset(self.groups))


@dataclass(frozen=True, slots=True)
class Context:
    """Everything about the request that is neither the person nor the statement."""

    agent: str | None = None
    model: str | None = None
    purpose: str | None = None
    session_id: str = ""
    conversation_id: str | None = None
    tool: str | None = None
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """How the schema itself spells a column, for statements that read the schema; nothing is decided by it.

    Args:
        type: The type's text as the engine gives it, with its capitals; of a domain the type that it is based on.
        default: The default's SQL as the engine gives it, None without one.
        is_not_null: Whether NOT NULL is declared; a key may exclude NULL without it.
        generated: How its value is computed from other columns: on reading (`virtual`), on writing (`stored`), or not at all (empty).
        key: The index that it leads, in MySQL's words (`PRI`, `UNI`, `MUL`); empty without one, and for engines without such words.
        extra: What else the engine says of it, such as `auto_increment`.
    """

    type: str = ""
    default: str | None = None
    is_not_null: bool = False
    generated: Literal["", "virtual", "stored"] = ""
    key: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation.

    Args:
        name: Its name.
        type: The engine's own type text in lower case.
        is_nullable: Whether it may hold NULL.
        declared: How the schema spells it; None where nobody asked the engine.
        computed_from: Of a generated column the columns of its relation that its expression names.
        has_user_code: Code of users runs when a value of its type is converted, compared or written.
    """

    name: str
    type: str = ""
    is_nullable: bool = True
    declared: Declared | None = field(default=None, compare=False)
    computed_from: tuple[str, ...] = ()
    has_user_code: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Constraint:
    """What a change of a relation may fail by, because of what is stored.

    Args:
        kind: `unique` for keys and unique indexes, `exclude` for PostgreSQL's exclusion constraints, `check` for conditions over one
            row, `foreign` for foreign keys, `trigger` for triggers that look at the row that is changed.
        columns: Every column that it looks at, in expressions and conditions too; of a foreign key in its order, else sorted.
        is_plain: Of a unique one: it compares these columns as they are, and NULL equals nothing.
        is_always: Of a check or a trigger: every UPDATE runs into it, whatever it assigns.
        refers_to: Of a foreign key the relation that it refers to, by key.
        referred: The columns there, in the order of `columns`.
        on_delete: What a DELETE there does to rows here: nothing but fail (empty), `cascade`, or `set` the columns.
        on_update: The same of an UPDATE of the columns there.
    """

    kind: ConstraintKind
    columns: tuple[str, ...]
    is_plain: bool = False
    is_always: bool = False
    refers_to: str = ""
    referred: tuple[str, ...] = ()
    on_delete: str = ""
    on_update: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view of the catalog.

    Args:
        schema: Its schema.
        name: Its name.
        kind: What it is.
        columns: In order.
        primary_key: Names of the key's columns, in the key's order.
        indexed_columns: Columns in any index.
        definition: A view's SELECT.
        indexes: Each index with its columns: by name where the engine can be told to leave one alone, or how it may be read.
        stored_by: Columns in whose order the rows are stored, where that is another order than the primary key's; of a partitioned
            table and its partitions the columns that decide about a row's partition.
        parents: Keys of the relations that its rows are rows of as well: of a partition the partitioned table, of an inheritance
            child what it inherits from.
        effects: What a change sets off beyond itself, where that is not known to be harmless: the action, and whether it is a
            `trigger`, a `rule` or a `check`. Changes that go on to other relations bring theirs along.
        constraints: What a change may fail by, sorted.
    """

    schema: str
    name: str
    kind: RelationKind
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    indexed_columns: frozenset[str] = frozenset()
    definition: str | None = None
    indexes: tuple[tuple[str, frozenset[str]], ...] = ()
    stored_by: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    effects: tuple[tuple[Action, str], ...] = ()
    constraints: tuple[Constraint, ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)


def indexes_by_columns(indexes: Iterable[Iterable[str]]) -> tuple[tuple[str, frozenset[str]], ...]:
    """Returns `Relation.indexes` for an engine whose indexes need no names."""
    found = {frozenset(columns) for columns in indexes}
    return tuple(sorted(((",".join(sorted(columns)), columns) for columns in found), key=lambda pair: pair[0]))


@dataclass(frozen=True, slots=True)
class PlacedView:
    """A relation in the guard's own schema as the engine describes it. Nothing says yet that it is what the guard made.

    Args:
        name: Its name.
        base: Schema and name of the one relation that it reads; empty where it reads several.
        columns: Name and type of each, in order.
        definition: Its query, as the engine writes it.
        stored: A digest of the engine's own stored form of it.
        owner: The role whose rights it reads with.
        is_plain: It is a view with a security barrier, and nothing else was set or hung on it.
        is_readable: The guard's role and its owner may read the base relation, which has no row-level security, and the role the view.
        comment: What is written on it.
    """

    name: str
    base: tuple[str, str] | tuple[()]
    columns: tuple[tuple[str, str], ...]
    definition: str
    stored: str
    owner: str
    is_plain: bool
    is_readable: bool
    comment: str


@dataclass(frozen=True, slots=True)
class PlacedColumn:
    """A column whose name is reserved for the guard, as the engine describes it. Nothing says yet that the guard made it.

    Args:
        base: Schema and name of its relation.
        name: Its name.
        type: Its type.
        definition: The expression that it is generated from, as the engine writes it.
        stored: A digest of the engine's own stored form of it.
        is_plain: It is generated and stored, in a table that shares rows with no other.
        comment: What is written on it.
    """

    base: tuple[str, str]
    name: str
    type: str
    definition: str
    stored: str
    is_plain: bool
    comment: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What exists in one database, as names that the resolver looks up.

    Args:
        dialect: The engine that it describes.
        default_schema: The schema that an unqualified name means (`main` in SQLite, usually `public` in PostgreSQL).
        relations: By relation key.
        version: A digest of the schema; a different schema has a different version.
        effects: As of a relation, of statements whatever they name; the action `*` is every one.
        placed: What stands in the guard's own schema, which is none of the relations.
        placed_columns: Columns with the guard's own names, which are none of the relations' columns.
    """

    dialect: DialectName
    default_schema: str
    relations: Mapping[str, Relation]
    version: str = ""
    effects: tuple[tuple[Action, str], ...] = ()
    placed: tuple[PlacedView, ...] = ()
    placed_columns: tuple[PlacedColumn, ...] = ()

    def key(self, schema: str | None, name: str) -> str:
        """Returns the relation key for a schema (None for the default) and a name."""
        return name if schema is None or schema == self.default_schema else f"{schema}.{name}"


@dataclass(frozen=True, slots=True, order=True)
class ColumnRef:
    """A column of a relation in the catalog, by relation key and column name."""

    relation: str
    column: str

    def __str__(self) -> str:
        return f"{self.relation}.{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Probe:
    """What the outcome of a change tells of, beyond what the change reads.

    Args:
        relation: Key of the relation.
        column: The column of whose stored values it tells; empty where it tells whether rows are there at all.
        is_equality: It tells no more than whether a value that the change gives is stored.
    """

    relation: str
    column: str = ""
    is_equality: bool = False


@dataclass(frozen=True, slots=True)
class RelationUse:
    """One relation that a statement touches, and how. `via` is the view through which it is reached, None when named directly."""

    relation: str
    action: Action
    via: str | None = None


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of the result with the base columns that its value derives from."""

    name: str
    sources: tuple[ColumnRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What a statement really does, as the resolver proved it against the catalog.

    Args:
        kind: The statement's verb.
        actions: Every action that happens anywhere in it (a data-modifying CTE adds its own).
        relations: Each relation touched with its action, base relations of views included.
        reads: Columns whose values are read anywhere: returned, filtered, joined, grouped or sorted on, base columns of views included.
        writes: Columns assigned (all columns for DELETE).
        functions: Names of the functions called, in lower case.
        returned: Columns of the result in order, each with the base columns that it derives from.
        filtered: Columns in WHERE, HAVING, FILTER and QUALIFY, at any level.
        joined: Columns in join conditions (ON, USING, NATURAL).
        grouped: Columns in GROUP BY, DISTINCT ON and PARTITION BY.
        ordered: Columns in ORDER BY, of windows and aggregates too.
        is_restricted: For UPDATE, DELETE and MERGE: every change is bound to a condition that can be false. True for other kinds.
        has_where: The outermost query or change has a WHERE.
        has_limit: The outermost query has a LIMIT.
        has_tautology: A condition somewhere is true for every row (`1 = 1`, `x = x`, `a OR TRUE`).
        has_cross_join: Somewhere relations are joined without a condition that relates them.
        reads_schema: It reads the description of the schema, which is answered from the catalog with what the principal may see.
        probes: What its outcome (an error, the number of rows changed) tells of because of constraints.
        flows: Pairs of a column that is written and a column that the written value derives from.
    """

    kind: StatementKind
    actions: tuple[Action, ...]
    relations: tuple[RelationUse, ...] = ()
    reads: tuple[ColumnRef, ...] = ()
    writes: tuple[ColumnRef, ...] = ()
    functions: tuple[str, ...] = ()
    returned: tuple[OutputColumn, ...] = ()
    filtered: tuple[ColumnRef, ...] = ()
    joined: tuple[ColumnRef, ...] = ()
    grouped: tuple[ColumnRef, ...] = ()
    ordered: tuple[ColumnRef, ...] = ()
    is_restricted: bool = True
    has_where: bool = False
    has_limit: bool = False
    has_tautology: bool = False
    has_cross_join: bool = False
    reads_schema: bool = False
    probes: tuple[Probe, ...] = ()
    flows: tuple[tuple[ColumnRef, ColumnRef], ...] = ()

    @property
    def is_read_only(self) -> bool:
        return set(self.actions) <= {"select"}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision came out as it did, for the model and for people. `rule` is the policy rule, None when no rule is involved."""

    code: str
    message: str
    hint: str = ""
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """Obligation: `column` yields a masked value wherever it is read.

    Args:
        column: The protected column.
        kind: As in `guardrails.masking.functions`.
        options: Of the kind.
        predicate: Which conditions of the agent test the real value instead.
        min_group: Rows that a group needs so that its aggregates are of the real values; 0: aggregates are of masked values.
        family: What kind of values the column holds, as in `guardrails.masking.types`; empty where nobody asked.
    """

    column: ColumnRef
    kind: str
    options: tuple[tuple[str, str | int], ...] = ()
    predicate: PredicateMode = "masked"
    min_group: int = 0
    family: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Obligation: only rows of `relation` that satisfy `predicate` exist for this statement.

    `predicate` is SQL over the relation's columns with `principal.<name>` for values, which `bindings` holds by that name.
    """

    relation: str
    predicate: str
    bindings: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Obligation: ceilings that always hold.

    Args:
        rows: Rows returned.
        rows_changed: Rows changed by one statement, in all relations together.
        seconds: Run time.
        statement_bytes: Bytes of the text.
        result_bytes: Bytes of the result.
        tokens: Words and signs of the text.
        depth: Levels of parentheses, CASE and prefix operators.
        joins: Joins in the whole statement.
        ctes: Common table expressions in the whole statement.
        in_list: Items of one list after IN.
        probes: Questions about real values of protected columns that one session may ask, where the policy lets it ask any.
    """

    rows: int = 1000
    rows_changed: int = 100
    seconds: float = 10.0
    statement_bytes: int = 100_000
    result_bytes: int = 10_000_000
    tokens: int = 12_000
    depth: int = 100
    joins: int = 100
    ctes: int = 100
    in_list: int = 5_000
    probes: int = 20


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """Obligation: somebody in one of `groups` (anybody else than the requester when empty) must say yes within the time."""

    groups: tuple[str, ...] = ()
    expires_s: int = 900
    reason_required: bool = True


@dataclass(frozen=True, slots=True)
class Obligations:
    """Everything a permit is bound to; one that cannot be fulfilled means deny.

    `visible` are the relations, each with its columns, that a statement which reads the schema may tell of; None where none does.
    """

    masks: tuple[Mask, ...] = ()
    row_filters: tuple[RowFilter, ...] = ()
    limits: Limits = Limits()
    approval: ApprovalTerms | None = None
    visible: tuple[tuple[str, tuple[str, ...]], ...] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's answer. `rules` are the ids that decided; `access` is None when the statement was not understood.

    `sql` is the regenerated text that would run (bound parameters by name), None on deny. `probes` counts its questions about real
    values of protected columns, which the session's budget pays for.
    """

    effect: Effect
    reasons: tuple[Reason, ...] = ()
    rules: tuple[str, ...] = ()
    obligations: Obligations = Obligations()
    policy_digest: str = ""
    access: Access | None = None
    sql: str | None = None
    probes: int = 0

    @property
    def code(self) -> str:
        """The first reason's code; `ok` on allow."""
        return "ok" if self.effect == "allow" else self.reasons[0].code if self.reasons else "approval.required"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine runs: text regenerated from the checked AST, every value bound by name, and the limits to hold.

    Args:
        sql: Placeholders are `:name` in SQLite and MySQL, `$name` in DuckDB, and `$1`, `$2`, … (in the order of `params`) in PostgreSQL.
        params: Bound values by name, in placeholder order.
        actions: The actions that may happen; the engine's lock allows nothing else.
        writes: Relation keys that may be changed.
        reads: Columns that may be read: the second lock refuses others where the engine can tell.
        limits: Ceilings.
        catalog_version: The catalog's version that the plan was made against; an engine whose schema differs refuses.
        is_explain: It asks for the plan of a query and runs nothing.
        index_use: What the engine may do with indexes, where it can be told (PostgreSQL); the narrowest when nobody said.
        is_protected: Masks or row filters hold for what it touches.
        is_grouped_by_sorting: Groups in a hash table would come in an order that tells how many different values a masked column has.
        settings: Texts by name that hold for its transaction alone: the principal's values, for row filters in the database. The engine
            sets them with bound values.
        lookups: Names of parameters with the plan that finds the one value to bind there; the guard runs them first.
    """

    sql: str
    params: Mapping[str, Value]
    dialect: DialectName
    actions: tuple[Action, ...]
    relations: tuple[RelationUse, ...]
    reads: tuple[ColumnRef, ...]
    writes: tuple[ColumnRef, ...]
    limits: Limits
    catalog_version: str = ""
    is_explain: bool = False
    index_use: IndexUse = "bitmap"
    is_protected: bool = False
    is_grouped_by_sorting: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    lookups: tuple[tuple[str, Plan], ...] = ()

    @property
    def is_read_only(self) -> bool:
        return set(self.actions) <= {"select"}


@dataclass(frozen=True, slots=True)
class Execution:
    """What an engine returned for a plan, before the scan: `duration_ms` is the engine's wall time in milliseconds."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    rows_changed: int = 0
    is_truncated: bool = False
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class MaskExpression:
    """A mask as SQL of one dialect, to stand where the column stood.

    Args:
        sql: An expression in which the quoted identifier ``"__column__"`` stands for the column and `:name` for a bound value.
        bindings: The bound values (keys, for instance) by name; each name starts with ``mask_``.
    """

    sql: str
    bindings: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What a person is asked to approve: exactly this statement, these parameters, this policy, this requester.

    `digest` binds them (SHA-256, hex); times are Unix seconds.
    """

    id: str
    digest: str
    requester: str
    agent: str | None
    purpose: str | None
    sql: str
    summary: str
    terms: ApprovalTerms
    created_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class ApprovalGrant:
    """A person's yes to one request, usable once."""

    request_id: str
    digest: str
    approver: str
    reason: str
    decided_at: int


@dataclass(frozen=True, slots=True)
class ScanFinding:
    """The second net caught something: how many values of `kind` were replaced in result column `column`."""

    column: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an action is recorded: the leaf of its outcome, and of the intent that came before it."""

    entry_id: str
    leaf_index: int
    leaf_hash: str
    intent_index: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came back: `rows` as tuples in the order of `columns`; `rows_changed` for writes."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    receipt: Receipt
    decision: Decision
    rows_changed: int = 0
    is_truncated: bool = False
    findings: tuple[ScanFinding, ...] = ()

    def dicts(self) -> list[dict[str, Value]]:
        """Returns the rows as dictionaries, a later column of the same name replacing an earlier one."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]
