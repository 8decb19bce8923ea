"""Running for one guard: starts the flow of what is asked and performs its steps, for synchronous and for asynchronous callers.

All I/O of a statement happens here, one step of `guardrails.flow` at a time: ledger, approvals, counts, engine. The order of the steps
is the flow's; nothing here decides.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from guardrails import flow
from guardrails.asking import Approvals, Asker
from guardrails.drivers import Runner, adrive, drive
from guardrails.engines import Engine, TransactionalEngine, place_of
from guardrails.entries import JSON
from guardrails.errors import LedgerError, UsageError
from guardrails.impact import impact_of
from guardrails.joint import JointOutcomes
from guardrails.judging import Judging
from guardrails.ledger import Ledger, Private
from guardrails.model import ApprovalRequest, Execution, Given, Params, Plan, Result, Statement, Value
from guardrails.rates import RateCounter, rate_key
from guardrails.revealing import run_reveal
from guardrails.sessions import Session, Sessions
from guardrails.transactions import Transaction

__all__ = ["Observer", "Running"]

_LOGGER = logging.getLogger(__name__)
_HERE: Mapping[str, JSON] = MappingProxyType({})

Observer = Callable[[flow.Event], None]
"""Is told how far a statement is."""


class Running:
    """Runs what one guard is asked for. Safe to share between threads and tasks.

    Args:
        judging: Judges it.
        database: Where it runs.
        ledger: Where it is recorded.
        sessions: Say how long a session may go on.
        approvals: How people are asked.
        rates: Counts calls.
        observer: Called with every event.
        scan: Whether the second net looks through what comes back.
        joint: Writes the outcomes of changes in the transactions of the changes themselves; None: after them.
        keep: The names of what is kept beside the tree, of the values that entries commit to.
    """

    def __init__(
        self,
        judging: Judging,
        database: Engine,
        ledger: Ledger,
        sessions: Sessions,
        approvals: Approvals,
        rates: RateCounter,
        *,
        observer: Observer | None = None,
        scan: bool = True,
        joint: JointOutcomes | None = None,
        keep: Collection[str] = (),
    ) -> None:
        self.approvals = approvals
        self.rates = rates
        self.observer = observer
        self.tasks: set[asyncio.Task[Result]] = set()
        self._judging = judging
        self._database = database
        self._place = place_of(database.name)
        self._ledger = ledger
        self._sessions = sessions
        self._scan = scan
        self._joint = joint
        self._keep = frozenset(keep)
        self._transactions: set[Transaction] = set()

    def close(self) -> None:
        """Takes back what open transactions changed, and closes the approvals and the counts."""
        for transaction in list(self._transactions):
            transaction.roll_back()
        self.approvals.close()
        self.rates.close()

    def begin(self) -> Transaction | None:
        """See `Guard.begin`."""
        database = self._database
        if not (isinstance(database, TransactionalEngine) and database.is_transactional) or self._joint is not None:
            return None
        return Transaction(database, self._transactions)

    def execute(self, sql: str, params: Params | None, session: Session, transaction: Transaction | None = None) -> Result:
        """See `Guard.execute`."""
        if transaction is not None:
            with transaction.turn:
                return self.execute(sql, params, replace(session, transaction=transaction))
        return self.drive(self.statement_flow(sql, params, session), session, self.engine_runner(session))

    async def aexecute(self, sql: str, params: Params | None, session: Session) -> Result:
        """See `Guard.aexecute`."""
        steps = await asyncio.to_thread(self.statement_flow, sql, params, session)
        return await self.adrive(steps, session, self.engine_runner(session))

    async def arun_elsewhere(
        self, sql: str, run: Callable[[Plan], Awaitable[object]], session: Session, place: Mapping[str, JSON]
    ) -> object:
        """See `Guard.arun_elsewhere`."""
        steps = await asyncio.to_thread(self.statement_flow, sql, {}, session, is_ours=False, place=place)

        def call(step: flow.Execute) -> Awaitable[object]:
            if step.plan is None:
                raise UsageError("usage.bug", "There is no plan to run.")
            return run(step.plan)

        return (await self.adrive(steps, session, Runner(call, is_bounded=True, is_async=True))).rows[0][0]

    def reveal(self, token: Value, column: str, reason: str, session: Session) -> Value:
        """See `Guard.reveal`."""
        steps = self._reveal_flow(token, column, reason, session)
        return self.drive(steps, session, self.engine_runner(session)).rows[0][0]

    async def areveal(self, token: Value, column: str, reason: str, session: Session) -> Value:
        """See `Guard.areveal`."""
        steps = await asyncio.to_thread(self._reveal_flow, token, column, reason, session)
        return (await self.adrive(steps, session, self.engine_runner(session))).rows[0][0]

    def request_approval(
        self, sql: str, params: Params | None, session: Session, *, is_ours: bool, is_asked: bool
    ) -> ApprovalRequest | None:
        """See `Guard.request_approval`."""
        statement = Statement(sql, params or {}, self._database.dialect)
        judgement = self._judging.displayed(self._judging.judge(statement, session, is_ours=is_ours), session)
        return self._requested(judgement, session, self.database_facts(), is_asked=is_asked)

    def request_action_approval(
        self, name: str, arguments: Mapping[str, Given], session: Session, *, is_asked: bool
    ) -> ApprovalRequest | None:
        """See `Guard.request_action_approval`."""
        return self._requested(self._judging.judge_action(name, arguments, session), session, {}, is_asked=is_asked)

    def statement_flow(
        self,
        sql: str,
        params: Params | None,
        session: Session,
        *,
        is_ours: bool = True,
        place: Mapping[str, JSON] = _HERE,
    ) -> flow.Flow:
        """Judges a statement and returns the steps that are left.

        Args:
            sql: The statement.
            params: Its bound values.
            session: Who asks.
            is_ours: Whether the guard's own engine runs it.
            place: What tells another server that runs it from others.
        """
        statement = Statement(sql, params if params is not None else {}, self._database.dialect)
        judgement = self._judging.displayed(self._judging.judge(statement, session, is_ours=is_ours), session)
        context, transaction = session.context, session.transaction
        if transaction is not None and judgement.plan is not None:
            # Not the transaction itself, so that one which nobody holds any more is gone at once.
            append = functools.partial(self.append, replace(session, transaction=None))
            require_valid = functools.partial(self._sessions.require_valid, replace(session, transaction=None))
            context = transaction.enter(session.principal, context, judgement.decision, append, require_valid)
        return flow.run(judgement, session.principal, context, self.database_facts() | dict(place), scan=self._scan)

    def action_flow(self, name: str, arguments: Mapping[str, Given], session: Session) -> flow.Flow:
        """Returns the steps of an action, judged by its name and arguments."""
        who, display = (session.principal, session.context), self._judging.display(name, arguments)
        return flow.run_action(name, arguments, self._judging.bind(), *who, display, scan=self._scan)

    def engine_runner(self, session: Session) -> Runner:
        """Returns what runs a plan on the guard's own engine."""
        return Runner(functools.partial(self._run_plan, session))

    def drive(self, steps: flow.Flow, session: Session, runner: Runner) -> Result:
        """Performs the steps to the end."""
        return drive(steps, functools.partial(self._perform, session), runner)

    async def adrive(self, steps: flow.Flow, session: Session, runner: Runner) -> Result:
        """Performs the steps without blocking the loop, to the end even when the caller is cancelled: an outcome must follow."""
        task = asyncio.create_task(adrive(steps, functools.partial(self._perform, session), runner))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return await asyncio.shield(task)

    def append(self, session: Session, entry: dict[str, JSON], private: Mapping[str, bytes]) -> str:
        """Makes an entry durable in the ledger, and returns its id.

        Raises:
            LedgerError: It could not be written.
        """
        return self._ledger.append(entry, private=self._private(private, session)).entry_id

    def database_facts(self) -> dict[str, JSON]:
        """Returns what entries and approvals say of the database."""
        role = getattr(self._database, "role", None)
        named = {"name": self._database.name, "dialect": self._database.dialect, "place": self._place}
        return named | ({"role": role} if role else {})

    def asker(self, session: Session) -> Asker:
        """Returns who asks people for something."""
        require_valid = functools.partial(self._sessions.require_valid, session)
        return Asker(session.principal, session.context, self.database_facts(), session.emergency, require_valid)

    def _requested(
        self, judgement: flow.Judgement, session: Session, database: dict[str, JSON], *, is_asked: bool
    ) -> ApprovalRequest | None:
        if judgement.decision.effect != "approve":
            return None
        digest, asker = flow.approval_digest(judgement, session.principal, session.context, database), self.asker(session)
        if not is_asked:
            return self.approvals.open_request(digest, judgement, asker)
        return self.approvals.ask(digest, judgement, asker, functools.partial(impact_of, self._database, judgement.plan))

    def _reveal_flow(self, token: Value, column: str, reason: str, session: Session) -> flow.Flow:
        judgement = self._judging.judge_reveal(token, column, reason, session)
        return run_reveal(judgement, session.principal, session.context, self.database_facts())

    def _private(self, values: Mapping[str, bytes], session: Session) -> dict[str, Private]:
        """What entries commit to, marked with the people that it is about, and kept where that is asked for."""
        if not self._ledger.has_vault:
            return {name: Private(value) for name, value in values.items()}
        return {name: Private(value, name in self._keep, session.subjects) for name, value in values.items()}

    def _run_plan(self, session: Session, step: flow.Execute) -> object:
        plan = step.plan
        if plan is None or plan.lookups:
            raise UsageError("usage.bug", "There is no plan that is ready to run.")
        if self._joint is not None and step.outcome is not None and not plan.is_read_only:
            make = step.outcome

            def outcome(execution: Execution) -> tuple[dict[str, JSON], dict[str, Private]]:
                entry, private = make(execution)
                return entry, self._private(private, session)

            return self._joint.execute(plan, outcome)
        return self._judging.engine_of(session).execute(plan)

    def _perform(self, session: Session, step: flow.Step) -> flow.Answer:
        if _begins(step):
            self._sessions.require_valid(session)
        match step:
            case flow.Append(entry, private):
                return self._appended(session, entry, private)
            case flow.SeekApproval(digest, judgement):
                impact = functools.partial(impact_of, self._judging.engine_of(session), judgement.plan)
                return self.approvals.seek(digest, judgement, self.asker(session), impact)
            case flow.Count(tool, rates):
                return self.rates.take(rate_key(session.principal, tool), rates)
            case flow.Uncount(tool, call):
                self.rates.give_back(rate_key(session.principal, tool), call)
                return None
            case flow.Spend(probes, limit):
                return flow.Spent(*session.budget.spend(probes, limit))
            case flow.Lookup(plan):
                return self._judging.engine_of(session).execute(plan)
            case flow.Notify(event):
                self._tell(event)
                return None
            case _:
                raise UsageError("usage.bug", "An unknown step.")

    def _appended(self, session: Session, entry: dict[str, JSON], private: Mapping[str, bytes]) -> flow.Appended:
        try:
            appended = self._ledger.append(entry, private=self._private(private, session))
        except LedgerError:
            if session.transaction is not None:
                session.transaction.spoil()
            raise
        return flow.Appended(appended.entry_id, appended.index, appended.leaf_hash.hex())

    def _tell(self, event: flow.Event) -> None:
        """Tells the observer. What goes wrong there must neither stop an outcome from being recorded nor hide what happened."""
        try:
            if self.observer:
                self.observer(event)
        except Exception:
            _LOGGER.exception("An observer failed at the stage %s.", event.stage)


def _begins(step: flow.Step) -> bool:
    """Tells whether something starts with a step, as opposed to being told how it ended."""
    return isinstance(step, (flow.SeekApproval, flow.Count, flow.Spend, flow.Lookup)) or (
        isinstance(step, flow.Append) and step.entry["type"] == "intent"
    )
