"""What a person who is asked to approve a change may see of it: examples of the rows, with their values before and after.

The rows are read by statements of the approver's own, judged under the approver's rights and recorded like any other: masks and row
filters hold, and what the approver may not read is not read. The requester's row filters hold as well, since the change is bound to
them. Values that the change would write are masked as the approver would see them afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guardrails.approval.approvers import require_approver
from guardrails.catalog.ledgers import without_ledgers
from guardrails.errors import (
    ApprovalRequired,
    CatalogError,
    Denied,
    EngineError,
    IdentityError,
    PolicyError,
    StatementError,
)
from guardrails.guard import Guard
from guardrails.model import (
    Access,
    ApprovalRequest,
    ColumnRef,
    Context,
    Decision,
    Mask,
    Principal,
    RelationUse,
    Row,
    Statement,
    Value,
)
from guardrails.policy import BoundPolicy, decide
from guardrails.sql import PreviewQuery, parse, preview_queries, resolve

__all__ = ["Preview", "PreviewPart", "PreviewRow", "preview"]

_MOST_ROWS = 20
_TOOL = "preview"
_KEYED = frozenset({"hash", "pseudonym", "noise", "shift"})
"""Masks that show what nobody can work out: of a value that a requester chose, they would tell which rows hold it."""
_SHOWN_AS_CODE = (ApprovalRequired, CatalogError, Denied, EngineError, IdentityError, PolicyError, StatementError)
"""What the viewer is told of. A ledger that cannot be written ends everything."""


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One row before and after, in the order of the part's columns. Before None: it would be inserted; after None: deleted."""

    before: Row | None
    after: Row | None

    @property
    def changed(self) -> tuple[bool, ...]:
        """Of each column whether its value would be another one."""
        if self.before is None or self.after is None:
            return (True,) * len(self.before or self.after or ())
        return tuple(a != b for a, b in zip(self.before, self.after, strict=True))


@dataclass(frozen=True, slots=True)
class PreviewPart:
    """Examples of the rows that one change in a statement would change.

    Args:
        relation: Key of its target; empty for a statement that only reads.
        action: `update`, `delete`, `insert` or `select`.
        columns: What is shown.
        keys: Those of them that are the primary key.
        rows: The examples, at most twenty.
        is_complete: There are no more that the viewer may see.
        masked: Columns that are shown masked, or made of masked values.
        hidden: Columns that the viewer may not see.
        uncomputed: Columns whose value afterwards only the running change can tell, or cannot be shown; it is None in `rows`.
        code: Why there are no examples, empty where there are.
        message: The same as a sentence.
    """

    relation: str
    action: str
    columns: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    rows: tuple[PreviewRow, ...] = ()
    is_complete: bool = True
    masked: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    uncomputed: tuple[str, ...] = ()
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What may be seen of a request, one part for each change in its statement; `code` and `message` say why there is nothing."""

    parts: tuple[PreviewPart, ...] = ()
    code: str = ""
    message: str = ""


def preview(guard: Guard, request: ApprovalRequest, by: Principal) -> Preview:
    """Shows what a statement would change, as far as somebody who may answer the request may see it.

    Args:
        guard: Of the database that the request is about, with the policy in force.
        request: Of kind `statement`.
        by: Who looks. What is read is recorded in a session of theirs, for the purpose that the request states.

    Returns:
        The examples; a refusal is told in them and not raised, a self-approver's or an outsider's among them.

    Raises:
        LedgerError: What would be read could not be recorded.
    """
    try:
        require_approver(request, by, "", is_yes=False)
        statement = request.statement
        if request.kind != "statement" or statement is None or statement.dialect != guard.database.dialect:
            raise Denied("preview.unsupported", "Examples are shown of SQL statements on this database.")
        if request.database and request.database.partition(" as ")[0] != guard.database.name:
            raise Denied("preview.unsupported", "The request is about another database than the one that is at hand here.")
        bound = guard.policy.bind(without_ledgers(guard.database.catalog()))
        queries = _queries(statement, request, bound, by)
        with guard.session(principal=by, purpose=request.purpose):
            shown = tuple(_part(guard, query, bound, request.id) for query in queries)
    except _SHOWN_AS_CODE as error:
        return Preview(code=error.code, message=error.message)
    if not shown:
        return Preview(code="preview.unsupported", message="The statement changes no rows of which examples could be shown.")
    return Preview(shown)


def _queries(statement: Statement, request: ApprovalRequest, policy: BoundPolicy, by: Principal) -> tuple[PreviewQuery, ...]:
    resolved = resolve(parse(statement, policy.limits), policy.catalog)
    context = Context(purpose=request.purpose)
    seen = {
        key: tuple(c for c in policy.catalog.relations[key].column_names if _may_read(key, c, policy, by, context))
        for key in {u.relation for u in resolved.access.relations}
        if key in policy.catalog.relations
    }
    return preview_queries(resolved, policy.catalog, request.row_filters, seen, _MOST_ROWS)


def _may_read(key: str, column: str, policy: BoundPolicy, by: Principal, context: Context) -> bool:
    read = ColumnRef(key, column)
    return decide(Access("select", ("select",), (RelationUse(key, "select"),), (read,)), policy, by, context).effect == "allow"


def _part(guard: Guard, query: PreviewQuery, policy: BoundPolicy, request_id: str) -> PreviewPart:
    """Asks one query, and says so where the viewer's rights do not reach."""
    try:
        if query.code:
            raise Denied(query.code, query.message)
        return _asked(guard, query, policy, request_id) if query.sql else _told(guard, query, policy)
    except _SHOWN_AS_CODE as error:
        return PreviewPart(query.relation, query.action, hidden=query.hidden, code=error.code, message=error.message)


