"""What the flow writes into the ledger: the fields of refusal, intent, action and outcome entries, and what stays out of them.

No value of the statement, its parameters or its result appears in an entry. The statement is shown with every literal replaced;
the texts themselves are committed to (salted SHA-256, made by the ledger), so that whoever holds a text can prove it was this one.
Numbers are integers (the entry profile has no floats): times in microseconds or milliseconds, as the names say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from guardrails.displaying import Display
from guardrails.errors import GuardrailsError
from guardrails.masking.detect import find
from guardrails.model import (
    Access,
    ApprovalGrant,
    Context,
    Decision,
    Execution,
    Mask,
    Principal,
    Row,
    Runtime,
    ScanFinding,
    Statement,
)

__all__ = ["JSON", "Private", "action_entry", "intent_entry", "outcome_entry", "refusal_entry", "scrubbed", "session_facts"]

JSON: TypeAlias = bool | int | str | list["JSON"] | dict[str, "JSON"] | None
Private: TypeAlias = dict[str, bytes]

_TEXT_BYTES = 16_000
"""Longest normalised text in an entry; a longer one is represented by its fingerprint alone."""
_QUOTED = re.compile(r'"(?:[^"]|"")*"|`(?:[^`]|``)*`')
_WORD = re.compile(r"\w{1,64}", re.ASCII)
_CHANGING = frozenset({"insert", "update", "delete", "merge", "truncate"})
_OF_CALLS = frozenset({"session", "tool", "tool_call", "runtime", "transaction"})
"""What the entry that introduces a session leaves to those of its calls."""
_NAMES = 200
"""Most names listed of one kind; the count tells when there were more."""


def session_facts(principal: Principal, context: Context) -> dict[str, JSON]:
    """Returns what the entry that introduces a session's key says: who acts, how that is known (a digest of the token), and why."""
    return {name: value for name, value in _who(principal, context).items() if name not in _OF_CALLS}


def intent_entry(
    statement: Statement,
    decision: Decision,
    normalised: str | None,
    principal: Principal,
    context: Context,
    database: Mapping[str, JSON],
    grant: ApprovalGrant | None,
    display: Display | None = None,
) -> tuple[dict[str, JSON], Private]:
    """Returns the entry that is durable before the statement runs, and the private texts it commits to.

    `display` are a tool's arguments beside the statement, None where there are none.
    """
    entry = _who(principal, context) | {
        "type": "intent",
        "database": dict(database),
        "statement": _statement(statement, decision.access, normalised),
        "decision": _decision(decision),
    }
    if grant:
        entry["approval"] = _approval(grant)
    private = {"sql": _utf8(statement.sql), "params": _utf8(repr(statement.params))}
    if decision.sql:
        private["executed"] = _utf8(decision.sql)
    if display:
        entry["call"] = _arguments(display)
        private["arguments"] = _utf8(repr(dict(display.arguments)))
    if grant:
        private["reason"] = _utf8(grant.reason)
    return entry, private


def refusal_entry(
    statement: Statement,
    decision: Decision,
    normalised: str | None,
    principal: Principal,
    context: Context,
    database: Mapping[str, JSON],
    display: Display | None = None,
) -> tuple[dict[str, JSON], Private]:
    """Returns the entry of a statement that was refused and never ran."""
    entry, private = intent_entry(statement, decision, normalised, principal, context, database, None, display)
    return entry | {"type": "refusal"}, private


def action_entry(
    name: str,
    display: Display,
    decision: Decision,
    principal: Principal,
    context: Context,
    grant: ApprovalGrant | None,
) -> tuple[dict[str, JSON], Private]:
    """Returns the intent entry of an action that is not SQL; its arguments are committed to, and listed by name.

    Beyond names, `shown` has what the policy lets be seen of them.
    """
    entry = _who(principal, context) | {
        "type": "intent",
        "action": {"name": name, **_arguments(display)},
        "decision": _decision(decision),
    }
    if grant:
        entry["approval"] = _approval(grant)
    return entry, {"arguments": _utf8(repr(dict(display.arguments)))}


