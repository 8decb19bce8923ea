"""MySQL and MariaDB: one transaction for several plans, each inside a savepoint and under the same lock-down as alone.

The transaction may write, and no savepoint takes back everything: not what a stored function behind a view writes to a table without
transactions, nor the numbers of a sequence. So before a read runs, a second session opens what it reads, in a transaction that is READ
ONLY: the server refuses there what could write, and what a view means cannot change as long as that session holds it. The same session
ends a read whose rest nobody wants (KILL QUERY). Reading on instead would take as long as the result is large, up to the time limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import pymysql

from guardrails.engines.base import require_rehearsable
from guardrails.engines.interrupting import interruptible
from guardrails.engines.mysql_connections import RowStream, Session
from guardrails.engines.mysql_failures import is_interrupted, is_lost
from guardrails.engines.mysql_running import (
    CATALOG_S,
    Known,
    change,
    changed_by,
    commit,
    explained,
    finish,
    known_now,
    lock_relations,
    read,
    require_version,
    text_of,
    translated,
)
from guardrails.errors import EngineError, UsageError
from guardrails.model import Catalog, Execution, Plan

__all__ = ["MysqlWork"]

_SAVEPOINT = "guardrails_plan"


class MysqlWork:
    """An open transaction (see `guardrails.engines.base.Work`).

    Args:
        lend: Lends the session, until the transaction ends.
        lend_watcher: Lends a second one to the same server for the time of a read; of another pool, so that transactions which hold
            all sessions of the first do not wait for each other.
        known: The schema as last read.
        explain: Runs a plan that asks how a statement would run, which needs nothing of this transaction.
    """

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[Session]],
        lend_watcher: Callable[[], AbstractContextManager[Session]],
        known: Known,
        explain: Callable[[Plan], Execution],
    ) -> None:
        self._lend_watcher = lend_watcher
        self._known = known
        self._explain = explain
        self._turn = threading.Lock()
        self._is_ended = False
        with ExitStack() as stack:
            session = stack.enter_context(lend())
            # Ends whatever the beginning leaves open.
            stack.callback(finish, session)
            with translated():
                session.prepare(seconds=CATALOG_S, is_read_only=False)
                session.isolate()
                session.execute("START TRANSACTION READ WRITE")
                # Once the server has ended the transaction, what comes after it can change nothing.
                session.allow_changes(False)
                self._place = _place(session)
                self._thread = int(session.rows("SELECT CONNECTION_ID()")[0][0])
            self._session = session
            self._stack = stack.pop_all()

    def catalog(self) -> Catalog:
        """Returns the schema as it is now, which no transaction of theirs can change."""
        with self._turn, translated():
            self._require_open()
            return self._known_now().catalog

    def execute(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down, inside a savepoint."""
        return self._perform(plan, is_kept=not plan.is_read_only)

    def rehearse(self, plan: Plan) -> Execution:
        """Runs a plan under lock-down and takes back what it did."""
        require_rehearsable(plan)
        return self._perform(plan, is_kept=False)

    def save(self, name: str) -> None:
        self._say(f"SAVEPOINT {name}")

    def roll_back_to(self, name: str) -> None:
        self._say(f"ROLLBACK TO SAVEPOINT {name}")

    def release(self, name: str) -> None:
        self._say(f"RELEASE SAVEPOINT {name}")

    def commit(self) -> None:
        with self._turn:
            try:
                with translated():
                    self._require_open()
                commit(self._session)
            finally:
                self._end()

    def roll_back(self) -> None:
        with self._turn:
            if not self._is_ended:
                self._end()

    def _perform(self, plan: Plan, *, is_kept: bool) -> Execution:
        if plan.dialect != "mysql":
            raise UsageError("usage.bug", "The plan is for another engine.")
        if plan.is_explain:
            return self._explain(plan)
        started = time.perf_counter()
        with self._turn, translated():
            self._require_open()
            known = self._known if self._known.serves(plan) else self._known_now()
            text = text_of(plan, known)
            with self._savepoint(is_kept=is_kept):
                self._session.configure(plan.limits.seconds)
                if plan.is_read_only:
                    execution = self._read(plan, text, known, started + plan.limits.seconds)
                else:
                    execution = self._change(plan, text, known, is_rehearsal=not is_kept)
        return replace(execution, duration_ms=(time.perf_counter() - started) * 1000)

    def _known_now(self) -> Known:
        self._session.configure(CATALOG_S)
        self._known = known_now(self._session, self._known)
        return self._known

    def _change(self, plan: Plan, text: str, known: Known, *, is_rehearsal: bool) -> Execution:
        session = self._session
        with explained(session, plan, known):
            lock_relations(session, plan, known)
            require_version(session, plan, known)
            execution = change(session, plan, text, known.catalog, is_rehearsal=is_rehearsal)
        return replace(execution, changed_by=changed_by(plan, execution.rows_changed)) if is_rehearsal else execution

    def _read(self, plan: Plan, text: str, known: Known, deadline: float) -> Execution:
        session = self._session
        with self._watched(plan, text, known) as end:

            def leave(stream: RowStream) -> None:
                try:
                    end()
                finally:
                    stream.drain()

            lock_relations(session, plan, known)
            require_version(session, plan, known)
            with interruptible(end):
                return read(session, plan, text, deadline, leave)

    @contextmanager
    def _watched(self, plan: Plan, text: str, known: Known) -> Iterator[Callable[[], None]]:
        """Lets the server judge a read before it runs, in a session that may only read; gives what ends the read.

        The text stands there as a subquery behind WHERE FALSE, which only a query can, and no rows are locked.
        """
        turn = threading.Lock()
        with self._lend_watcher() as watcher, explained(self._session, plan, known):
            watcher.prepare(seconds=plan.limits.seconds, is_read_only=True)
            if _place(watcher) != self._place:
                raise EngineError("engine.refused", "Reads in a transaction need a second connection to the same server.")

            def end() -> None:
                with turn, translated():
                    watcher.execute(f"KILL QUERY {self._thread}")

            watcher.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            watcher.execute("START TRANSACTION READ ONLY")
            try:
                lock_relations(watcher, plan, known)
                watcher.execute(f"SELECT 1 FROM DUAL WHERE FALSE AND EXISTS (\n{text}\n)")  # noqa: S608 - the plan's own
                yield end
            finally:
                finish(watcher)

    @contextmanager
    def _savepoint(self, *, is_kept: bool) -> Iterator[None]:
        """Keeps what happens inside if it ends well and is to be kept; takes it back otherwise."""
        self._session.execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            yield
        except EngineError as error:
            if self._is_left(is_kept=False) or error.code == "engine.unknown_outcome":
                raise
            message = f"{error.message} The whole transaction was taken back."
            raise type(error)(error.code, message, hint=error.hint, evidence=error.evidence) from error
        except BaseException:
            self._is_left(is_kept=False)
            raise
        if not self._is_left(is_kept=is_kept):
            raise EngineError("engine.unknown_outcome", "The statement ended the transaction that it ran in.")

    def _is_left(self, *, is_kept: bool) -> bool:
        """Leaves the savepoint; returns whether the transaction is still there."""
        if not self._is_open():
            return False
        try:
            if not is_kept:
                self._session.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            self._session.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        except pymysql.MySQLError:
            self._session.is_spoilt = True
            raise
        return True

    def _is_open(self) -> bool:
        """Asks the server whether the transaction is still there; after a deadlock, for instance, it is not."""
        if self._is_ended or self._session.is_spoilt or not self._session.connection.open:
            return False
        try:
            try:
                self._session.lift_time_limit()
            except pymysql.MySQLError as error:
                if not is_interrupted(error):
                    raise
                # Meant for a read that had just ended.
                self._session.lift_time_limit()
        except pymysql.MySQLError as error:
            self._session.is_spoilt = True
            if is_lost(error):
                return False
            raise
        return self._session.is_in_transaction

    def _require_open(self) -> None:
        if not self._is_open():
            raise EngineError("engine.failed", "The transaction is over.")

    def _say(self, text: str) -> None:
        with self._turn, translated():
            self._require_open()
            self._session.execute(text)

    def _end(self) -> None:
        """Rolls back what is still open and gives the session back."""
        self._is_ended = True
        self._stack.close()


def _place(session: Session) -> tuple[object, ...]:
    """The server behind a session, and its database."""
    return tuple(session.rows("SELECT DATABASE(), @@hostname, @@port, @@server_id")[0])
