"""The frozen types that flow from a statement to its receipt (see `guardrails.flow`).

No behaviour beyond small derived properties, no I/O. Names follow XACML and Cedar (principal, obligation, decision) and the SQL
standard (relation, column, statement). Relation keys are strings: `name` inside the catalog's default schema, else `schema.name`.
"""

from guardrails.model.access import Access, OutputColumn, Probe, RelationUse
from guardrails.model.approval import ApprovalGrant, ApprovalRequest, Impact
from guardrails.model.decision import (
    Decision,
    Limits,
    Mask,
    MaskExpression,
    Obligations,
    Rate,
    Reason,
    RowFilter,
)
from guardrails.model.outcome import Execution, Plan, Receipt, Result, ScanFinding
from guardrails.model.request import Actor, Context, InTransaction, Principal, Runtime, Statement
from guardrails.model.schema import Catalog, Column, ColumnRef, Constraint, Declared, PlacedColumn, PlacedView, Relation
from guardrails.model.terms import ApprovalTerms, BreakGlass, WorkingHours
from guardrails.model.values import (
    Action,
    ConstraintKind,
    DialectName,
    Effect,
    Given,
    GrantKind,
    ImpactMode,
    IndexUse,
    Opaque,
    Params,
    PredicateMode,
    RelationKind,
    RequestKind,
    Row,
    StatementKind,
    Value,
    Verification,
)

__all__ = [
    "Access",
    "Action",
    "Actor",
    "ApprovalGrant",
    "ApprovalRequest",
    "ApprovalTerms",
    "BreakGlass",
    "Catalog",
    "Column",
    "ColumnRef",
    "Constraint",
    "ConstraintKind",
    "Context",
    "Decision",
    "Declared",
    "DialectName",
    "Effect",
    "Execution",
    "Given",
    "GrantKind",
    "Impact",
    "ImpactMode",
    "InTransaction",
    "IndexUse",
    "Limits",
    "Mask",
    "MaskExpression",
    "Obligations",
    "Opaque",
    "OutputColumn",
    "Params",
    "PlacedColumn",
    "PlacedView",
    "Plan",
    "PredicateMode",
    "Principal",
    "Probe",
    "Rate",
    "Reason",
    "Receipt",
    "Relation",
    "RelationKind",
    "RelationUse",
    "RequestKind",
    "Result",
    "Row",
    "RowFilter",
    "Runtime",
    "ScanFinding",
    "Statement",
    "StatementKind",
    "Value",
    "Verification",
    "WorkingHours",
]
