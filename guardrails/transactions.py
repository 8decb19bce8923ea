"""Transactions: changes that are kept or taken back together, and a ledger that never calls done what was taken back.

Nothing is held before the first change: until then each statement runs as it does without a transaction. The first change begins the
database's transaction and an intent of its own, the action ``transaction``; the outcome of that intent says how all of it ended. The
outcomes of the changes in between have the status ``uncommitted``, and each names the transaction and its number in it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeAlias, cast

from guardrails.displaying import NO_ARGUMENTS
from guardrails.engines import Engine, TransactionalEngine, Work
from guardrails.entries import JSON, action_entry, outcome_entry
from guardrails.errors import EngineError, GuardrailsError, UsageError
from guardrails.model import Catalog, Context, Decision, DialectName, Execution, InTransaction, Plan, Principal

__all__ = ["Append", "Transaction"]

Append: TypeAlias = Callable[[dict[str, JSON], Mapping[str, bytes]], str]
"""Makes an entry durable in the ledger, and returns its id."""


class Transaction:
    """One transaction of a guard's database, in the name of one session; an engine to whoever runs statements in it.

    Safe to share between threads: statements take turns. After `commit` or `roll_back` the next change begins another.

    As a context manager it commits, or rolls back after an error.

    Args:
        engine: The database.
        begun: Holds the transaction while anything is neither kept nor taken back, so that none ends unrecorded.
    """

    def __init__(self, engine: Engine, begun: set[Transaction]) -> None:
        self._engine = engine
        self._begun_ones = begun
        self._turn = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._work: Work | None = None
        self._is_spoilt = False
        self._id = uuid.uuid4().hex
        self._count = 0
        self._owner: tuple[str, Append] | None = None
        self._first: Callable[[], dict[str, JSON]] | None = None
        self._require_valid: Callable[[], None] = lambda: None
        self._intent = ""
        self._changed: dict[int, int] = {}
        self._saved: dict[str, int] = {}

    @property
    def dialect(self) -> DialectName:
        return self._engine.dialect

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def turn(self) -> threading.RLock:
        """Whoever runs a statement in it holds this from before it is judged until its outcome is recorded."""
        return self._turn

    @property
    def is_begun(self) -> bool:
        """Whether anything was changed that is neither kept nor taken back yet."""
        return self._work is not None

    def enter(
        self,
        principal: Principal,
        context: Context,
        decision: Decision,
        append: Append,
        require_valid: Callable[[], None] = lambda: None,
    ) -> Context:
        """Gives a statement that is about to run its number.

        Args:
            principal: On whose behalf.
            context: The statement's.
            decision: The statement's; a change, or anything after one.
            append: Records in the statement's session.
            require_valid: Raises once that session may not go on; nothing is kept then.

        Returns:
            The context with its place in the transaction; unchanged for what reads before the first change.

        Raises:
            UsageError: The transaction is another session's (usage.other_session).
        """
        is_change = decision.access is not None and not decision.access.is_read_only
        if self._work is None and not is_change:
            return context
        if self._work is None:
            saved = self._saved
            self._forget()
            self._saved, self._owner, self._require_valid = saved, (context.session_id, append), require_valid
            plain = replace(context, tool_call_id=None)
            allowed = Decision("allow", policy_digest=decision.policy_digest)
            self._first = lambda: action_entry("transaction", NO_ARGUMENTS, allowed, principal, plain, None)[0]
        elif self._owner is None or self._owner[0] != context.session_id:
            raise UsageError("usage.other_session", "The transaction was begun in another session.")
        self._count += 1
        return replace(context, transaction=InTransaction(self._id, self._count, is_change))

    def catalog(self) -> Catalog:
        """Returns the schema as the transaction sees it."""
        return (self._work or self._engine).catalog()

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan, in the database's transaction once anything was changed or is to be."""
        if plan.is_read_only or plan.is_explain:
            return (self._work or self._engine).execute(plan)
        execution = self._begun().execute(plan)
        self._changed[self._count] = execution.rows_changed
        return execution

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan and takes back what it did; in the database's transaction where one is open, whose locks it would wait for."""
        return (self._work or self._engine).rehearse(plan)

    def dispose(self) -> None:
        """The engine is the guard's."""

    def spoil(self) -> None:
        """Lets nothing be kept any more: what ran could not be recorded."""
        self._is_spoilt = True

    def save(self, name: str) -> None:
        """Sets a savepoint; before the first change there is nothing to save."""
        with self._turn:
            if self._work is not None:
                self._work.save(_inner(name))
            self._saved[name] = self._count if self._work is not None else 0

    def roll_back_to(self, name: str) -> None:
        """Takes back everything since a savepoint, on record.

        Raises:
            UsageError: There is no such savepoint (usage.input_invalid).
        """
        with self._turn:
            saved = self._known(name)
            if self._work is None:
                return
            if saved == 0:
                # It was set before anything changed.
                before = {other: 0 for other, count in self._saved.items() if count == 0}
                self.roll_back()
                self._saved = before
                return
            self._work.roll_back_to(_inner(name))
            undone = sorted(number for number in self._changed if number > saved)
            for number in undone:
                del self._changed[number]
            self._saved = {other: count for other, count in self._saved.items() if count <= saved or other == name}
            if undone:
                place: dict[str, JSON] = {"id": self._id, "from": saved + 1, "to": self._count}
                self._recorded({"type": "transaction.rolled_back", "transaction": place})

    def release(self, name: str) -> None:
        """Lets go of a savepoint; what happened since stays."""
        with self._turn:
            saved = self._known(name)
            if self._work is not None and saved:
                self._work.release(_inner(name))
            del self._saved[name]

    def commit(self) -> None:
        """Keeps what was changed; does nothing when nothing was.

        Raises:
            EngineError: The database could not: everything is taken back, or nobody knows (engine.unknown_outcome). Recorded.
            IdentityError: The principal's token has expired meanwhile (identity.token_expired); everything is taken back.
            LedgerError: The end could not be recorded.
        """
        with self._turn:
            work = self._work
            if work is None:
                return
            if self._is_spoilt:
                self.roll_back()
                raise EngineError("engine.failed", "Something could not be recorded, so everything was taken back.")
            try:
                self._require_valid()
            except GuardrailsError:
                self.roll_back()
                raise
            try:
                work.commit()
            except GuardrailsError as error:
                self._end(self._outcome("error") | outcome_entry(self._intent, self._context(), error=error)[0])
                raise
            self._end(self._outcome("ok") | {"rows_changed": sum(self._changed.values())})

    def roll_back(self) -> None:
        """Takes back what was changed; does nothing when nothing was.

        Raises:
            LedgerError: The end could not be recorded.
        """
        with self._turn:
            if self._work is not None:
                try:
                    self._work.roll_back()
                finally:
                    # A connection that is lost has rolled back as well.
                    self._end(self._outcome("rolled_back"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.commit()
        else:
            self.roll_back()

    def let_go(self) -> None:
        """Takes back what was changed, in a thread: for where nothing can be waited for, such as in the midst of collecting garbage."""
        if self.is_begun:
            threading.Thread(target=self.roll_back, name="guardrails-rollback").start()

    def _begun(self) -> Work:
        if self._work is None:
            if self._first is None:
                raise UsageError("usage.bug", "Nobody entered the transaction.")
            # The intent is durable before the database's transaction begins.
            self._intent = self._recorded(self._first() | {"transaction": {"id": self._id}})
            try:
                self._work = cast(TransactionalEngine, self._engine).begin()
            except GuardrailsError as error:
                self._recorded(outcome_entry(self._intent, self._context(), error=error)[0])
                raise
            self._begun_ones.add(self)
        return self._work

    def _known(self, name: str) -> int:
        if name not in self._saved:
            raise UsageError("usage.input_invalid", "There is no such savepoint.")
        return self._saved[name]

    def _context(self) -> Context:
        return Context(session_id=self._owner[0] if self._owner else "")

    def _outcome(self, status: str) -> dict[str, JSON]:
        place: dict[str, JSON] = {"id": self._id, "statements": self._count}
        session = self._context().session_id
        return {"type": "outcome", "session": session, "intent": self._intent, "status": status, "transaction": place}

    def _end(self, entry: dict[str, JSON]) -> None:
        try:
            self._recorded(entry)
        finally:
            self._begun_ones.discard(self)
            self._forget()

    def _recorded(self, entry: dict[str, JSON]) -> str:
        if self._owner is None:
            raise UsageError("usage.bug", "Nobody entered the transaction.")
        session, append = self._owner
        return append(entry | {"session": session}, {})


def _inner(name: str) -> str:
    """A name that no other savepoint has, of nothing but letters, digits and underscores."""
    return f"guardrails_{name.encode().hex()}"
