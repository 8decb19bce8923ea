"""A new mask key for new tokens; that there is one is recorded in the ledger before it counts.

Guards that are open keep the keys that they were opened with.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping

from guardrails.errors import UsageError
from guardrails.ledger import Ledger
from guardrails.masking.keys import KEY_VARIABLE, MaskKeyring, key_path, rotate_keyring

__all__ = ["rotate_mask_key"]


def rotate_mask_key(
    ledger: Ledger, *, by: str | None = None, reason: str = "", environment: Mapping[str, str] | None = None
) -> MaskKeyring:
    """Makes a new mask key beside a ledger and keeps those that were there, so that their tokens can still be resolved.

    Args:
        ledger: The open ledger.
        by: Who does it, as that person says.
        reason: Why; the ledger commits to it.
        environment: Where GUARDRAILS_MASK_KEY must not be set; the process's environment when None.

    Returns:
        The keyring with the new key.

    Raises:
        UsageError: The keys are not in a file beside the ledger, or cannot be read or written (usage.input_invalid,
            usage.file_missing).
        LedgerError: It could not be recorded; nothing has changed.
    """
    if KEY_VARIABLE in (os.environ if environment is None else environment):
        hint = "Put a new key in front of the ones it holds, with a comma after it."
        raise UsageError("usage.input_invalid", f"The mask keys are given in {KEY_VARIABLE}.", hint=hint)
    path = key_path(ledger.path) if ledger.path is not None else None
    if path is None:
        raise UsageError("usage.input_invalid", "The mask key of a ledger in memory ends with the process.")

    def record(keyring: MaskKeyring) -> None:
        new, previous = keyring.fingerprints[:2]
        ledger.append(
            {
                "type": "mask_key.rotated",
                "session": uuid.uuid4().hex,
                "fingerprint": new,
                "previous": previous,
                "keys": len(keyring.keys),
                "by": by,
            },
            private={"reason": reason.encode("utf-8", "backslashreplace")},
        )

    try:
        return rotate_keyring(path, now=int(time.time()), record=record)
    except FileNotFoundError as error:
        raise UsageError("usage.file_missing", f"There is no mask key {path.name} to rotate.") from error
    except OSError as error:
        raise UsageError("usage.file_missing", f"The mask key {path.name} cannot be read or written.") from error