def outcome_entry(
    intent_id: str,
    context: Context,
    *,
    execution: Execution | None = None,
    rows: Sequence[Row] | None = None,
    findings: Sequence[ScanFinding] = (),
    decision: Decision | None = None,
    error: BaseException | None = None,
) -> tuple[dict[str, JSON], Private]:
    """Returns the entry that says how an intent ended: with a result, or with an error (class and code, never its text).

    `rows` are what the caller gets, after the second net; those of the execution when None. A change in a transaction is
    ``uncommitted``: what became of it is said by the outcome of the transaction.
    """
    entry: dict[str, JSON] = {"type": "outcome", "session": context.session_id, "intent": intent_id}
    entry |= _in_transaction(context)
    is_open = context.transaction is not None and context.transaction.is_change
    if error is not None:
        code = error.code if isinstance(error, GuardrailsError) else type(error).__name__
        # An interrupt says nothing about what the database had already done.
        is_unknown = code == "engine.unknown_outcome" or not isinstance(error, Exception)
        return entry | {"status": "unknown" if is_unknown else "error", "error": code}, {}
    if execution is None:
        raise ValueError("an outcome needs an execution or an error")
    masks = decision.obligations.masks if decision else ()
    result: dict[str, JSON] = {
        "status": "uncommitted" if is_open else "ok",
        "rows": len(execution.rows),
        "rows_changed": execution.rows_changed,
        "changed": _changed(execution, decision.access if decision else None),
        "truncated": execution.is_truncated,
        "duration_us": int(execution.duration_ms * 1000),
        "masks": [{"column": str(m.column), "mask": m.kind} for m in masks[:_NAMES]],
        "findings": [{"column": scrubbed(_short(f.column)), "kind": f.kind, "count": f.count} for f in findings[:_NAMES]],
    }
    return entry | result, {"result": _utf8(repr((execution.columns, tuple(execution.rows if rows is None else rows))))}


def _arguments(display: Display) -> dict[str, JSON]:
    fields: dict[str, JSON] = {"arguments": _names(display.arguments)}
    shown = display.entry()
    return fields | ({"shown": list[JSON](dict[str, JSON](one) for one in shown)} if shown else {})


def _who(principal: Principal, context: Context) -> dict[str, JSON]:
    return {
        "session": context.session_id,
        "principal": {
            "id": principal.id,
            "issuer": principal.issuer,
            "groups": list[JSON](sorted(principal.groups)[:_NAMES]),
            "verified": principal.verified,
            "token_digest": principal.token_digest,
        },
        "agent": _agent(context),
        **({"delegation": [{"id": a.id, "issuer": a.issuer} for a in principal.actors[:_NAMES]]} if principal.actors else {}),
        "purpose": context.purpose,
        **call_fields(context),
        **_in_transaction(context),
    }


def call_fields(context: Context) -> dict[str, JSON]:
    """Returns what an entry says of the call: conversation, tool and the call's id, and what the framework told."""
    return {
        "conversation": context.conversation_id,
        "tool": context.tool,
        "tool_call": context.tool_call_id,
        **_runtime(context.runtime),
    }


def _in_transaction(context: Context) -> dict[str, JSON]:
    place = context.transaction
    return {} if place is None else {"transaction": {"id": place.id, "number": place.number}}


def _runtime(runtime: Runtime | None) -> dict[str, JSON]:
    """What the framework told, as told; the fields beside it are what counts."""
    if runtime is None:
        return {}
    told = {
        "framework": runtime.framework,
        "agent": runtime.agent,
        "model": runtime.model,
        "conversation": runtime.conversation_id,
        "run": runtime.run_id,
        "client": runtime.client,
    }
    return {"runtime": {name: _short(value) for name, value in told.items() if value is not None}}


def _agent(context: Context) -> dict[str, JSON]:
    agent: dict[str, JSON] = {"name": context.agent, "model": context.model}
    further = {"version": context.agent_version, "instance": context.agent_instance, "key": context.agent_key}
    return agent | {name: value for name, value in further.items() if value is not None}


