"""Every error of the library, as one tree with stable codes.

Each error answers two readers. The operator gets `diagnostics()`: code, message, hint and the evidence that the failure
holds. The model gets `for_model()`: what to change, without protected values and without names that it may not see.

    GuardrailsError
     ├── UsageError          the caller's own mistake: a missing file, an unknown dialect, no session
     ├── StatementError      the SQL text is not understood, or not allowed in any policy
     ├── PolicyError         the policy file is invalid; carries line and column
     ├── CatalogError        the schema could not be read
     ├── IdentityError       a token or a principal was not accepted
     ├── Denied              the policy refused, or an obligation could not be fulfilled
     ├── ApprovalRequired    a person has to say yes first
     ├── EngineError         the database refused or failed; its own text never reaches the model
     │    └── ConstraintError  a change would violate a constraint of the database
     └── LedgerError         the ledger could not be written or read
          ├── TamperedError  the ledger contradicts itself, its signatures or its tree
          └── ProofError     a Merkle proof does not hold
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from guardrails.codes import CODES

if TYPE_CHECKING:
    from guardrails.model import ApprovalRequest, Decision, Receipt

__all__ = [
    "ApprovalRequired",
    "CatalogError",
    "ConstraintError",
    "Denied",
    "EngineError",
    "GuardrailsError",
    "IdentityError",
    "LedgerError",
    "PolicyError",
    "ProofError",
    "StatementError",
    "TamperedError",
    "UsageError",
]


class GuardrailsError(Exception):
    """Base of all errors of this library.

    Args:
        code: A stable code from `guardrails.codes.CODES`, such as ``sql.multiple_statements``.
        message: What happened, in one sentence, fit for the model: no protected value, no hidden name.
        hint: The way out; the catalogue's hint for the code when left empty.
        evidence: Facts for the operator only (never shown to the model).

    Raises:
        KeyError: The code is not in the catalogue; a code that is not documented is a defect.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", evidence: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint or CODES[code].hint
        self.evidence: dict[str, object] = dict(evidence or {})

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}" + (f" {self.hint}" if self.hint else "")

    def diagnostics(self) -> dict[str, object]:
        """Returns code, message, hint and evidence, for logs and operators."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "evidence": self.evidence}

    def for_model(self) -> str:
        """Returns the text that an agent may read: what was refused, why, and how to go on."""
        return f"Refused ({self.code}): {self.message}" + (f" {self.hint}" if self.hint else "")


class UsageError(GuardrailsError):
    """The library was called wrongly; nothing was judged and nothing ran."""


class StatementError(GuardrailsError):
    """The statement is not positively understood, so it is refused whatever the policy says."""


class PolicyError(GuardrailsError):
    """The policy is invalid. `line` and `column` count from 1; 0 where the file has no such place."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        line: int = 0,
        column: int = 0,
        source: str = "",
        hint: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint, evidence=evidence)
        self.line = line
        self.column = column
        self.source = source

    def __str__(self) -> str:
        place = f"{self.source or 'policy'}:{self.line}:{self.column}: " if self.line else ""
        return place + super().__str__()

    def diagnostics(self) -> dict[str, object]:
        return super().diagnostics() | {"source": self.source, "line": self.line, "column": self.column}


class CatalogError(GuardrailsError):
    """The schema could not be read, or a relation's definition is not understood."""


class IdentityError(GuardrailsError):
    """A principal could not be established; without one nothing is decided."""


class Denied(GuardrailsError):
    """The decision was 'deny'. `decision` holds the reasons; `receipt` the ledger entry that recorded it, if one was written."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        decision: Decision | None = None,
        receipt: Receipt | None = None,
        hint: str = "",
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint, evidence=evidence)
        self.decision = decision
        self.receipt = receipt

    def for_model(self) -> str:
        reasons = self.decision.reasons if self.decision else ()
        if not reasons:
            return super().for_model()
        lines = [f"Refused ({r.code}): {r.message}" + (f" {r.hint}" if r.hint else "") for r in reasons]
        return "\n".join(lines)


class ApprovalRequired(GuardrailsError):
    """The decision was 'approve' and nobody has said yes yet. `request` is what the approver sees; run again once approved."""

    def __init__(self, message: str, *, request: ApprovalRequest, receipt: Receipt | None = None) -> None:
        super().__init__("approval.required", message, evidence={"request_id": request.id})
        self.request = request
        self.receipt = receipt


class EngineError(GuardrailsError):
    """The database failed or refused. The engine's own text is evidence for the operator, never for the model."""


class ConstraintError(EngineError):
    """A change would violate a constraint: a key that is there already, a missing row that it refers to, NULL, a CHECK."""


class LedgerError(GuardrailsError):
    """The ledger could not be opened, written or read; without it nothing runs."""


class TamperedError(LedgerError):
    """The ledger's content contradicts its hashes, signatures or tree. `evidence` names the entry."""


class ProofError(LedgerError):
    """An inclusion or consistency proof does not hold (RFC 9162, sections 2.1.3.2 and 2.1.4.2)."""
