"""Conditions in CEL, the Common Expression Language: compiled when the policy is loaded, evaluated without side effects.

A condition must be true or false; one that fails when it is evaluated denies, whatever the rule's effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrails.model import Context, Principal

if TYPE_CHECKING:
    import cel

__all__ = ["Condition", "ConditionError"]


class ConditionError(ValueError):
    """A condition does not compile or does not evaluate to a truth value; the text says which, without values."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition; `principal`, `agent`, `purpose`, `session`, `actions` and `relations` are its variables.

    Raises:
        ConditionError: The text is not CEL.
    """

    text: str
    _program: cel.Program = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The package brings its own command line along; policies without conditions do not pay for importing it.
        import cel

        try:
            object.__setattr__(self, "_program", cel.compile(self.text))
        except (ValueError, RuntimeError) as error:
            raise ConditionError(f"is not valid CEL: {str(error).splitlines()[0][:200]}") from None

    def holds(self, variables: Mapping[str, object]) -> bool:
        """Evaluates the condition.

        Raises:
            ConditionError: It failed, or gave something else than true or false.
        """
        import cel

        try:
            result = self._program.execute(cel.Context(dict(variables)))
        except (ValueError, RuntimeError, TypeError, OverflowError, ZeroDivisionError, KeyError) as error:
            raise ConditionError(f"failed ({type(error).__name__})") from None
        if not isinstance(result, bool):
            raise ConditionError("is not true or false")
        return result


def variables_of(principal: Principal, context: Context, actions: object, relations: object) -> dict[str, object]:
    """Returns the variables that a condition may use."""
    person = {**principal.attributes, "id": principal.id, "groups": sorted(principal.groups), "verified": principal.verified}
    return {
        "principal": person,
        "agent": context.agent or "",
        "model": context.model or "",
        "purpose": context.purpose or "",
        "session": context.session_id,
        "actions": actions,
        "relations": relations,
    }
