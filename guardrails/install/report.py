"""What became of each row filter of a policy, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

__all__ = ["Installed", "State"]

State: TypeAlias = Literal["verified", "created", "replaced", "removed", "missing", "changed", "fenced"]
"""`verified`, `created`, `replaced`: the guard uses the view; `removed`: it is gone, as nothing needs it; `missing`, `changed`: it is not
there, or not what was made, so that the guard fences; `fenced`: a view cannot hold this filter, so that the guard fences."""

_HELD: frozenset[State] = frozenset({"verified", "created", "replaced", "removed"})


@dataclass(frozen=True, slots=True)
class Installed:
    """One object of the database: the relation (and column) that it is for, its name, how it stands, and why where that is asked."""

    relation: str
    name: str
    state: State
    reason: str = ""
    sql: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the database is as the policy wants it."""
        return self.state in _HELD

    def fields(self) -> dict[str, object]:
        """Returns the same as JSON."""
        return asdict(self)
