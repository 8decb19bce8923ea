"""The decision: what a statement does, held against what this person, this agent and this task may do. Pure.

Theorems, each a property test: nothing matched is a deny; a deny beats an approve beats an allow; the order of rules is irrelevant;
one more deny never allows more; one more allow never takes a deny away; obligations only grow with relations; a rule that errors
denies (Cedar would skip it, and fail open).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from guardrails.model import Access, ColumnRef, Context, Decision, Given, Mask, Obligations, Principal, Reason, RelationUse
from guardrails.policy.binding import BoundPolicy, BoundRule
from guardrails.policy.conditions import CelArguments, ConditionError, variables_of
from guardrails.policy.names import Names
from guardrails.policy.obligations import (
    approval_terms,
    denied_columns,
    hidden_rows,
    lacking_for,
    lifted_columns,
    masks_for,
    revealed_mask,
    row_filters_for,
)
from guardrails.policy.schema import REVEAL, SQL_ACTIONS, Rule
from guardrails.policy.tools import limits_of, rates_of

__all__ = ["decide", "decide_action", "decide_reveal"]

_MOST_NAMES = 40
_NONE = frozenset[ColumnRef]()


def decide(access: Access, policy: BoundPolicy, principal: Principal, context: Context) -> Decision:
    """Decides about a statement.

    Args:
        access: What the statement does.
        policy: The policy, bound to the schema that the statement was resolved against.
        principal: On whose behalf; whether it has expired is the caller's question.
        context: Agent, session, purpose.

    Returns:
        Effect, all reasons of a refusal, the rules that decided (those that refused; else those that allowed or ask for approval), and
        the obligations of a permit.
    """
    court = _Court(policy, principal, context, variables_of(principal, context))
    return court.decision(court.judge_statement(access), access)


def decide_reveal(
    column: ColumnRef, reason: str, access: Access, policy: BoundPolicy, principal: Principal, context: Context
) -> Decision:
    """Decides about resolving a token: what reading the column needs, and that the policy says who may.

    `access` is of a SELECT of the column; `reason` is for the conditions of rules about the action `reveal` alone. The answer is as
    that of `decide`, without masks: what comes back is the real value.
    """
    arguments = CelArguments.of({"column": str(column), "reason": reason})
    court = _Court(policy, principal, context, variables_of(principal, context) | {"arguments": arguments})
    mask = revealed_mask(column, policy, principal, context)
    if mask is None:
        hint = "Go on with the token: it compares and joins as the value would."
        court.deny("mask.reveal_denied", "This principal may not have tokens of this column resolved.", hint)
        return court.decision(Obligations(limits=policy.limits), access)
    obligations = court.judge_statement(access)
    court.judge_reveal(column, mask)
    return court.decision(replace(obligations, masks=()), access)


def decide_action(
    name: str, arguments: Mapping[str, Given], policy: BoundPolicy, principal: Principal, context: Context
) -> Decision:
    """Decides about an action that is not SQL, by its name; nothing matched is a deny.

    Args:
        name: Such as ``email.send``; rules may name it with globs.
        arguments: The call's arguments, for the conditions of rules.
        policy: The bound policy.
        principal: On whose behalf.
        context: Agent, session, purpose.

    Returns:
        As `decide`, with no other obligations than limits, rates and approval.
    """
    variables = variables_of(principal, context) | {"arguments": CelArguments.of(arguments)}
    court = _Court(policy, principal, context, variables)
    court.judge_tool(name)
    return court.decision(Obligations(limits=limits_of(policy, name), rates=rates_of(policy, name)), Access("other", (name,)))


def _direct(use: RelationUse, access: Access) -> str | None:
    """Returns the view that the principal named to reach this use, or the relation itself; None when no such view is used."""
    reached = {u.relation: u.via for u in access.relations if u.via is not None}
    named = {u.relation for u in access.relations if u.via is None}
    name, steps = use.via or use.relation, 0
    while name not in named and name in reached and steps <= len(reached):
        name, steps = reached[name], steps + 1
    return name if name in named else None


@dataclass(slots=True)
class _Court:
    """Collects what the rules say of one statement."""

    policy: BoundPolicy
    principal: Principal
    context: Context
    variables: Mapping[str, object]
    reasons: list[Reason] = field(default_factory=list)
    approvals: dict[str, BoundRule] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)

    def deny(self, code: str, message: str, hint: str = "", rule: str | None = None) -> None:
        self.reasons.append(Reason(code, message, hint, rule))

    def judge_statement(self, access: Access) -> Obligations:
        """Judges all that a statement does, and returns what a permit would be bound to."""
        for use in sorted(access.relations, key=lambda u: (u.relation, u.action, u.via or "")):
            self.restrict(use, access)
            if use.via is None or _direct(use, access) is None:
                self.require_grant(use, access)
        self.require_all_judged(access)
        self.restrict_tool()
        who = self.policy, self.principal, self.context
        masks = masks_for(access, *who)
        lifted = lifted_columns(access, masks, self.approvals.values())
        masks = tuple(mask for mask in masks if mask.column not in lifted)
        for column in sorted(denied_columns(access, masks)):
            self.deny_column(column, access, frozenset(mask.column for mask in masks if mask.kind == "deny"))
        for relation in hidden_rows(access, *who):
            self.deny_hidden_rows(relation, access)
        filters, lacking = row_filters_for(access, *who)
        for name in lacking:
            self.deny_lacking("rows", name)
        for name in lacking_for(masks):
            self.deny_lacking("values", name)
        tool = self.context.tool
        limits, rates = limits_of(self.policy, tool), rates_of(self.policy, tool)
        return Obligations(masks, filters, limits, lifted=lifted, rates=rates)

    def restrict_tool(self) -> None:
        """Applies what refuses or asks about the tool that a statement comes through; that it is allowed is said of what it does."""
        tool = self.context.tool
        if tool is None or tool in SQL_ACTIONS:
            return
        for bound in self.policy.rules:
            is_about = any(fnmatchcase(tool, pattern) for pattern in bound.tools)
            if bound.rule.effect != "allow" and is_about and self._holds(bound, tool, ""):
                self._apply(bound, f"the tool {tool[:80]}")

    def judge_reveal(self, column: ColumnRef, mask: Mask) -> None:
        """Judges the resolving of a token; that it is allowed is said at the column, and rules can ask for approval or deny."""
        for name in lacking_for([mask]):
            self.deny_lacking("values", name)
        kin = self.policy.reach.kin(column.relation)
        for bound in self.policy.rules:
            is_about = bound.relations is None or not kin.isdisjoint(bound.relations)
            if bound.columns and not self.policy.reach.touches(column.relation, frozenset((column,)), bound.columns):
                is_about = False
            if bound.rule.effect == "allow" or not is_about or not _is_tool_of(bound, REVEAL):
                continue
            if self._holds(bound, REVEAL, column.relation):
                self._apply(bound, f"to {REVEAL} {column}")

    def deny_lacking(self, what: str, name: str) -> None:
        message = f"The {what} that this principal may see depend on principal.{name}, which is not known."
        self.deny("policy.obligation", message, "An administrator must give the principal this attribute.")

    def restrict(self, use: RelationUse, access: Access) -> None:
        """Applies every deny and approve to a use; they reach the base relations behind views too."""
        reads = frozenset(c for c in access.reads if c.relation == use.relation)
        writes = frozenset(c for c in access.writes if c.relation == use.relation)
        # Reading the columns of a relation is a select of it, also inside a change.
        touched = {"select": reads, use.action: reads | writes if use.action != "select" else reads}
        actions = [use.action, "select"] if reads and use.action != "select" else [use.action]
        shown = _direct(use, access) or "a relation"
        for bound in self.policy.rules:
            if bound.rule.effect == "allow":
                continue
            action = next((a for a in actions if self._about(bound, a, use.relation)), None)
            if action is None or (
                bound.columns and not self.policy.reach.touches(use.relation, touched[action], bound.columns)
            ):
                continue
            if any(self._holds(bound, action, relation) for relation in self._about(bound, action, use.relation)):
                self._apply(bound, f"{action} on {shown}")

    def require_grant(self, use: RelationUse, access: Access) -> None:
        """Requires that rules allow the use and all its columns; for a view that is enough for what stands behind it."""
        fitting = [b for b in self.policy.rules if b.rule.effect != "deny" and self._is_about(b, use.action, use.relation)]
        reads = frozenset(c for c in access.reads if c.relation == use.relation)
        writes = frozenset(c for c in access.writes if c.relation == use.relation)
        is_read_judged = RelationUse(use.relation, "select") in access.relations
        needs = [(fitting, reads)] if use.action == "select" else [(fitting, writes)]
        if use.action != "select" and reads and not is_read_judged:
            readers = [b for b in self.policy.rules if b.rule.effect != "deny" and self._is_about(b, "select", use.relation)]
            needs.append((fitting + readers, reads))
        is_optional = False
        for rules, columns in needs:
            granting = [b for b in rules if self._grants(b, use.action, use.relation, columns)]
            if not self._covers(granting, columns):
                self._refuse(use, rules, granting, columns)
                return
            self.granted |= {b.rule.id for b in granting}
            is_optional = is_optional or any(b.rule.where == "optional" and use.action in b.actions for b in granting)
        if use.action in ("update", "delete") and not access.is_restricted and not is_optional:
            message = f"{use.action.upper()} on {use.relation} has no WHERE that limits it."
            self.deny("policy.where_required", message, "Add a WHERE clause that names the rows to change.")

    def require_all_judged(self, access: Access) -> None:
        """Refuses what no relation stands for: an action without one, or columns of a relation that is not listed."""
        used = {u.action for u in access.relations}
        for action in access.actions:
            if action in used:
                continue
            for bound in self.policy.rules:
                is_general = bound.relations is None and action in bound.actions and bound.rule.effect == "deny"
                if is_general and self._holds(bound, action, ""):
                    self._apply(bound, action)
            if action != "select":
                self.deny("policy.no_rule", f"No rule allows {action} here.", "Use SELECT.")
        if not {c.relation for c in (*access.reads, *access.writes)} <= {u.relation for u in access.relations}:
            self.deny("policy.no_rule", "A column's relation is not among those that were judged.")

    def deny_column(self, column: ColumnRef, access: Access, denied: frozenset[ColumnRef]) -> None:
        """Refuses a column without naming it: the principal may have written a star."""
        direct = {u.relation for u in access.relations if u.via is None}
        through = [_direct(u, access) for u in access.relations if u.relation == column.relation]
        shown = column.relation if column.relation in direct else next((t for t in through if t), "a relation")
        names = self._readable(column.relation) if shown == column.relation else []
        others = _listed([n for n in names if ColumnRef(column.relation, n) not in denied])
        hint = f"Use only these columns of {shown}: {others}." if others else "Name the columns you need instead of `*`."
        self.deny("policy.column_denied", f"A column of {shown} may not be used.", hint)

    def deny_hidden_rows(self, relation: str, access: Access) -> None:
        """Refuses a relation whose rows come from others as well, where a row filter of one of those cannot be applied."""
        direct = {u.relation for u in access.relations if u.via is None}
        shown = relation if relation in direct else "a relation"
        message = f"{shown} shows rows of another relation of which this principal may see only some."
        self.deny("policy.obligation", message, "Ask the partition or the inheriting table itself.")

    def judge_tool(self, name: str) -> None:
        """Judges a tool by its name; a name of an SQL action is never a tool's."""
        about = [b for b in self.policy.rules if _is_tool_of(b, name)] if name not in SQL_ACTIONS else []
        granting = []
        for bound in about:
            if not self._holds(bound, name, ""):
                continue
            if bound.rule.effect != "allow":
                self._apply(bound, f"the action {name}")
            if bound.rule.effect != "deny":
                granting.append(bound)
        self.granted |= {b.rule.id for b in granting}
        if granting:
            return
        purposes = self._missing_purposes([b for b in about if b.rule.effect != "deny"], name, "", _NONE)
        if purposes:
            self._deny_purpose(f"The action {name}", purposes)
        else:
            self.deny("policy.no_rule", f"No rule allows the action {name[:80]}.")

    def decision(self, obligations: Obligations, access: Access) -> Decision:
        """Returns what came out; the order of rules leaves no trace in it."""
        digest, limits = self.policy.digest, Obligations(limits=self.policy.limits)
        terms = approval_terms(bound.rule for bound in self.approvals.values()) if self.approvals else None
        if self.approvals and terms is None:
            message = "The rules that ask for approval name no group in common, so that no one person could approve."
            self.deny("policy.obligation", message, "Do one thing at a time, in statements of their own.")
        if self.reasons:
            reasons = tuple(sorted(set(self.reasons), key=lambda r: (_RANK.get(r.code, 1), r.code, r.message, r.rule or "")))
            return Decision("deny", reasons, tuple(sorted({r.rule for r in reasons if r.rule})), limits, digest, access)
        rules = tuple(sorted(self.granted | self.approvals.keys()))
        bound = replace(obligations, approval=terms)
        if terms is None:
            return Decision("allow", (), rules, bound, digest, access)
        asked = [self.approvals[id_].rule for id_ in sorted(self.approvals)]
        reasons = tuple(Reason("approval.required", _asked(r), _WAIT, r.id) for r in asked)
        return Decision("approve", reasons, rules, bound, digest, access)

    def _apply(self, bound: BoundRule, what: str) -> None:
        rule = bound.rule
        if rule.effect == "approve":
            self.approvals[rule.id] = bound
            return
        message = rule.message or f"The rule {rule.id} forbids {what}."
        self.deny("policy.denied", message, "Leave out what the rule forbids.", rule.id)

    def _refuse(
        self, use: RelationUse, rules: Iterable[BoundRule], granting: list[BoundRule], columns: frozenset[ColumnRef]
    ) -> None:
        """Says why no rule allows a use, and what would be allowed instead."""
        what = f"{use.action} on {use.relation if use.via is None else 'a relation behind a view'}"
        purposes = self._missing_purposes(rules, use.action, use.relation, columns)
        if purposes:
            self._deny_purpose(what, purposes)
        elif granting:
            usable = sorted({c.column for b in granting for c in b.columns if c.relation == use.relation})
            hint = f"Use only these columns of {use.relation}: {_listed(usable)}."
            self.deny("policy.column_denied", f"No rule allows {use.action} of all these columns of {use.relation}.", hint)
        else:
            self.deny("policy.no_rule", f"No rule allows {what}.", self._alternatives(use.action, use.relation))

    def _alternatives(self, action: str, refused: str) -> str:
        """Names the relations that this principal may use in the same way for this task; it may see those."""
        found: set[str] = set()
        for bound in self.policy.rules:
            is_grant = bound.rule.effect != "deny" and action in bound.actions and self._is_for(bound, self.context.purpose)
            found |= (bound.relations or frozenset()) - {refused} if is_grant else frozenset()
        if not found:
            return f"This task may not use {action} at all."
        return f"Relations that {action} may be used on: {_listed(sorted(found))}."

    def _readable(self, relation: str) -> list[str]:
        """Names the columns that this principal may read of a relation for this task."""
        reading = [
            b
            for b in self.policy.rules
            if b.rule.effect != "deny" and self._is_about(b, "select", relation) and self._is_for(b, self.context.purpose)
        ]
        limited = {c.column for b in reading for c in b.columns if c.relation == relation}
        is_unlimited = any(not b.columns for b in reading)
        return [n for n in self.policy.catalog.relations[relation].column_names if is_unlimited or n in limited]

    def _missing_purposes(
        self, rules: Iterable[BoundRule], action: str, relation: str, columns: frozenset[ColumnRef]
    ) -> list[str]:
        """Returns the purposes one of which would have allowed it, when that is all that is missing."""
        rules = list(rules)
        found: set[str] = set()
        for purpose in {p for b in rules for p in b.rule.purposes}:
            granting = [b for b in rules if self._grants(b, action, relation, columns, purpose=purpose)]
            found |= {purpose} if self._covers(granting, columns) else set()
        return sorted(found)

    def _deny_purpose(self, what: str, purposes: list[str]) -> None:
        declared = f"declared {self.context.purpose}" if self.context.purpose else "declared none"
        message = f"{what} is for the purpose {' or '.join(purposes)}; this task {declared}."
        self.deny("policy.purpose_required", message, "Only tasks with that purpose may do it; leave it out.")

    def _about(self, bound: BoundRule, action: str, relation: str) -> list[str]:
        """Returns what a rule that restricts is about: the relation, and every other one that shares rows with it."""
        kin = self.policy.reach.kin(relation) if relation in self.policy.catalog.relations else frozenset((relation,))
        if bound.relations is not None and len(kin) > 1:
            kin &= bound.relations
        return [other for other in sorted(kin) if self._is_about(bound, action, other)]

    def _is_about(self, bound: BoundRule, action: str, relation: str) -> bool:
        if action not in bound.actions:
            return False
        if bound.relations is None or relation in bound.relations:
            return True
        if relation in self.policy.catalog.relations or bound.columns:
            return False
        names, is_deny = Names(self.policy.catalog), bound.rule.effect == "deny"
        return any(names.is_meant(p, relation, in_any_schema=is_deny) for p in bound.rule.relations)

    def _grants(
        self, bound: BoundRule, action: str, relation: str, columns: frozenset[ColumnRef], *, purpose: str | None = None
    ) -> bool:
        """Whether an allow or approve counts here. An approve for certain columns counts where it asks: where one is touched."""
        if bound.rule.effect == "approve" and bound.columns and not bound.columns & columns:
            return False
        return self._holds(bound, action, relation, purpose=purpose)

    @staticmethod
    def _covers(granting: Iterable[BoundRule], columns: frozenset[ColumnRef]) -> bool:
        granting = list(granting)
        if any(not b.columns for b in granting):
            return True
        return bool(granting) and columns <= frozenset().union(*(b.columns for b in granting))

    def _is_for(self, bound: BoundRule, purpose: str | None) -> bool:
        rule, who = bound.rule, bound.rule.principals
        if rule.purposes and purpose not in rule.purposes:
            return False
        if who is None:
            return True
        is_named = not who.ids or self.principal.id in who.ids
        is_member = not who.groups or not self.principal.groups.isdisjoint(who.groups)
        return is_named and is_member and (not who.agents or self.context.agent in who.agents)

    def _holds(self, bound: BoundRule, action: str, relation: str, *, purpose: str | None = None) -> bool:
        """Whether the rule is for this principal and task and its condition is true; one that fails is a reason to refuse."""
        if not self._is_for(bound, purpose if purpose is not None else self.context.purpose):
            return False
        if bound.condition is None:
            return True
        try:
            return bound.condition.holds({**self.variables, "action": action, "relation": relation})
        except ConditionError as error:
            if purpose is not None:
                return False
            hint = "An administrator must mend the policy."
            self.deny("policy.condition_error", f"The condition of the rule {bound.rule.id} {error}.", hint, bound.rule.id)
            return False


_RANK = {"policy.condition_error": 2, "policy.no_rule": 3, "policy.obligation": 3}
"""Which reasons come last; the first is the decision's code."""
_WAIT = "Wait for the approval, then run the same again."


def _is_tool_of(bound: BoundRule, name: str) -> bool:
    is_everything = bound.rule.effect == "deny" and bound.relations is None and "all" in bound.rule.actions
    return is_everything or any(fnmatchcase(name, pattern) for pattern in bound.tools)


def _asked(rule: Rule) -> str:
    return rule.message or f"A person has to approve this first (rule {rule.id})."


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
