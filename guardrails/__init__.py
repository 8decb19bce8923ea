"""Understands, judges, masks, approves, runs and records every SQL statement that an agent writes.

The names below are imported when they are first used, so that importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardrails.errors import (
        ApprovalRequired,
        ConstraintError,
        Denied,
        EngineError,
        GuardrailsError,
        IdentityError,
        LedgerError,
        PolicyError,
        UsageError,
    )
    from guardrails.guard import Guard
    from guardrails.model import Context, Decision, Principal, Receipt, Result, Statement
    from guardrails.policy import Policy
    from guardrails.tools import Sql

    __version__: str

__all__ = [
    "ApprovalRequired",
    "ConstraintError",
    "Context",
    "Decision",
    "Denied",
    "EngineError",
    "Guard",
    "GuardrailsError",
    "IdentityError",
    "LedgerError",
    "Policy",
    "PolicyError",
    "Principal",
    "Receipt",
    "Result",
    "Sql",
    "Statement",
    "UsageError",
    "__version__",
]

_DISTRIBUTION = "guardrails-sql"
_SAME_NAME = "guardrails-ai"
_MODULES = {
    "guardrails.errors": (
        *(
            "ApprovalRequired",
            "ConstraintError",
            "Denied",
            "EngineError",
            "GuardrailsError",
            "IdentityError",
            "LedgerError",
            "PolicyError",
            "UsageError",
        ),
    ),
    "guardrails.guard": ("Guard",),
    "guardrails.model": ("Context", "Decision", "Principal", "Receipt", "Result", "Statement"),
    "guardrails.policy": ("Policy",),
    "guardrails.tools": ("Sql",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        try:
            found: Any = version(_DISTRIBUTION)
        except PackageNotFoundError:
            # A source tree that is not installed.
            found = "0+unknown"
    elif name in _MODULE_OF:
        found = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _refuse_mixture() -> None:
    """Two distributions that write into one folder overwrite each other's modules, so neither can be trusted."""
    try:
        distribution(_SAME_NAME)
    except PackageNotFoundError:
        return
    raise ImportError(
        f"The distributions {_DISTRIBUTION} and {_SAME_NAME} are both installed here, and both own the import name `guardrails`: "
        f"their modules overwrite each other. Keep them in separate environments, or uninstall both and install the one you need: "
        f"pip uninstall {_DISTRIBUTION} {_SAME_NAME}; pip install {_DISTRIBUTION}."
    )


_refuse_mixture()
