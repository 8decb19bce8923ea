"""Where passphrases and PINs come from: a callback of the caller, or else an environment variable; never a URI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from guardrails.errors import LedgerError

__all__ = ["PASSPHRASE_VARIABLE", "PIN_VARIABLE", "AskSecret", "Secrets"]

PASSPHRASE_VARIABLE = "GUARDRAILS_LEDGER_PASSPHRASE"  # noqa: S105 - the name of a variable
PIN_VARIABLE = "GUARDRAILS_LEDGER_PIN"

AskSecret = Callable[[str], str]
"""Asks a person or a vault for what its argument describes, such as "passphrase of ledger.key", and returns it."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The two sources of secrets. Neither is shown by `repr`.

    Args:
        environment: Environment variables.
        ask: Asked when the variable is not set; None where nobody can be asked.
    """

    environment: Mapping[str, str] = field(repr=False)
    ask: AskSecret | None = field(default=None, repr=False)

    def get(self, variable: str, what: str) -> str:
        """Returns the secret `what` describes: that of `variable`, or else the answer of `ask`.

        Raises:
            LedgerError: There is none (ledger.key_missing).
        """
        secret = self.environment.get(variable, "") or (self.ask(what) if self.ask else "")
        if not secret:
            raise LedgerError(
                "ledger.key_missing",
                f"The {what} is needed to open the signing key.",
                hint=f"Set {variable}, or give a callback.",
            )
        return secret
