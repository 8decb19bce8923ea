"""What stands in the README.txt of a bundle: how an auditor verifies it."""

from __future__ import annotations

__all__ = ["README"]

README = """\
Evidence from a ledger (format guardrails-evidence/1)

1. Get the log's verifier key from its operator by another way than this folder: a letter, a contract, a page you trust. A key
   that comes with the evidence proves nothing, so keys.json is for information only and is never used.
2. Read verify.py, one file, or take the same file from a source you trust and compare. It needs Python 3.9 or later and the
   package `cryptography` (pip install cryptography); it connects to nothing and writes nothing.
3. Run:  python -I verify.py . --key "<verifier key>"  [--since your-last-checkpoint] [--witness "<key>" ... --quorum N]
   Exit status 0: verified; 1: something was changed or is missing; 2: wrong usage.
4. Read what it says is proven, and what it says is not. Without a witness and without your last checkpoint, whoever holds the
   log's key could show you another history than others see.
5. Keep the file `checkpoint`: next time ask for an export with --since, and give it to verify.py as --since.

Entries are in tile/entries (C2SP tlog-tiles) and context.jsonl, one C2SP tlog-proof for each cited entry is in proofs.
"""