def _asked(guard: Guard, query: PreviewQuery, policy: BoundPolicy, request_id: str) -> PreviewPart:
    decision = _allowed(guard.check(query.sql, query.params))
    found = guard.execute(query.sql, query.params, tool=_TOOL, tool_call_id=request_id)
    rows = found.rows[:_MOST_ROWS]
    is_complete = len(found.rows) <= _MOST_ROWS and not found.is_truncated
    if query.action == "select":
        masked = frozenset(m.column for m in decision.obligations.masks)
        returned = decision.access.returned if decision.access else ()
        names = tuple(o.name for o in returned if masked & set(o.sources))
        shown = tuple(PreviewRow(row, row) for row in rows)
        return PreviewPart("", "select", found.columns, (), shown, is_complete, names)
    viewer = _Viewer(guard, query, policy, decision)
    # A row that the change joins with several others is changed once; lists and mappings in it have no hash.
    return viewer.part(tuple({repr(row): row for row in rows}.values()), is_complete=is_complete)


def _told(guard: Guard, query: PreviewQuery, policy: BoundPolicy) -> PreviewPart:
    """Rows that the text of the statement gives, masked as a query of them would be. Nothing is read."""
    relation = policy.catalog.relations[query.relation]
    if not query.columns:
        raise Denied("preview.hidden", "There is no column of it that the viewer may see.")
    quote = "`" if guard.database.dialect == "mysql" else '"'
    parts = (relation.schema, relation.name) if relation.schema else (relation.name,)
    names, place = (", ".join(_quoted(n, quote) for n in query.columns), ".".join(_quoted(p, quote) for p in parts))
    decision = _allowed(guard.check(f"SELECT {names} FROM {place}"))  # noqa: S608 - quoted names of the schema; nothing is run
    return _Viewer(guard, query, policy, decision, is_text=True).part(
        query.given[:_MOST_ROWS], is_complete=len(query.given) <= _MOST_ROWS
    )


