"""The way of one statement, from text to receipt, top to bottom, without I/O (DESIGN: the one data flow).

`judge` is pure: parse, resolve, decide, rewrite. `run` is a generator that yields what has to happen (a `Step`) and is sent the
answer; `guardrails.running` performs the steps, once for synchronous and once for asynchronous callers. So the order that matters
(the intent is durable before anything runs, an outcome always follows) is written in one place and can be tested without any I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn, TypeAlias, cast, get_args

from guardrails.approval.digest import request_digest
from guardrails.codes import CODES
from guardrails.displaying import Display
from guardrails.entries import JSON, Private, action_entry, intent_entry, outcome_entry, refusal_entry
from guardrails.errors import CatalogError, Denied, EngineError, GuardrailsError, StatementError, UsageError
from guardrails.lookups import lookups_for, tokens_of
from guardrails.masking.masked_text import is_masked_text
from guardrails.masking.scan import scan_error, scan_rows
from guardrails.model import (
    Access,
    ApprovalGrant,
    Catalog,
    Column,
    Context,
    Decision,
    Execution,
    Given,
    Mask,
    MaskExpression,
    Plan,
    Principal,
    Reason,
    Receipt,
    Result,
    Row,
    ScanFinding,
    Statement,
    StatementKind,
    Value,
)
from guardrails.policy import BoundPolicy, decide, decide_action, require_kept_protection, require_silence, visible
from guardrails.sql import Parsed, cross_check, given_rows, parse, remaining_texts, resolve, rewrite
from guardrails.sql.barriers import Placements
from guardrails.steps import (
    Answer,
    Append,
    Appended,
    Count,
    Counted,
    Event,
    Execute,
    Flow,
    Judgement,
    Lookup,
    Notify,
    SeekApproval,
    Spend,
    Spent,
    Step,
    Uncount,
)

__all__ = [
    "Answer",
    "Append",
    "Appended",
    "Count",
    "Counted",
    "Event",
    "Execute",
    "Flow",
    "Judgement",
    "Lookup",
    "Notify",
    "SeekApproval",
    "Spend",
    "Spent",
    "Step",
    "Uncount",
    "approval_digest",
    "judge",
    "judge_action",
    "run",
    "run_action",
]

MaskSql: TypeAlias = Callable[[Mask, Column], MaskExpression]


_KINDS: dict[str, StatementKind] = {kind: kind for kind in get_args(StatementKind)}


def judge(
    statement: Statement,
    catalog: Catalog,
    policy: BoundPolicy,
    principal: Principal,
    context: Context,
    mask_sql: MaskSql,
    *,
    placements: Placements | None = None,
    is_cross_checked: bool = False,
) -> Judgement:
    """Decides about one statement: parse, resolve, decide, rewrite. Pure: the same input gives the same output.

    Args:
        statement: What the agent wrote.
        catalog: The schema that its names are resolved against.
        policy: The policy, bound to that catalog.
        principal: On whose behalf.
        context: Agent, session, purpose.
        mask_sql: Turns a mask obligation into SQL for a column.
        placements: What of the policy the database holds, verified; only for an engine of ours, which sets the plan's settings.
        is_cross_checked: PostgreSQL's own parser must agree; see `guardrails.sql.crosscheck`.

    Returns:
        The judgement. A statement that is not understood gives a decision of effect ``deny``; nothing is raised for it.
    """
    parsed: Parsed | None = None
    access: Access | None = None
    normalised: str | None = None
    try:
        limits = policy.limits
        parsed = parse(statement, limits)
        resolved = resolve(parsed, catalog)
        access, normalised = resolved.access, resolved.normalised
        decision = replace(decide(access, policy, principal, context), access=access)
        if decision.effect == "deny":
            return Judgement(statement, decision, normalised=normalised)
        if access.reads_schema:
            shown = tuple(visible(policy, principal, context).items())
            decision = replace(decision, obligations=replace(decision.obligations, visible=shown))
        if is_cross_checked:
            cross_check(resolved, catalog)
        lookups: tuple[tuple[str, Plan], ...] = ()
        if not access.is_read_only:
            resolved, places = tokens_of(resolved, policy, principal)
            _check_written(access, policy, remaining_texts(resolved, places))
            lookups = lookups_for(places, policy, principal, context, mask_sql)
            # Looking the value up is reading, for the ledger as well.
            read = tuple(sorted({*access.reads, *(place.column for place in places)}))
            decision = replace(decision, access=replace(access, reads=read))
        rewritten = rewrite(
            resolved, decision.obligations, catalog, mask_sql, is_masked_text=is_masked_text, placements=placements
        )
        probes = rewritten.probes + require_silence(access, policy, principal, context, given_rows=given_rows(resolved.tree))
        require_kept_protection(access, policy)
    except (StatementError, CatalogError) as error:
        kind = parsed.kind if parsed is not None else error.evidence.get("kind")
        if access is None and isinstance(kind, str) and kind != "select":
            access = Access(_KINDS.get(kind, "other"), (kind,))
        reason = Reason(error.code, error.message, error.hint)
        refusal = Decision("deny", (reason,), policy_digest=policy.digest, access=access)
        return Judgement(statement, refusal, normalised=normalised)
    plan = Plan(
        sql=rewritten.sql,
        params=rewritten.params,
        dialect=statement.dialect,
        actions=access.actions,
        relations=access.relations,
        reads=rewritten.reads,
        writes=access.writes,
        limits=decision.obligations.limits,
        catalog_version=catalog.version,
        is_explain=access.kind == "explain",
        index_use=rewritten.index_use,
        settings=rewritten.settings,
        lookups=lookups,
        is_grouped_by_sorting=rewritten.is_grouped_by_sorting,
    )
    declared = _declared(access, policy)
    return Judgement(statement, replace(decision, sql=plan.sql, probes=probes), plan, normalised, declared)


def _check_written(access: Access, policy: BoundPolicy, texts: Iterable[str]) -> None:
    """A value that a mask made, for whomever, must not take the place of a real one.

    Raises:
        StatementError: A text of a change to a protected column is one (``mask.write_masked``).
    """
    relations = {use.relation for use in access.relations if use.action in ("insert", "update", "merge")}
    masks = [bound.mask for relation in relations for bound in policy.masks_of(relation)]
    kinds = {mask.kind for mask in masks if mask.column in access.writes}  # DELETE writes every column, and stores nothing.
    if kinds and any(is_masked_text(kind, text) for text in texts for kind in kinds):
        raise StatementError("mask.write_masked", "The change would store a masked value in a protected column.")


def run(
    judgement: Judgement,
    principal: Principal,
    context: Context,
    database: dict[str, JSON],
    *,
    scan: bool = True,
) -> Flow:
    """Carries out a judgement: refuse, or approve, record the intent, execute, scan, record the outcome.

    Args:
        judgement: From `judge`.
        principal: On whose behalf.
        context: Agent, session, purpose, tool call.
        database: Name, dialect and role, for the ledger.
        scan: Whether the second net looks through the result.

    Yields:
        The steps to perform.

    Returns:
        The result.

    Raises:
        Denied: The decision was deny, or the approver's.
        ApprovalRequired: Nobody has said yes yet.
        EngineError: The database failed; the outcome entry says so.
        LedgerError: Nothing ran, or what ran could not be recorded and its rows are withheld.
    """
    statement, decision, plan = judgement.statement, judgement.decision, judgement.plan
    yield Notify(Event("decide", statement, decision, plan))
    if decision.effect == "deny" or plan is None:
        yield from _refuse(judgement, principal, context, database)

    grant = yield from _permitted(judgement, principal, context, database)
    entry, private = intent_entry(
        statement, decision, judgement.normalised, principal, context, database, grant, judgement.display
    )
    intent = _appended((yield Append(entry, private)))
    yield Notify(Event("intent", statement, decision, plan, receipt=_receipt(intent, intent)))
    return (yield from _perform(judgement, plan, intent, context, scan=scan))


def judge_action(
    name: str,
    arguments: Mapping[str, Given],
    policy: BoundPolicy,
    principal: Principal,
    context: Context,
    display: Display,
) -> Judgement:
    """Decides about an action that is not SQL. Pure."""
    decision = decide_action(name, arguments, policy, principal, context)
    statement = Statement(name, cast("Mapping[str, Value]", arguments))
    return Judgement(statement, replace(decision, access=Access("other", (name,))), display=display, action=name)


def run_action(
    name: str,
    arguments: Mapping[str, Given],
    policy: BoundPolicy,
    principal: Principal,
    context: Context,
    display: Display,
    *,
    scan: bool = True,
) -> Flow:
    """Carries out an action that is not SQL, such as sending a mail: decide, approve, record, call, scan, record.

    Args:
        name: The action's.
        arguments: The call's, as plain data.
        policy: The bound policy.
        principal: On whose behalf.
        context: Agent, session, purpose.
        display: How the arguments appear.
        scan: Whether the second net looks through what comes back.

    Yields, returns and raises as `run`. The result has one column, ``value``, and one row.
    """
    judgement = judge_action(name, arguments, policy, principal, context, display)
    statement, decision = judgement.statement, judgement.decision
    yield Notify(Event("decide", statement, decision))
    if decision.effect == "deny":
        yield from _refuse(judgement, principal, context, {})
    grant = yield from _permitted(judgement, principal, context, {})
    entry, private = action_entry(name, display, decision, principal, context, grant)
    intent = _appended((yield Append(entry, private)))
    yield Notify(Event("intent", statement, decision, receipt=_receipt(intent, intent)))
    return (yield from _perform(judgement, None, intent, context, scan=scan))


def approval_digest(judgement: Judgement, principal: Principal, context: Context, database: Mapping[str, JSON]) -> str:
    """Returns the digest that an approval binds: what runs where, its values, the policy, who asks through which agent and why."""
    return request_digest(principal, *judgement.asked, judgement.decision.policy_digest, context, database)


def _permitted(
    judgement: Judgement, principal: Principal, context: Context, database: dict[str, JSON]
) -> Generator[Step, Answer, ApprovalGrant | None]:
    """Fulfils what has to be before anything runs: the rates, people's yes, the budget of probes; a call that is refused is not counted."""
    decision = judgement.decision
    counted = yield from _counted(judgement, principal, context, database)
    try:
        grant: ApprovalGrant | None = None
        if decision.effect == "approve":
            grant = yield from _approved(judgement, principal, context, database)
        if decision.probes:
            limit = decision.obligations.limits.probes
            spent = yield Spend(decision.probes, limit)
            if not isinstance(spent, Spent) or not spent.is_granted:
                left = spent.left if isinstance(spent, Spent) else 0
                yield from _refuse(_over_budget(judgement, left), principal, context, database)
    except GeneratorExit:
        raise
    except BaseException:
        if counted is not None:
            yield from _uncounted(context.tool or "", counted.call)
        raise
    return grant


