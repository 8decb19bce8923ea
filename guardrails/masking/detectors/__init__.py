"""The detectors, one module a family: contacts, numbers with check digits, secrets; and the text that they look at."""

from guardrails.masking.detectors.span import Span

__all__ = ["Span"]
