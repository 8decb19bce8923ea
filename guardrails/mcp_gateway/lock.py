"""The lock file: which definitions of the upstream servers somebody has accepted, beside the gateway's configuration.

The file holds the definitions themselves, so that a change can be shown as a difference. It alone permits nothing: each acceptance is an
entry of the signed ledger, ``mcp.tool.accepted``, and a definition counts only where that entry says the same. Whoever can write the file
and not the ledger accepts nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict, ValidationError

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.mcp_gateway.definitions import Definition, DefinitionKey, Kind
from guardrails.model import Principal

__all__ = ["ACCEPTED_TYPE", "Acceptance", "LockFile", "accept"]

ACCEPTED_TYPE = "mcp.tool.accepted"
"""Type of the ledger's entries that record an acceptance, of whatever kind of definition."""
_MOST_BYTES = 10_000_000
_MODE = 0o644
_NOT_THERE = frozenset({"ledger.index_range", "ledger.archived"})
"""What is not there, or in an archive, has to be accepted again."""


class _Locked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream: str
    kind: Kind
    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    definition: dict[str, JsonValue]
    by: str
    origin: str
    entry: Annotated[int, Strict(), Field(ge=0)]


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    accepted: tuple[_Locked, ...] = ()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Somebody's yes to a definition: whose, and the ledger's entry that says so."""

    definition: Definition
    by: str
    origin: str
    entry: int

    def is_recorded(self, ledger: Ledger) -> bool:
        """Tells whether the ledger says the same.

        Raises:
            LedgerError: It cannot be read, or contradicts itself.
        """
        if self.origin != ledger.origin:
            return False
        try:
            entry = ledger.entry(self.entry)
        except LedgerError as error:
            if error.code in _NOT_THERE:
                return False
            raise
        return {name: entry.get(name) for name in _said(self.definition)} == _said(self.definition)


class LockFile:
    """The accepted definitions as a file; read again when it has changed.

    Args:
        path: Where it is, or will be.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._read_as: tuple[int, int, int] | None = None
        self._accepted: Mapping[DefinitionKey, Acceptance] = {}

    def accepted(self) -> Mapping[DefinitionKey, Acceptance]:
        """Returns what the file says, by definition; whether the ledger agrees is asked of each (`Acceptance.is_recorded`).

        Raises:
            UsageError: The file cannot be read (``usage.file_missing``), or is not a lock file (``mcp.lock_invalid``).
        """
        try:
            status = self.path.stat()
            seen = status.st_mtime_ns, status.st_size, status.st_ino
            if seen != self._read_as:
                self._accepted, self._read_as = _parsed(self.path.read_bytes()), seen
        except FileNotFoundError:
            self._accepted, self._read_as = {}, None
        except OSError as error:
            raise UsageError("usage.file_missing", f"The lock file {self.path} cannot be read.") from error
        return self._accepted

    def write(self, acceptances: Iterable[Acceptance]) -> None:
        """Replaces the file, as a whole or not at all."""
        listed = [
            _Locked(
                upstream=a.definition.key.upstream,
                kind=a.definition.key.kind,
                name=a.definition.key.name,
                sha256=a.definition.digest,
                definition=json.loads(json.dumps(dict(a.definition.body))),
                by=a.by,
                origin=a.origin,
                entry=a.entry,
            )
            for a in sorted(acceptances, key=lambda a: a.definition.key)
        ]
        # ASCII, so that hidden characters show in reviews of the file.
        text = json.dumps(_Content(accepted=tuple(listed)).model_dump(), indent=2, ensure_ascii=True) + "\n"
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
            # Readable like the configuration that it lies beside.
            os.chmod(temporary, _MODE)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise


def accept(lock: LockFile, ledger: Ledger, definitions: Iterable[Definition], by: Principal) -> list[Acceptance]:
    """Records that somebody accepts definitions, in the ledger first.

    Args:
        lock: Gets them, in the place of earlier ones of the same key.
        ledger: Gets an entry for each.
        definitions: What they have seen.
        by: Who accepts.

    Raises:
        LedgerError: An entry could not be written; the file is as it was.
    """
    made = []
    for definition in definitions:
        who = {"id": by.id, "issuer": by.issuer, "verified": by.verified}
        appended = ledger.append({"type": ACCEPTED_TYPE, **_said(definition), "by": who})
        made.append(Acceptance(definition, by.id, ledger.origin, appended.index))
    kept = dict(lock.accepted()) | {acceptance.definition.key: acceptance for acceptance in made}
    lock.write(kept.values())
    return made


def _said(definition: Definition) -> dict[str, object]:
    key = definition.key
    return {
        "type": ACCEPTED_TYPE,
        "upstream": key.upstream,
        "kind": key.kind,
        "name": key.name,
        "definition": definition.digest,
    }


def _parsed(data: bytes) -> Mapping[DefinitionKey, Acceptance]:
    if len(data) > _MOST_BYTES:
        raise UsageError("mcp.lock_invalid", f"The lock file is larger than {_MOST_BYTES} bytes.")
    try:
        content = _Content.model_validate_json(data)
    except ValidationError as error:
        evidence = {"problems": [f"{e['loc']}: {e['msg']}" for e in error.errors(include_input=False)[:5]]}
        raise UsageError("mcp.lock_invalid", "The lock file does not have the form of one.", evidence=evidence) from None
    accepted: dict[DefinitionKey, Acceptance] = {}
    for locked in content.accepted:
        definition = Definition(DefinitionKey(locked.upstream, locked.kind, locked.name), locked.definition)
        if definition.digest != locked.sha256 or definition.key in accepted:
            raise UsageError("mcp.lock_invalid", f"The lock file contradicts itself about {definition.key}.")
        accepted[definition.key] = Acceptance(definition, locked.by, locked.origin, locked.entry)
    return accepted
