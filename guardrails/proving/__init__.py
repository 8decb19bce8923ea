"""Proof by trial that a policy hides what it protects: twin databases, generated statements, one comparison."""

from guardrails.proving.prover import prove
from guardrails.proving.report import Difference, Report

__all__ = ["Difference", "Report", "prove"]
