"""Decisions and results as JSON objects: the fields of the lines that the command line writes."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, TypeAlias

from guardrails.model import ApprovalTerms, Decision, Mask, Reason, Receipt, Result

__all__ = ["decision_fields", "json_value", "receipt_fields", "refusal_fields", "result_fields", "terms_fields"]

JSON: TypeAlias = Any


def decision_fields(identifier: JSON, decision: Decision) -> dict[str, JSON]:
    """Returns a decision as fields; `identifier` is the caller's id of the statement."""
    access = decision.access
    return {
        "id": identifier,
        "effect": decision.effect,
        "code": decision.code,
        "reasons": _reasons(decision.reasons),
        "sql": decision.sql,
        "statement_kind": access.kind if access else None,
        "reads": _names(access.reads if access else ()),
        "writes": _names(access.writes if access else ()),
        "functions": list(access.functions) if access else [],
        "obligations": _obligations(decision) if decision.effect != "deny" else [],
    }


def refusal_fields(identifier: JSON, reason: Reason) -> dict[str, JSON]:
    """Returns the same fields for something that is not a statement."""
    return decision_fields(identifier, Decision("deny", (reason,)))


def result_fields(result: Result) -> dict[str, JSON]:
    """Returns what came back, and the leaf that it is recorded in."""
    return {
        "columns": list(result.columns),
        "rows": [[json_value(cell) for cell in row] for row in result.rows],
        "rows_changed": result.rows_changed,
        "truncated": result.is_truncated,
        "findings": [{"column": f.column, "kind": f.kind, "count": f.count} for f in result.findings],
        "receipt": receipt_fields(result.receipt),
    }


def receipt_fields(receipt: Receipt) -> dict[str, JSON]:
    """Returns where something is recorded."""
    return {
        "entry_id": receipt.entry_id,
        "leaf_index": receipt.leaf_index,
        "leaf_hash": receipt.leaf_hash,
        "intent_index": receipt.intent_index,
    }


def terms_fields(terms: ApprovalTerms) -> dict[str, JSON]:
    """Returns the terms of an approval; what is as by default is left out."""
    fields: dict[str, JSON] = {"groups": list(terms.groups), "expires_s": terms.expires_s}
    if terms.quorum > 1:
        fields["quorum"] = terms.quorum
    if terms.hours:
        fields["hours"] = [{"days": list(h.days), "begins": h.begins, "ends": h.ends, "zone": h.zone} for h in terms.hours]
    if terms.break_glass:
        fields["break_glass"] = {"groups": list(terms.break_glass.groups), "review_s": terms.break_glass.review_s}
    return fields | ({"window_s": terms.window_s} if terms.window_s else {})


def json_value(value: object) -> JSON:
    """Returns a cell as JSON: exact numbers and times as text, bytes in base64 (RFC 4648 section 4)."""
    match value:
        case Enum():
            return json_value(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case list():
            return [json_value(item) for item in value]
        case dict():
            return {str(name): json_value(item) for name, item in value.items()}
        case _:
            return str(value)


def _reasons(reasons: Iterable[Reason]) -> list[JSON]:
    found: list[JSON] = []
    for reason in reasons:
        fields = {"code": reason.code, "message": reason.message, "hint": reason.hint}
        found.append(fields | {"rule": reason.rule} if reason.rule else fields)
    return found


def _obligations(decision: Decision) -> list[JSON]:
    obligations, limits = decision.obligations, decision.obligations.limits
    found: list[JSON] = [_mask(m) for m in obligations.masks]
    found += [{"type": "rows", "relation": f.relation, "predicate": f.predicate} for f in obligations.row_filters]
    found.append(
        {"type": "limit", "rows": limits.rows, "rows_changed": limits.rows_changed, "seconds": limits.seconds}
        | {"result_bytes": limits.result_bytes}
    )
    if decision.probes:
        found.append({"type": "probes", "count": decision.probes, "limit": limits.probes})
    if obligations.visible is not None:
        found.append({"type": "visible", "relations": [relation for relation, _ in obligations.visible]})
    if obligations.approval:
        found.append({"type": "approval"} | terms_fields(obligations.approval))
    if obligations.lifted:
        found.append({"type": "unmask", "columns": _names(obligations.lifted)})
    return found


def _mask(mask: Mask) -> dict[str, JSON]:
    fields: dict[str, JSON] = {"type": "mask", "column": str(mask.column), "mask": mask.kind}
    if mask.predicate != "masked":
        fields["predicate"] = mask.predicate
    return fields | ({"min_group": mask.min_group} if mask.min_group else {})


def _names(columns: Iterable[object]) -> list[str]:
    return [str(column) for column in columns]