def _statement(statement: Statement, access: Access | None, normalised: str | None) -> dict[str, JSON]:
    fields: dict[str, JSON] = {"bytes": len(_utf8(statement.sql)), "dialect": statement.dialect}
    if normalised is not None:
        shown = scrubbed(normalised)
        fields["fingerprint"] = hashlib.sha256(_utf8(shown)).hexdigest()
        if len(_utf8(shown)) <= _TEXT_BYTES:
            fields["normalised"] = shown
    if access:
        fields |= {
            "kind": access.kind,
            "actions": _names(access.actions),
            "relations": _names({f"{u.action} {u.relation}" for u in access.relations}),
            "reads": _names({str(c) for c in access.reads}),
            "writes": _names({str(c) for c in access.writes}),
            "functions": _names(access.functions),
        }
    return fields


def _decision(decision: Decision) -> dict[str, JSON]:
    obligations, limits = decision.obligations, decision.obligations.limits
    shown: dict[str, JSON] = {}
    if obligations.visible is not None:
        shown["visible"] = _names({relation for relation, _ in obligations.visible})
    if decision.probes:
        shown["probes"] = decision.probes
    if obligations.lifted:
        shown["lifted"] = _names({str(column) for column in obligations.lifted})
    return shown | {
        "effect": decision.effect,
        "reasons": [{"code": r.code, "rule": r.rule} for r in decision.reasons[:_NAMES]],
        "rules": _names(decision.rules),
        "policy": decision.policy_digest,
        "masks": [_mask(m) for m in obligations.masks[:_NAMES]],
        "row_filters": _names({f.relation for f in obligations.row_filters}),
        "limits": {"rows": limits.rows, "rows_changed": limits.rows_changed, "milliseconds": int(limits.seconds * 1000)},
    }


def _mask(mask: Mask) -> dict[str, JSON]:
    shown: dict[str, JSON] = {"column": str(mask.column), "mask": mask.kind}
    if mask.predicate != "masked":
        shown["predicate"] = mask.predicate
    return shown | ({"min_group": mask.min_group} if mask.min_group else {})


def _approval(grant: ApprovalGrant) -> dict[str, JSON]:
    fields: dict[str, JSON] = {"request": grant.request_id, "digest": grant.digest, "approver": grant.approver}
    if grant.kind != "approval":
        fields["kind"] = grant.kind
    if len(grant.approvers) > 1:
        fields["approvers"] = list[JSON](grant.approvers[:_NAMES])
    return fields | {"decided_at": grant.decided_at}


def _names(names: Mapping[str, object] | Sequence[str] | set[str]) -> list[JSON]:
    listed = sorted(_short(n) for n in names)
    return [*listed[:_NAMES], *([f"… {len(listed) - _NAMES} more"] if len(listed) > _NAMES else [])]


def _changed(execution: Execution, access: Access | None) -> list[JSON]:
    """Rows changed by relation; where the engine counts only all of them, and one relation is the target, they are all of that."""
    by_relation = dict(execution.changed_by)
    targets = {use.relation for use in access.relations if use.action in _CHANGING} if access else set()
    if not by_relation and execution.rows_changed and len(targets) == 1:
        by_relation = {targets.pop(): execution.rows_changed}
    return [{"relation": _short(name), "rows": rows} for name, rows in sorted(by_relation.items())[:_NAMES]]


def scrubbed(text: str) -> str:
    """Returns a normalised text without names that an agent may have chosen to say something: an alias can hold a person's address.

    Quoted names of other than word characters are left out, and whatever the detectors of personal data find.
    """
    plain = _QUOTED.sub(lambda found: found[0] if _WORD.fullmatch(found[0][1:-1]) else f"{found[0][0]}…{found[0][0]}", text)
    for span in reversed(find(plain)):
        plain = f"{plain[: span.start]}[{span.kind}]{plain[span.end :]}"
    return plain


def _short(name: str) -> str:
    return name if len(name) <= 200 else name[:200] + "…"


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