def _uncounted(tool: str, call: int) -> Generator[Step, Answer, None]:
    """Takes a call back that is not made. Where that fails it stays counted, until it leaves the window: the refusal is what matters."""
    with suppress(Denied):
        yield Uncount(tool, call)


def _counted(
    judgement: Judgement, principal: Principal, context: Context, database: dict[str, JSON]
) -> Generator[Step, Answer, Counted | None]:
    """Counts the call where the policy bounds how many there are; one too many, or one that cannot be counted, is refused."""
    rates, tool = judgement.decision.obligations.rates, context.tool or ""
    if not rates:
        return None
    try:
        answer = yield Count(tool, rates)
    except Denied as error:
        reason = Reason(error.code, error.message, error.hint)
        return (yield from _refuse(_refused(judgement, reason), principal, context, database, evidence=error.evidence))
    if isinstance(answer, Counted) and answer.is_granted:
        return answer
    wait_s = max(answer.wait_s, 1) if isinstance(answer, Counted) else 1
    reason = Reason("limit.rate", f"This principal has called {tool} too often.", f"Try again in {wait_s} seconds.")
    return (yield from _refuse(_refused(judgement, reason), principal, context, database))


def _approved(
    judgement: Judgement, principal: Principal, context: Context, database: dict[str, JSON]
) -> Generator[Step, Answer, ApprovalGrant]:
    """Returns people's yes to exactly this; that there is none is a refusal, and recorded as one."""
    try:
        digest = approval_digest(judgement, principal, context, database)
        answer = yield SeekApproval(digest, judgement)
        if isinstance(answer, ApprovalGrant) and answer.digest == digest:
            yield Notify(Event("approve", judgement.statement, judgement.decision, judgement.plan))
            return answer
        error: GuardrailsError = Denied("approval.mismatch", "The approval does not fit what would run.")
    except (Denied, UsageError) as refusal:  # a value that no approval can be bound to
        error = refusal
    reason = Reason(error.code, error.message, error.hint)
    return (yield from _refuse(_refused(judgement, reason), principal, context, database, evidence=error.evidence))


