"""Masking: mask functions as SQL and as Python, detectors of personal data and secrets, and scanning of results."""

from guardrails.masking.detect import Span, find
from guardrails.masking.functions import check_mask, mask_expression, mask_value
from guardrails.masking.keys import MaskKeyring, open_keyring
from guardrails.masking.kinds import MASK_KINDS
from guardrails.masking.scan import scan_rows
from guardrails.masking.sqlite import sqlite_functions

__all__ = [
    "MASK_KINDS",
    "MaskKeyring",
    "Span",
    "check_mask",
    "find",
    "mask_expression",
    "mask_value",
    "open_keyring",
    "scan_rows",
    "sqlite_functions",
]
