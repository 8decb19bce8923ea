"""`Guard`: what a program calls.

What it is asked is judged in `guardrails.judging` and run in `guardrails.running`; sessions are kept in `guardrails.sessions`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import sqlalchemy as sa

from guardrails.approval import ApprovalDesk
from guardrails.approval.place import Place
from guardrails.arguments import Arguments
from guardrails.asking import Approvals, database_label
from guardrails.conversation import message_entry
from guardrails.decorating import Decorators, Guardable
from guardrails.engines import Engine, open_engine
from guardrails.entries import JSON
from guardrails.errors import Denied, UsageError
from guardrails.functions import Functions
from guardrails.identity.agents import AgentKey
from guardrails.identity.registry import AgentRegistry
from guardrails.joint import JointOutcomes
from guardrails.judging import Judging
from guardrails.ledger import Ledger
from guardrails.masking import MaskKeyring, mask_value, sqlite_functions
from guardrails.model import (
    ApprovalRequest,
    Column,
    Context,
    Decision,
    Mask,
    MaskExpression,
    Params,
    Plan,
    Principal,
    Result,
    Runtime,
    Statement,
    Value,
)
from guardrails.opening import Asked, open_surroundings
from guardrails.policy import BoundPolicy, Policy, SeenRelation, seen, terms_of
from guardrails.rates import RateCounter
from guardrails.running import Observer, Running
from guardrails.sessions import Session, Sessions
from guardrails.transactions import Transaction

__all__ = ["Guard", "Session"]

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class Guard:
    """Guards one database: every statement is judged, recorded, run under lock-down, scanned and recorded again.

    Open it with `Guard.open`; use it as a context manager or call `close`. Safe to share between threads and tasks: the session
    is a context variable, so each thread or task sees its own.
    """

    def __init__(
        self,
        policy: Policy,
        database: Engine,
        ledger: Ledger,
        approvals: Approvals,
        keyring: MaskKeyring,
        *,
        rates: RateCounter | None = None,
        observer: Observer | None = None,
        scan: bool = True,
        crosscheck: bool = False,
        joint: JointOutcomes | None = None,
        keep: Collection[str] = (),
        agents: AgentRegistry | None = None,
    ) -> None:
        self.policy = policy
        self.database = database
        self.ledger = ledger
        self._sessions = Sessions(ledger, agents)
        self._judging = Judging(policy, database, keyring, is_cross_checked=crosscheck)
        self._running = Running(
            self._judging,
            database,
            ledger,
            self._sessions,
            approvals,
            rates or RateCounter(Place(None)),
            observer=observer,
            scan=scan,
            joint=joint,
            keep=keep,
        )
        self._functions = Functions(self._sessions, self._running)
        self._decorators = Decorators(self._functions.tool_calling, self._functions.action_calling)

    @classmethod
    def open(
        cls,
        policy: str | Path | Policy,
        *,
        database: str | sa.Engine | AsyncEngine | Engine,
        ledger: str | Ledger,
        approvals: Asked = None,
        observer: Observer | None = None,
        unsafe_without_scan: bool = False,
        crosscheck: bool = False,
        joint_outcomes: bool = False,
        state: str | Path | None = None,
        keep: Collection[str] = (),
        agents: AgentRegistry | str | Path | None = None,
    ) -> Guard:
        """Opens everything a guard needs and checks that the pieces fit together.

        Args:
            policy: Path of the policy file, or a `Policy`.
            database: URL (`sqlite:///shop.db`, `postgresql://…`), or an engine of SQLAlchemy's or of ours.
            ledger: URL of the ledger (`sqlite:///audit.db`), created when missing, or an open `Ledger`.
            approvals: How people are asked: a channel, its name (``console``, ``wait``, ``webhook+https://…``; see docs/channels.md),
                or several. None means that callers get `ApprovalRequired` and try again after `approve`.
            observer: Called with every `flow.Event`, for progress display. It must not raise.
            unsafe_without_scan: Switches the second net over results off.
            crosscheck: PostgreSQL's own parser must agree about every statement; needs the extra `crosscheck`.
            joint_outcomes: Write the outcome of every change in the transaction of the change itself: both happen or neither, so
                no crash leaves a change whose outcome is unknown. Database and ledger must be the same PostgreSQL database.
            state: The path beside which approvals (``.approvals``) and mask keys lie; the ledger's own file by default. A ledger in
                a server keeps the approvals with it, and needs a path for the mask keys.
            keep: Which of the values that entries commit to are kept too, sealed, beside the tree: of ``sql``, ``params``,
                ``executed``, ``result``, ``arguments`` and ``message``. `Ledger.kept` returns them; erasure destroys them.
            agents: The agents that may act, or the path of their file: each has to show its key. None: any may, by name.

        Returns:
            The open guard. Intents that a crashed process left without outcome are now marked unknown in the ledger.

        Raises:
            PolicyError: The policy is invalid or names what the database does not have.
            UsageError: A URL or file is wrong, or the database cannot be reached.
            LedgerError: The ledger cannot be opened or written.
        """
        loaded = policy if isinstance(policy, Policy) else Policy.load(policy)
        engine = cast(Engine, database) if hasattr(database, "catalog") else open_engine(database)
        log = ledger if isinstance(ledger, Ledger) else Ledger.open(ledger)
        known = AgentRegistry.load(agents) if isinstance(agents, (str, Path)) else agents
        log.recover()
        around = open_surroundings(log, approvals, state)
        guard = cls(
            loaded,
            engine,
            log,
            around.approvals,
            around.keyring,
            rates=around.rates,
            observer=observer,
            scan=not unsafe_without_scan,
            crosscheck=crosscheck,
            joint=JointOutcomes.of(engine, log) if joint_outcomes else None,
            keep=keep,
            agents=known,
        )
        guard.bound_policy()
        return guard

    def close(self) -> None:
        """Takes back what open transactions changed, and closes the ledger, the approvals and the engine's connections."""
        self._running.close()
        self.ledger.close()
        self.database.dispose()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def session(
        self,
        *,
        principal: Principal,
        agent: str | None = None,
        model: str | None = None,
        purpose: str | None = None,
        conversation_id: str | None = None,
        agent_version: str | None = None,
        agent_instance: str | None = None,
        agent_key: AgentKey | None = None,
        subjects: Collection[str] = (),
    ) -> Iterator[Session]:
        """Puts a principal, an agent and a purpose in force for the calls inside; recorded in the ledger.

        The agent is the one that the principal's token names as acting (`act`), if it names one; `agent` may then be left out. With
        `agent_key` the agent proves itself: its signature over the session's facts stands in the entry that introduces the session.
        `subjects` names the people that the work is about, such as a customer's id: `Ledger.erase_subject` of one of them, or of
        the principal, destroys what the entries commit to.

        Raises:
            IdentityError: The principal has no id or has expired; its token or the key names another agent; the agent has to show a
                key and has not.
            PolicyError: The purpose is not declared in the policy.
        """
        self.bound_policy().require_purpose(purpose)
        context = Context(
            agent, model, purpose, "", conversation_id, agent_version=agent_version, agent_instance=agent_instance
        )
        session = self._sessions.make(self.policy, principal, context, agent_key=agent_key, subjects=subjects)
        try:
            with self._sessions.in_force(session):
                yield session
        finally:
            self._sessions.forget(session)

    @contextmanager
    def calling(
        self, runtime: Runtime, principal: Principal | None = None, *, agent_key: AgentKey | None = None
    ) -> Iterator[None]:
        """Puts in force, for the calls inside, what an agent framework tells of a call; integrations use it.

        In a session it fills what the session leaves open: agent, model, conversation, purpose. Without one, a principal that the
        framework's context brings along has a session of its own, the same for all calls of its conversation.

        Args:
            runtime: What the framework tells.
            principal: Whom its context names; None when it names nobody.
            agent_key: Of the agent that makes the calls, which proves itself when a session is opened here.

        Raises:
            IdentityError: The session is another person's (identity.principal_mismatch), or none can be opened for the principal.
            PolicyError: The purpose is not declared in the policy.
        """
        session = self._sessions.active
        if session is None and principal is None:
            # Whatever is called says that there is no session, in its own way.
            yield
            return
        if runtime.purpose is not None:
            self.bound_policy().require_purpose(runtime.purpose)
        if session is None and principal is not None:
            context = Context(runtime.agent, runtime.model, runtime.purpose, "", runtime.conversation_id)
            session = self._sessions.shared(self.policy, principal, context, agent_key)
        with self._sessions.in_force(self._sessions.refined(cast(Session, session), runtime, principal)):
            yield

    def check(self, sql: str, params: Params | None = None, *, tool: str | None = None) -> Decision:
        """Decides about a statement in the current session; runs nothing and records nothing.

        `tool` is the one through which it would come, of which rules may speak.
        """
        session = self._sessions.current(tool, is_recorded=False)
        return self._judging.judge(Statement(sql, params or {}, self.database.dialect), session).decision

    def begin(self) -> Transaction | None:
        """Begins a transaction for statements that are given it, which are then kept or taken back together.

        Returns:
            The transaction, of whichever session first changes something in it. None where each change is committed by itself: on
            DuckDB, on an SQLite, MariaDB or MySQL database with one connection for all, with `joint_outcomes`.
        """
        return self._running.begin()

    def engine(self, url: str | sa.URL | None = None, *, tool: str = "sqlalchemy") -> sa.Engine:
        """Returns an SQLAlchemy engine whose every statement goes through this guard; see `guardrails.adapters.alchemy`.

        Args:
            url: Of this guard's own database, to say which one is meant. None: that database.
            tool: The name under which statements are recorded.

        Raises:
            UsageError: The URL is of another database (usage.other_database): open a guard for that one.
        """
        from guardrails.adapters.alchemy import guarded_engine

        return guarded_engine(self, url, tool=tool)

    def async_engine(self, url: str | sa.URL | None = None, *, tool: str = "sqlalchemy") -> AsyncEngine:
        """As `engine`, for asyncio."""
        from guardrails.adapters.alchemy import guarded_async_engine

        return guarded_async_engine(self, url, tool=tool)

    def install(self, engine: sa.Engine | AsyncEngine, *, tool: str = "sqlalchemy") -> None:
        """Puts this guard into an engine that an application has already: every statement on it is guarded from now on.

        Raises:
            UsageError: The engine is of another database (usage.other_database), or connections of it are in use
                (usage.connections_in_use).
        """
        from guardrails.adapters.alchemy import install

        install(self, engine, tool=tool)

    def seen(self) -> tuple[SeenRelation, ...]:
        """Returns what of the schema the session's principal may see, and how; runs nothing and records nothing.

        Inside of `offering` no more than is offered.
        """
        session = self._sessions.current(is_recorded=False)
        found = seen(self.bound_policy(), session.principal, session.context)
        return found if session.offered is None else tuple(relation for relation in found if relation.key in session.offered)

    def bound_policy(self) -> BoundPolicy:
        """Returns the policy, held against the schema as it is now: the one that decides."""
        return self._judging.bind()

    def execute(
        self,
        sql: str,
        params: Params | None = None,
        *,
        tool: str | None = None,
        tool_call_id: str | None = None,
        transaction: Transaction | None = None,
    ) -> Result:
        """Judges, records and runs one statement.

        Args:
            sql: One statement, as the agent wrote it.
            params: Bound values, by name or by position.
            tool: Name of the tool through which it came, for the ledger.
            tool_call_id: The framework's id of the call, for the ledger.
            transaction: From `begin`: what it runs in. None: a transaction of its own, which is committed.

        Returns:
            Rows, columns and the receipt.

        Raises:
            Denied: Refused; `for_model()` says what to change.
            ApprovalRequired: A person has to approve first; run the same again afterwards.
            EngineError: The database failed; recorded.
            LedgerError: The ledger could not be written; nothing ran, or the rows are withheld.
        """
        return self._running.execute(sql, params, self._sessions.current(tool, tool_call_id), transaction)

    async def aexecute(
        self, sql: str, params: Params | None = None, *, tool: str | None = None, tool_call_id: str | None = None
    ) -> Result:
        """As `execute`, without blocking the event loop. A cancelled caller does not cancel the recording of the outcome."""
        return await self._running.aexecute(sql, params, self._sessions.current(tool, tool_call_id))

    def call_tool(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        *,
        sql_argument: str = "sql",
        params_argument: str | None = None,
        tool: str | None = None,
        tool_call_id: str | None = None,
        injected: Collection[str] = (),
        in_thread: bool = False,
    ) -> object:
        """Calls a function that runs SQL itself, with the regenerated statement in place of the agent's.

        Args:
            function: The function; one whose body is only `...` is not called: the guard runs the statement on its own engine.
            arguments: Keyword arguments of the call.
            sql_argument: The argument that holds the SQL.
            params_argument: The argument that takes bound values, None if it has none.
            tool: Name for rules and the ledger.
            tool_call_id: The framework's id of the call, for the ledger.
            injected: Names of the arguments that a framework fills in, and not the model: they are neither judged nor recorded.
            in_thread: Run it in a thread of its own, where it can be left when its time is over. In the caller's thread the guard
                learns only afterwards that it took too long.

        Returns:
            What the function returned, scanned; a list of dictionaries when the guard ran it.

        Raises:
            As `execute`, and EngineError for what takes longer or returns more than the limits allow. An exception of the
            function becomes an EngineError with the original as its cause, since a driver's error text may hold data.
        """
        return self._functions.call_tool(
            function, arguments, sql_argument, params_argument, tool, tool_call_id, injected, in_thread
        )

    async def acall_tool(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        *,
        sql_argument: str = "sql",
        params_argument: str | None = None,
        tool: str | None = None,
        tool_call_id: str | None = None,
        injected: Collection[str] = (),
    ) -> object:
        """As `call_tool`; `function` may be a coroutine function or an async generator function."""
        return await self._functions.acall_tool(
            function, arguments, sql_argument, params_argument, tool, tool_call_id, injected
        )

    async def arun_elsewhere(
        self,
        sql: str,
        run: Callable[[Plan], Awaitable[object]],
        *,
        place: Mapping[str, JSON],
        tool: str | None = None,
        tool_call_id: str | None = None,
    ) -> object:
        """Has a statement run by another server, which this guard's database stands for: judged, recorded and scanned as any other.

        Args:
            sql: One statement, as the agent wrote it.
            run: Runs the plan there and returns what came back: lists, dictionaries and plain values.
            place: What tells that server and the way to it from others; recorded, and bound by an approval.
            tool: Name for the ledger.
            tool_call_id: The framework's id of the call, for the ledger.

        Returns:
            What `run` returned, scanned.

        Raises:
            As `execute`, and what `run` raises.
        """
        return await self._running.arun_elsewhere(sql, run, self._sessions.current(tool, tool_call_id), place)

    def call_action(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        *,
        name: str,
        tool_call_id: str | None = None,
        in_thread: bool = False,
    ) -> object:
        """Calls a function that is not SQL under the policy's rules for the action `name`; recorded before and after.

        The function gets a copy of the arguments, taken before they are judged. See `call_tool` for `in_thread`.

        Returns:
            What the function returned, scanned.

        Raises:
            Denied: No rule allows the action.
            ApprovalRequired: A person has to approve first.
            EngineError: It took longer, or returned more, than the limits allow.
            LedgerError: The ledger could not be written.
        """
        return self._functions.call_action(function, arguments, name, tool_call_id, in_thread)

    async def acall_action(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        *,
        name: str,
        tool_call_id: str | None = None,
    ) -> object:
        """As `call_action`; `function` may be a coroutine function or an async generator function."""
        return await self._functions.acall_action(function, arguments, name, tool_call_id)

    def reveal(self, token: Value, *, column: str, reason: str) -> Value:
        """Resolves a token of a column, for a person whom the policy lets; recorded before and after.

        Args:
            token: What a `pseudonym` or `hash` showed, also under an earlier mask key.
            column: The protected column, as ``relation.column``.
            reason: Why, for who approves; the ledger commits to it.

        Returns:
            The value, among the rows that the principal may see.

        Raises:
            Denied: The policy does not allow it (``mask.reveal_denied``), or no value or several have the token
                (``mask.token_unknown``).
            ApprovalRequired: A person has to approve first; ask again with the same reason afterwards.
            UsageError: There is no reason.
        """
        return self._running.reveal(token, column, reason, self._sessions.current())

    async def areveal(self, token: Value, *, column: str, reason: str) -> Value:
        """As `reveal`, without blocking the event loop."""
        return await self._running.areveal(token, column, reason, self._sessions.current())

    @overload
    def tool(self, function: Guardable, /) -> Guardable: ...
    @overload
    def tool(
        self, function: None = None, /, *, sql: str | None = None, name: str | None = None, in_thread: bool = False
    ) -> Callable[[Guardable], Guardable]: ...
    def tool(self, function: Any = None, /, *, sql: str | None = None, name: str | None = None, in_thread: bool = False) -> Any:
        """Decorates a function or method that takes SQL: sync, async and generator functions.

        The function receives the regenerated statement and, if it has a parameter for them (`params`), the bound values: masks
        and row filters bind some, so a function without it is refused where they hold. On a SQLite connection of its own it
        registers the masks first (`register_masks`). A function whose body is only `...` is run by the guard on its own engine,
        under its lock-down. See docs/functions.md.

        Args:
            function: The function.
            sql: Name of the argument that holds the SQL; found by name or by the annotation `Sql` when None.
            name: Tool name for rules and the ledger; the function's name when None.
            in_thread: Run it in a thread of its own, where it can be left when its time is over; see `call_tool`.

        Raises:
            UsageError: No argument holds SQL, or the name is unusable or taken (``usage.tool_unguardable``).
        """
        if function is None:
            return lambda decorated: self._decorators.tool(decorated, sql, name, in_thread)
        return self._decorators.tool(function, sql, name, in_thread)

    @overload
    def action(self, name: str, /, *, in_thread: bool = False) -> Callable[[Guardable], Guardable]: ...
    @overload
    def action(self, function: Guardable, /) -> Guardable: ...
    def action(self, name: Any, /, *, in_thread: bool = False) -> Any:
        """Decorates any other agent action; the name (such as ``email.send``) is what policy rules allow.

        Without a name, as `@guard.action` alone, it is the function's own. Of a class every public method becomes an action,
        named ``name.method``; calling an instance has the name itself. See docs/functions.md.

        Raises:
            UsageError: The name is unusable or taken, or a class has no public methods (``usage.tool_unguardable``).
        """
        if isinstance(name, str):
            return lambda decorated: self._decorators.action(decorated, name, in_thread)
        return self._decorators.action(name, None, in_thread)

    @property
    def database_label(self) -> str:
        """Which database it guards, for people: its name, without credentials, and the role that statements run as."""
        return database_label(self._running.database_facts())

    @property
    def desk(self) -> ApprovalDesk:
        """Where requests wait and people answer: their votes, grants given ahead, and reviews of emergencies."""
        return self._running.approvals.desk

    @contextmanager
    def break_glass(self, reason: str) -> Iterator[None]:
        """Lets what waits for approval run at once inside, where the policy lets this principal: loudly, with a review afterwards.

        Args:
            reason: What the emergency is; whoever reviews it reads it.

        Raises:
            UsageError: There is no reason, or no session. What may not go ahead raises Denied (approval.break_glass) when it is run.
        """
        if not reason.strip():
            raise UsageError("usage.input_invalid", "Who breaks the glass has to say why.")
        with self._sessions.in_force(replace(self._sessions.current(), emergency=reason.strip())):
            yield

    @contextmanager
    def offering(self, relations: Collection[str]) -> Iterator[None]:
        """Refuses, for the statements inside, whatever names another relation, and reading the description of the schema.

        A way in that offers only some tables uses it. It permits nothing that the policy does not; inside of another it narrows on.

        Args:
            relations: Keys of the relations, as `seen` gives them.

        Raises:
            UsageError: There is no session (``usage.no_session``).
        """
        session = self._sessions.current(is_recorded=False)
        offered = frozenset(relations) if session.offered is None else session.offered.intersection(relations)
        with self._sessions.in_force(replace(session, offered=offered)):
            yield

    def request_window(self, rule: str, *, seconds: int, reason: str) -> ApprovalRequest:
        """Asks for a grant ahead: for whatever a rule asks approval for, in this session's name, for a time.

        Args:
            rule: The rule's id; its `approval` needs a `window`.
            seconds: For how long.
            reason: What for; approvers read it.

        Returns:
            The request; once it is approved, the rule's statements run without asking until the time is over.

        Raises:
            Denied: The policy lets none be given like this (approval.window), somebody said no, or nobody can be asked.
            UsageError: There is no reason.
        """
        if not reason.strip():
            raise UsageError("usage.input_invalid", "A reason has to be given.")
        terms = terms_of(rule, self.bound_policy())
        if terms is None:
            raise Denied("approval.window", "No rule with this id asks for approval.")
        asker = self._running.asker(self._sessions.current())
        return self._running.approvals.ask_ahead(rule, terms, seconds, reason.strip(), self.policy.digest, asker)

    @property
    def asks_people(self) -> bool:
        """Whether the policy has any rule that asks for approval; without one, nothing ever waits."""
        return any(bound.rule.effect == "approve" for bound in self.bound_policy().rules)

    def request_approval(
        self,
        sql: str,
        params: Params | None = None,
        *,
        tool: str | None = None,
        tool_call_id: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        runs_here: bool = True,
        is_asked: bool = True,
    ) -> ApprovalRequest | None:
        """Asks ahead for what `execute` or `call_tool` would ask for, running nothing and using no yes; frameworks that pause need it.

        Args:
            sql: The statement.
            params: Its bound values.
            tool: Name of the tool through which it comes.
            tool_call_id: The framework's id of the call, for the ledger.
            arguments: Those of the tool's call beside the statement and its values, as `call_tool` would be given them.
            runs_here: Whether it runs on the guard's own engine; False for a function that runs SQL itself.
            is_asked: Whether the request is filed, and the channel asked, where nobody has asked yet.

        Returns:
            The request that it waits for; None when there is nothing to wait for: then running it tells how it ends.

        Raises:
            UsageError: No session is active.
        """
        session = self._sessions.current(tool, tool_call_id)
        if arguments:
            session = replace(session, context=replace(session.context, arguments=Arguments.of(arguments).seen))
        return self._running.request_approval(sql, params, session, is_ours=runs_here, is_asked=is_asked)

    def request_action_approval(
        self, name: str, arguments: Mapping[str, Any], *, tool_call_id: str | None = None, is_asked: bool = True
    ) -> ApprovalRequest | None:
        """As `request_approval`, for what `call_action` would ask for."""
        session = self._sessions.current(name, tool_call_id)
        return self._running.request_action_approval(name, Arguments.of(arguments).seen, session, is_asked=is_asked)

    def note(self, role: str, text: str, *, tool: str | None = None, tool_call_id: str | None = None) -> None:
        """Records one message of the conversation that the session is part of; its text is committed to, and kept if asked for.

        Args:
            role: Who speaks: ``user``, ``assistant``, ``system`` or ``tool``.
            text: What is said.
            tool: Name of the tool that it comes from or goes to.
            tool_call_id: The framework's id of the call.

        Raises:
            UsageError: The role is none of these.
            LedgerError: It could not be written.
        """
        session = self._sessions.current(tool, tool_call_id)
        self._running.append(session, *message_entry(role, text, session.context))

    def pending(self) -> list[ApprovalRequest]:
        """Returns the requests that wait for a person, oldest first."""
        return list(self.desk.pending(now=int(time.time())))

    def approve(self, request_id: str, *, by: Principal, reason: str = "") -> None:
        """Says yes to one request; recorded. The requester then runs the same statement again, once.

        Raises:
            Denied: `by` is the requester or not an approver, or the request is closed or expired.
        """
        self.desk.approve(request_id, by, reason, int(time.time()))

    def deny(self, request_id: str, *, by: Principal, reason: str = "") -> None:
        """Says no to one request; recorded.

        Raises:
            Denied: `by` may not decide it, or the request is closed or expired.
        """
        self.desk.deny(request_id, by, reason, int(time.time()))

    def mask_sql(self, mask: Mask, column: Column) -> MaskExpression:
        """Returns a mask as SQL of this guard's engine, with this guard's key."""
        return self._judging.mask_sql(mask, column)

    def mask_value(self, mask: Mask, column: Column, value: Value) -> Value:
        """Returns what a mask of this guard's makes of a value."""
        return mask_value(mask, column, value, self._judging.keyring.key, dialect=self.database.dialect)

    def register_masks(self, connection: sqlite3.Connection) -> None:
        """Makes the mask functions known to a SQLite connection of a tool's own, which a guarded statement may call.

        PostgreSQL needs nothing of the kind: its masks are built-in functions.
        """
        for name, (arguments, function) in sqlite_functions().items():
            connection.create_function(name, arguments, cast(Any, function), deterministic=True)