def _allowed(decision: Decision) -> Decision:
    """Returns a decision that lets the viewer see the rows that the change would find.

    Raises:
        Denied: The viewer's rights do not allow it, or which rows are found depends on values that are masked for the viewer.
    """
    if decision.effect == "approve":
        raise Denied("approval.required", "The viewer's own rights to see these rows need an approval.")
    if decision.effect == "deny":
        first = decision.reasons[0]
        raise Denied(first.code, f"The viewer's own rights do not reach: {first.message}", hint=first.hint)
    access = decision.access
    asked = {*access.filtered, *access.joined, *access.grouped, *access.ordered} if access else set()
    if asked & {m.column for m in decision.obligations.masks}:
        message = "Which rows would change depends on values that are masked for the viewer."
        raise Denied("preview.conditions_masked", message)
    return decision


@dataclass(frozen=True, slots=True)
class _Viewer:
    """Puts the rows of a query together, as the viewer may see them."""

    guard: Guard
    query: PreviewQuery
    policy: BoundPolicy
    decision: Decision
    is_text: bool = False

    def part(self, rows: tuple[Row, ...], *, is_complete: bool) -> PreviewPart:
        query = self.query
        unshown = set(query.uncomputed) | {n for n, p in zip(query.columns, query.after, strict=True) if self._is_open(n, p)}
        if query.action == "delete":
            unshown = set()
        made = [self._row(row, unshown) for row in rows]
        masked = [name for name, place in zip(query.columns, query.after, strict=True) if self._is_masked(name, place)]
        return PreviewPart(
            query.relation,
            query.action,
            query.columns,
            query.keys,
            tuple(made),
            is_complete,
            tuple(masked),
            query.hidden,
            tuple(name for name in query.columns if name in unshown),
        )

    def _row(self, row: Row, unshown: set[str]) -> PreviewRow:
        query = self.query
        before = after = None
        if query.action != "insert":
            before = tuple(row[place] if place is not None else None for place in query.before)
        if query.action != "delete":
            cells = zip(query.columns, query.after, query.before, strict=True)
            after = tuple(None if n in unshown else self._after(n, row, p, b) for n, p, b in cells)
        return PreviewRow(before, after)

    def _after(self, name: str, row: Row, place: int | None, before: int | None) -> Value:
        mask = self._masks.get(name)
        value = self.query.constants.get(name) if place is None else row[place]
        # What stays as it is was masked where it was read.
        if mask is None or (place is not None and place == before and not self.is_text):
            return value
        return _masked(self.guard, mask, self.policy, value)

    def _is_open(self, name: str, place: int | None) -> bool:
        """Whether the value afterwards is not known, or would have to be masked again, or by a key that is to stay secret."""
        mask = self._masks.get(name)
        if place is None:
            return name not in self.query.constants or (mask is not None and mask.kind in _KEYED)
        if mask is None or self.query.before[self.query.columns.index(name)] == place:
            return False
        return mask.kind in _KEYED or bool(self._sources(place) & self._masked_columns)

    def _is_masked(self, name: str, place: int | None) -> bool:
        return name in self._masks or (place is not None and bool(self._sources(place) & self._masked_columns))

    def _sources(self, place: int) -> set[ColumnRef]:
        if self.is_text or self.decision.access is None:
            return set()
        return set(self.decision.access.returned[place].sources)

    @property
    def _masks(self) -> Mapping[str, Mask]:
        return {m.column.column: m for m in self.decision.obligations.masks if m.column.relation == self.query.relation}

    @property
    def _masked_columns(self) -> set[ColumnRef]:
        return {m.column for m in self.decision.obligations.masks}


def _masked(guard: Guard, mask: Mask, policy: BoundPolicy, value: Value) -> Value:
    """Returns a value as the mask would show it; what does not fit the column is not shown."""
    relation = policy.catalog.relations[mask.column.relation]
    column = next(c for c in relation.columns if c.name == mask.column.column)
    try:
        return guard.mask_value(mask, column, value)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        # A text for a number, say, which the engine would convert.
        return None


def _quoted(name: str, quote: str) -> str:
    return f"{quote}{name.replace(quote, quote * 2)}{quote}"
