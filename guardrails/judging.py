"""Judging for one guard: its policy, held against the schema as it is now, and what it says of a statement, an action or a token.

`guardrails.flow` and `guardrails.revealing` decide; here they are given what they decide by. Nothing is run and nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from guardrails import flow
from guardrails.catalog.ledgers import without_ledgers
from guardrails.displaying import Display
from guardrails.engines import Engine
from guardrails.install import trusted
from guardrails.masking import MaskKeyring, mask_expression
from guardrails.model import Column, Given, Mask, MaskExpression, Statement, Value
from guardrails.narrowing import narrowed
from guardrails.policy import BoundPolicy, Policy, treatments_of
from guardrails.revealing import judge_reveal
from guardrails.sessions import Session
from guardrails.sql.barriers import Placements

__all__ = ["Judging"]


class Judging:
    """Judges for one guard. Safe to share between threads.

    Args:
        policy: In force.
        database: The one that is guarded.
        keyring: The keys of its masks.
        is_cross_checked: Whether PostgreSQL's own parser must agree about every statement.
    """

    def __init__(self, policy: Policy, database: Engine, keyring: MaskKeyring, *, is_cross_checked: bool = False) -> None:
        self.keyring = keyring
        self._policy = policy
        self._database = database
        self._is_cross_checked = is_cross_checked
        self._bound: BoundPolicy | None = None
        self._placed: tuple[BoundPolicy, bytes, Placements] | None = None

    def bind(self, session: Session | None = None) -> BoundPolicy:
        """Returns the policy, bound to the schema as it is now; as the session's transaction sees it where there is one.

        Raises:
            PolicyError: It names what the database does not have any more.
            EngineError: The schema cannot be read.
        """
        catalog = self.engine_of(session).catalog()
        if self._bound is None or self._bound.catalog.version != catalog.version:
            self._bound = self._policy.bind(without_ledgers(catalog))
        return self._bound

    def engine_of(self, session: Session | None) -> Engine:
        """Returns the database, as the session's transaction sees it where there is one."""
        return session.transaction if session is not None and session.transaction is not None else self._database

    def mask_sql(self, mask: Mask, column: Column) -> MaskExpression:
        """Returns a mask as SQL of the database, with the key in force."""
        return mask_expression(mask, column, self._database.dialect, self.keyring.key)

    def judge(self, statement: Statement, session: Session, *, is_ours: bool = True) -> flow.Judgement:
        """Judges a statement.

        Args:
            statement: As the agent wrote it.
            session: Who asks, and what is offered to them.
            is_ours: Whether it runs on the guard's own engine.
        """
        bound = self.bind(session)
        who = session.principal, session.context
        # A tool's own connection has no settings of ours.
        placements = self._placements(bound) if is_ours else None
        judgement = flow.judge(
            statement, bound.catalog, bound, *who, self.mask_sql, placements=placements, is_cross_checked=self._is_cross_checked
        )
        return judgement if session.offered is None else narrowed(judgement, session.offered)

    def judge_action(self, name: str, arguments: Mapping[str, Given], session: Session) -> flow.Judgement:
        """Judges an action by its name and arguments."""
        return flow.judge_action(
            name, arguments, self.bind(), session.principal, session.context, self.display(name, arguments)
        )

    def judge_reveal(self, token: Value, column: str, reason: str, session: Session) -> flow.Judgement:
        """Judges whether a token may be resolved; it is looked for under every key there was.

        Raises:
            UsageError: There is no reason.
        """

        def masks_sql(mask: Mask, described: Column) -> list[MaskExpression]:
            return [mask_expression(mask, described, self._database.dialect, key) for key in self.keyring.keys]

        return judge_reveal(token, column, reason, self.bind(), session.principal, session.context, masks_sql)

    def displayed(self, judgement: flow.Judgement, session: Session) -> flow.Judgement:
        """Returns a judgement with how the further arguments of the session's call appear."""
        arguments = session.context.arguments
        return replace(judgement, display=self.display(session.context.tool, arguments)) if arguments else judgement

    def display(self, tool: str | None, arguments: Mapping[str, Given]) -> Display:
        """Returns how the arguments of a tool's call appear in entries and to approvers."""
        # What the policy says of tools is the same for every version of the schema, which costs a look at the database to know.
        return Display(arguments, treatments_of(self._bound or self.bind(), tool), self.keyring.key)

    def _placements(self, bound: BoundPolicy) -> Placements:
        """What of the policy this database holds, verified once for each version of the schema and each mask key."""
        key, known = self.keyring.key, self._placed
        if known is None or known[0] is not bound or known[1] != key:
            self._placed = known = bound, key, trusted(bound, key)
        return known[2]