def _refused(judgement: Judgement, reason: Reason) -> Judgement:
    return replace(judgement, decision=replace(judgement.decision, effect="deny", reasons=(reason,)))


def _over_budget(judgement: Judgement, left: int) -> Judgement:
    """The same statement, refused: it asks more about real values of protected columns than the session may."""
    decision = judgement.decision
    message = f"It asks {decision.probes} questions about protected values, and the session has {left} left."
    reason = Reason("policy.probe_budget", message, CODES["policy.probe_budget"].hint)
    return replace(judgement, decision=replace(decision, effect="deny", reasons=(reason,)), plan=None)


def _refuse(
    judgement: Judgement,
    principal: Principal,
    context: Context,
    database: dict[str, JSON],
    *,
    evidence: Mapping[str, object] | None = None,
) -> Generator[Step, Answer, NoReturn]:
    decision = judgement.decision
    display = judgement.display
    if judgement.action and display is not None:
        entry, private = action_entry(judgement.action, display, decision, principal, context, None)
        entry["type"] = "refusal"
    else:
        asked = judgement.statement, decision, judgement.normalised
        entry, private = refusal_entry(*asked, principal, context, database, display)
    receipt = _receipt(_appended((yield Append(entry, private))), None)
    first = decision.reasons[0]
    error = Denied(first.code, first.message, decision=decision, receipt=receipt, hint=first.hint, evidence=evidence)
    yield Notify(Event("outcome", judgement.statement, decision, receipt=receipt, error=error))
    raise error


