"""Evidence for people who trust nobody's software: a range of a ledger as a folder, and a single-file verifier for it."""

from guardrails.ledger.evidence.checking import verify_evidence
from guardrails.ledger.evidence.exporting import Evidence, export_evidence
from guardrails.ledger.evidence.verifier import Report

__all__ = ["Evidence", "Report", "export_evidence", "verify_evidence"]
