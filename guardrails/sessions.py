"""Sessions: who acts, through which agent and why, with a key that signs what they do; no longer than the principal's token is valid.

`Sessions` makes them for one guard. It settles which agent acts (the one that the token names, or the one that code names), lets that
agent prove itself where it has a key, knows which session is in force in each thread or task, and ends a session, on record, when its
principal has expired.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from guardrails.budget import ProbeBudget
from guardrails.entries import session_facts
from guardrails.errors import IdentityError, UsageError
from guardrails.identity.agents import AgentKey
from guardrails.identity.delegation import acting_agent
from guardrails.identity.registry import AgentRegistry
from guardrails.ledger import Ledger, Private, SessionKey
from guardrails.model import Context, Principal, Runtime
from guardrails.policy import Policy
from guardrails.transactions import Transaction

__all__ = ["Session", "Sessions"]

_MOST_SHARED = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """Who acts, through what, and why: in force for everything called inside `Guard.session`. Its key signs what it records.

    `emergency` says why the glass is broken, empty when it is not. `offered` are the relations that statements may name, None when
    only the policy decides. `transaction` is the one that statements run in, None where each has its own.
    """

    principal: Principal
    context: Context
    budget: ProbeBudget
    key: SessionKey
    subjects: tuple[str, ...] = ()
    emergency: str = ""
    offered: frozenset[str] | None = None
    transaction: Transaction | None = None


class Sessions:
    """Makes, tells and ends the sessions of one guard. Safe to share between threads.

    Args:
        ledger: Where they record what they do.
        agents: The agents that may act; None: any, and none has to prove itself.
        clock_s: Unix time in seconds.
    """

    def __init__(
        self, ledger: Ledger, agents: AgentRegistry | None = None, *, clock_s: Callable[[], float] = time.time
    ) -> None:
        self._ledger = ledger
        self._agents = agents
        self._clock_s = clock_s
        self._in_force: ContextVar[Session | None] = ContextVar("guardrails_session", default=None)
        self._lock = threading.Lock()
        self._policy_keeper: SessionKey | None = None
        self._ended: set[str] = set()
        self._shared: OrderedDict[tuple[str | None, ...], tuple[Principal, Session]] = OrderedDict()

    @property
    def active(self) -> Session | None:
        """The session in force here, None where there is none."""
        return self._in_force.get()

    def current(self, tool: str | None = None, tool_call_id: str | None = None, *, is_recorded: bool = True) -> Session:
        """Returns the session in force, for a call.

        Args:
            tool: Name of the tool that is called.
            tool_call_id: The framework's id of the call.
            is_recorded: See `require_valid`.

        Raises:
            UsageError: There is none (usage.no_session).
            IdentityError: It may not go on.
        """
        session = self.active
        if session is None:
            raise UsageError("usage.no_session", "No session is active, so nobody is known to act.")
        self.require_valid(session, is_recorded=is_recorded)
        if tool is None and tool_call_id is None:
            return session
        return replace(session, context=replace(session.context, tool=tool, tool_call_id=tool_call_id))

    @contextmanager
    def in_force(self, session: Session) -> Iterator[Session]:
        """Puts a session in force for the calls inside."""
        token = self._in_force.set(session)
        try:
            yield session
        finally:
            self._in_force.reset(token)

    def make(
        self,
        policy: Policy,
        principal: Principal,
        context: Context,
        *,
        agent_key: AgentKey | None = None,
        subjects: Collection[str] = (),
    ) -> Session:
        """Makes a session, known to the ledger.

        Args:
            policy: In force.
            principal: On whose behalf.
            context: Agent, model, purpose; the session's id is made here.
            agent_key: Of the agent, which signs the session's facts.
            subjects: The people that the work is about.

        Raises:
            IdentityError: The principal has no id (identity.principal_invalid) or has expired (identity.token_expired); its token or
                key names another agent (identity.delegation_mismatch); the agent is not known or has not shown its key
                (identity.agent_unproven).
        """
        if not principal.id.strip():
            raise IdentityError("identity.principal_invalid", "The principal has no id.")
        if self._has_expired(principal):
            raise _expired()
        settled = self._settled(principal, replace(context, session_id=uuid.uuid4().hex), agent_key)
        key = self._key(policy, principal, settled)
        if agent_key is not None:
            key.facts["proof"] = agent_key.prove(key.binding(settled.session_id))
        self._ledger.bind(settled.session_id, key)
        return Session(principal, settled, ProbeBudget(), key, tuple(dict.fromkeys((principal.id, *subjects))))

    def shared(self, policy: Policy, principal: Principal, context: Context, agent_key: AgentKey | None = None) -> Session:
        """Returns the session of calls that bring their principal along: one for each principal, agent, purpose and conversation.

        The least recently used ones are let go of when there are too many.

        Raises:
            IdentityError: As `make`.
        """
        shown = agent_key.fingerprint if agent_key is not None else None
        asked = (policy.digest, context.agent, shown, context.model, context.purpose, context.conversation_id, principal.id)
        with self._lock:
            known = self._shared.pop(asked, None)
            if known is not None and known[0] == principal:
                self._shared[asked] = known
                return known[1]
        made = self.make(policy, principal, context, agent_key=agent_key)
        with self._lock:
            while len(self._shared) >= _MOST_SHARED:
                _, (_, oldest) = self._shared.popitem(last=False)
                self._ended.discard(oldest.context.session_id)
            self._shared[asked] = (principal, made)
        return made

    def require_valid(self, session: Session, *, is_recorded: bool = True) -> None:
        """Checks that a session may go on; one that may not ends, once, with an entry of type ``session.expired``.

        Args:
            session: The session.
            is_recorded: Whether its end is recorded now; not by what records nothing itself.

        Raises:
            IdentityError: The principal's token has expired (identity.token_expired).
            LedgerError: The end could not be recorded.
        """
        if not self._has_expired(session.principal):
            return
        if not is_recorded:
            raise _expired()
        with self._lock:
            has_ended = session.context.session_id in self._ended
            self._ended.add(session.context.session_id)
        if not has_ended:
            try:
                entry = {"type": "session.expired", "session": session.context.session_id}
                self._ledger.append(entry | {"expires_at": session.principal.expires_at})
            except BaseException:
                self.forget(session)  # so that the next attempt records it
                raise
        raise _expired()

    def forget(self, session: Session) -> None:
        """Lets go of a session that is over."""
        with self._lock:
            self._ended.discard(session.context.session_id)

    def refined(self, session: Session, runtime: Runtime, principal: Principal | None) -> Session:
        """Returns a session with what a framework tells of one call: it fills what code left open, and changes nothing else.

        Raises:
            IdentityError: The framework's context names another person (identity.principal_mismatch).
        """
        stated = session.principal
        if principal is not None and (principal.id, principal.issuer) != (stated.id, stated.issuer):
            message = "The framework's context names another person than the session."
            raise IdentityError("identity.principal_mismatch", message)
        known = session.context
        # An agent that has to show a key cannot be named afterwards.
        agent = known.agent if known.agent is not None or self._agents is not None else runtime.agent
        context = replace(
            known,
            agent=agent,
            model=known.model or runtime.model,
            conversation_id=known.conversation_id or runtime.conversation_id,
            purpose=known.purpose or runtime.purpose,
            runtime=runtime,
        )
        return replace(session, context=context)

    def _has_expired(self, principal: Principal) -> bool:
        return principal.expires_at is not None and principal.expires_at <= self._clock_s()

    def _settled(self, principal: Principal, context: Context, agent_key: AgentKey | None) -> Context:
        names = self._agents.name_of if self._agents is not None else None
        agent = acting_agent(principal, context.agent, names)
        if agent_key is not None and agent not in (None, agent_key.name):
            raise IdentityError("identity.delegation_mismatch", "The key is another agent's than the one that acts.")
        agent = agent_key.name if agent_key is not None else agent
        if self._agents is not None:
            self._agents.require(agent, agent_key)
        return replace(context, agent=agent, agent_key=agent_key.fingerprint if agent_key is not None else None)

    def _key(self, policy: Policy, principal: Principal, context: Context) -> SessionKey:
        """A key for one session; the first that records anything also keeps the policy's text, for evidence of what was in force."""
        facts = session_facts(principal, context) | {"policy": policy.digest}
        with self._lock:
            if self._policy_keeper is not None and self._policy_keeper.is_bound:
                return SessionKey(facts)
            text = Private(policy.canonical.encode("utf-8", "surrogatepass"), keep=self._ledger.has_vault)
            self._policy_keeper = SessionKey(facts, {"policy": text})
            return self._policy_keeper


def _expired() -> IdentityError:
    return IdentityError("identity.token_expired", "The principal's token has expired.")