def _perform(judgement: Judgement, plan: Plan | None, intent: Appended, context: Context, *, scan: bool) -> Flow:
    """Executes and records the outcome, whatever it is; a failure is recorded and raised again."""
    statement, decision = judgement.statement, judgement.decision
    limits = decision.obligations.limits

    def scanned(execution: Execution) -> tuple[tuple[Row, ...], tuple[ScanFinding, ...]]:
        if not scan:
            return execution.rows, ()
        rows, findings = scan_rows(execution.columns, execution.rows, skip_columns=judgement.declared)
        return tuple(rows), tuple(findings)

    def outcome(execution: Execution) -> tuple[dict[str, JSON], Private]:
        rows, findings = scanned(execution)
        return outcome_entry(intent.entry_id, context, execution=execution, rows=rows, findings=findings, decision=decision)

    try:
        execution = yield Execute(plan if plan is None else (yield from _looked_up(plan)), outcome, limits)
        if not isinstance(execution, Execution):
            raise Denied("usage.bug", "The execution gave no result.", decision=decision)
        yield Notify(Event("execute", statement, decision, plan))
        rows, findings = scanned(execution)
    except GeneratorExit:
        raise  # the flow itself is closed: nobody is there to perform a step
    except BaseException as error:  # also what interrupts or cancels a caller: an outcome follows always
        entry, private = outcome_entry(intent.entry_id, context, error=error)
        receipt = _receipt(_appended((yield Append(entry, private))), intent)
        known = error if isinstance(error, GuardrailsError) else None
        yield Notify(Event("outcome", statement, decision, plan, receipt=receipt, error=known))
        if scan and plan is None and known is None and isinstance(error, Exception) and not scan_error(error):
            raise EngineError("engine.failed", "The tool failed.", evidence={"error": type(error).__name__}) from error
        raise
    recorded = execution.recorded
    appended = Appended(*recorded) if recorded else _appended((yield Append(*outcome(execution))))
    receipt = _receipt(appended, intent)
    result = Result(execution.columns, rows, receipt, decision, execution.rows_changed, execution.is_truncated, tuple(findings))
    yield Notify(Event("outcome", statement, decision, plan, result, receipt))
    return result


def _looked_up(plan: Plan) -> Generator[Step, Answer, Plan]:
    """Binds what the plan's lookups find; a token that stands for no value, or for several, ends the flow before anything changes."""
    params = dict(plan.params)
    for name, lookup in plan.lookups:
        found = yield Lookup(lookup)
        if not isinstance(found, Execution) or len(found.rows) != 1 or found.rows[0][0] is None:
            message = "A token that the change would store stands for no value that this principal may see, or for several."
            raise Denied("mask.token_unknown", message)
        params[name] = found.rows[0][0]
    return replace(plan, params=params, lookups=())


def _declared(access: Access, policy: BoundPolicy) -> frozenset[str]:
    """The result columns that derive from declared columns alone; a name that another column shares is not among them."""
    relations = {source.relation for output in access.returned for source in output.sources}
    declared = {bound.mask.column for relation in relations for bound in policy.masks_of(relation)}
    views = {key for key, relation in policy.catalog.relations.items() if relation.kind == "view"}
    names: dict[str, bool] = {}
    for output in access.returned:
        # A view's column stands for the base columns beneath it, which are in the list too.
        sources = [s for s in output.sources if s.relation not in views or s in declared]
        names[output.name] = names.get(output.name, True) and bool(sources) and set(sources) <= declared
    return frozenset(name for name, is_declared in names.items() if is_declared)


def _appended(answer: Answer) -> Appended:
    if not isinstance(answer, Appended):
        raise Denied("usage.bug", "The ledger gave no receipt.", evidence={"answer": json.dumps(str(type(answer)))})
    return answer


def _receipt(entry: Appended, intent: Appended | None) -> Receipt:
    return Receipt(entry.entry_id, entry.index, entry.leaf_hash, intent.index if intent else None)
