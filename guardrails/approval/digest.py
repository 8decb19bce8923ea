"""What an approval binds, as one digest: who asks, through which agent and why, what runs where with which values, under which policy.

Each part is written with its type and length before it, so that no two different requests have the same bytes: 1, 1.0, True and "1"
differ, and a boundary cannot be moved from one part to the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from guardrails.errors import UsageError
from guardrails.model import Context, Params, Principal

__all__ = ["request_digest", "window_digest"]

_DOMAIN = b"guardrails approval v2"
_MOST_LEVELS = 64
_NOWHERE: Mapping[str, object] = {}


def request_digest(
    principal: Principal,
    statement_sql: str,
    params: Params,
    policy_digest: str,
    context: Context,
    database: Mapping[str, object] = _NOWHERE,
) -> str:
    """Returns the SHA-256 of a request, in hexadecimal.

    Not bound are the session, the tool, the model and the token, so that the same request may be made again after the answer, in another
    session and with a renewed token.

    Args:
        principal: Its id, issuer, how it was verified, its groups and attributes, and who acts for it.
        statement_sql: The regenerated statement.
        params: By name (in any order) or by position.
        policy_digest: Of the policy that asked for approval.
        context: Its agent, the key that the agent has shown, its purpose, and the arguments of the call beside the statement.
        database: Where it runs: name, dialect and role; empty for an action that is in none.

    Raises:
        UsageError: A value is of a type that cannot be approved (usage.input_invalid).
    """
    given = dict(params) if isinstance(params, Mapping) else list(params)
    # A tool's other arguments may say where the statement runs.
    further: list[object] = [dict(context.arguments)] if context.arguments else []
    return _digest("statement", principal, context, policy_digest, [dict(database), statement_sql, given, *further])


def window_digest(
    principal: Principal, rule: str, policy_digest: str, context: Context, database: Mapping[str, object] = _NOWHERE
) -> str:
    """Returns the SHA-256 of a grant that is given ahead, for whatever a rule would ask approval for; bound as a request is.

    Args:
        principal: As in `request_digest`.
        rule: The id of the rule.
        policy_digest: As in `request_digest`.
        context: As in `request_digest`.
        database: As in `request_digest`.
    """
    return _digest("window", principal, context, policy_digest, [dict(database), rule])


def _digest(kind: str, principal: Principal, context: Context, policy_digest: str, what: list[object]) -> str:
    parts = [
        kind,
        principal.id,
        principal.issuer,
        principal.verified,
        sorted(principal.groups),
        dict(principal.attributes),
        [[actor.id, actor.issuer] for actor in principal.actors],
        context.agent,
        context.agent_key,
        context.purpose,
        policy_digest,
        *what,
    ]
    return hashlib.sha256(_framed(b"D", _DOMAIN) + _encoded(parts, 0)).hexdigest()


def _encoded(value: object, level: int) -> bytes:
    if level > _MOST_LEVELS:
        raise UsageError("usage.input_invalid", f"A value is nested deeper than {_MOST_LEVELS} levels.")
    match value:
        case None:
            return _framed(b"N", b"")
        case bool():
            return _framed(b"B", b"1" if value else b"0")
        case int():
            return _framed(b"I", _integer(value))
        case float():
            return _framed(b"F", float(value).hex().encode())
        case str():
            return _framed(b"S", str.__str__(value).encode("utf-8", "surrogatepass"))
        case bytes() | bytearray() | memoryview():
            return _framed(b"X", bytes(value))
        case Decimal():
            return _framed(b"M", repr(value.as_tuple()).encode())
        case datetime():
            return _framed(b"T", f"{value.isoformat()} {value.fold}".encode())
        case date():
            return _framed(b"A", value.isoformat().encode())
        case time():
            return _framed(b"C", f"{value.isoformat()} {value.fold}".encode())
        case timedelta():
            return _framed(b"V", f"{value.days} {value.seconds} {value.microseconds}".encode())
        case UUID():
            return _framed(b"U", value.bytes)
        case Mapping():
            members = sorted((_encoded(key, level + 1), _encoded(item, level + 1)) for key, item in value.items())
            return _framed(b"O", b"".join(key + item for key, item in members))
        case Sequence():
            return _framed(b"L", b"".join(_encoded(item, level + 1) for item in value))
    raise UsageError("usage.input_invalid", f"A value of type {type(value).__name__} cannot be bound to an approval.")


def _integer(value: int) -> bytes:
    number = int(value)
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def _framed(tag: bytes, data: bytes) -> bytes:
    return tag + len(data).to_bytes(8, "big") + data
