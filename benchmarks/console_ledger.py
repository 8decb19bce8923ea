"""A large ledger as agents would have filled it, for measuring the console: sessions with statements, refusals, requests, messages.

Every entry is one that a guard could have written, signed by its session's key; only the clock runs faster, so that they lie spread
over the last 90 days. The tree and its signatures are real.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from guardrails.ledger import Ledger, SessionKey

__all__ = ["DAYS", "build"]

DAYS = 90
_SIDE_BY_SIDE = 1000
_ROUNDS = 24
_PEOPLE = [f"person{n}@example.com" for n in range(200)]
_AGENTS = [f"agent-{n}" for n in range(12)]
_COLUMNS = [f"customers.column_{n}" for n in range(30)]
_RULES = [f"rule-{n}" for n in range(25)]
_REFUSALS = ["policy.no_rule", "policy.denied", "sql.multiple_statements", "policy.probe_budget", "mask.denied"]


def build(path: Path, size: int, *, seed: int = 1, side_by_side: int = _SIDE_BY_SIDE) -> None:
    """Makes a ledger of at least `size` entries, by so many sessions at a time."""
    chance = random.Random(seed)
    begins_ns = time.time_ns() - DAYS * 86_400 * 10**9

    def clock_ns() -> int:
        return min(begins_ns + DAYS * 86_400 * 10**9 * done // size, time.time_ns())

    done = 0
    with Ledger.open(path, clock_ns=clock_ns) as ledger:
        generation = 0
        while done < size:
            keys = {f"{generation * side_by_side + n:032x}": SessionKey(_facts(chance)) for n in range(side_by_side)}
            for session, key in keys.items():
                ledger.bind(session, key)
            for place in range(_ROUNDS):
                appended = ledger.append_many([_asked(session, key.facts, place, chance) for session, key in keys.items()])
                intents = zip(keys, appended, strict=True)
                ledger.append_many(
                    [
                        _ended(session, entry.entry_id, chance)
                        for session, entry in intents
                        if kind_at(place, int(session, 16)) == "intent"
                    ]
                )
                done = ledger.size
            generation += 1


def kind_at(place: int, number: int) -> str:
    """Returns what a session does at a place: mostly statements."""
    match (place + number) % 12:
        case 3:
            return "refusal"
        case 7 if place != 0:
            return "message"
        case 11 if number % 9 == 0:
            return "approval.requested"
        case _:
            return "intent"


def _facts(chance: random.Random) -> dict[str, object]:
    return {
        "principal": {
            "id": chance.choice(_PEOPLE),
            "issuer": "https://id.example.com",
            "groups": ["support"],
            "verified": "jwt",
            "token_digest": f"{chance.getrandbits(256):064x}",
        },
        "agent": {"name": chance.choice(_AGENTS), "model": "m-1"},
        "purpose": "support",
        "conversation": f"c{chance.getrandbits(40):x}",
    }


def _asked(session: str, facts: dict[str, Any], place: int, chance: random.Random) -> dict[str, object]:
    kind = kind_at(place, int(session, 16))
    entry: dict[str, object] = {**facts, "type": kind, "session": session, "tool": "run_query", "tool_call": f"call_{place}"}
    if kind == "message":
        return {"type": kind, "session": session, "role": chance.choice(["user", "assistant"]), "bytes": 120, "characters": 120}
    if kind == "approval.requested":
        request = f"{chance.getrandbits(128):032x}"
        return {"type": kind, "session": session, "request": request, "digest": "0" * 64, "requester": "x", "expires_at": 1}
    reads = sorted(chance.sample(_COLUMNS, 4))
    is_refused = kind == "refusal"
    rule = chance.choice(_RULES)
    reason = {"code": chance.choice(_REFUSALS) if is_refused else "policy.allowed", "rule": rule}
    return entry | {
        "database": {"name": "shop", "dialect": "sqlite"},
        "statement": {
            "bytes": 120,
            "dialect": "sqlite",
            "kind": "select",
            "normalised": f"SELECT {', '.join(reads)} FROM customers WHERE id = ?",
            "fingerprint": f"{chance.getrandbits(256):064x}",
            "reads": reads,
            "writes": [],
            "relations": ["select customers"],
            "functions": [],
        },
        "decision": {
            "effect": "deny" if is_refused else "allow",
            "reasons": [reason],
            "rules": [rule],
            "policy": "0" * 64,
            "masks": [] if is_refused else [{"column": column, "mask": "pseudonym"} for column in reads[:2]],
            "row_filters": [],
            "limits": {"rows": 1000, "rows_changed": 100, "milliseconds": 10000},
        },
    }


def _ended(session: str, intent: str, chance: random.Random) -> dict[str, object]:
    if chance.random() < 0.02:
        return {"type": "outcome", "session": session, "intent": intent, "status": "error", "error": "engine.failed"}
    return {
        "type": "outcome",
        "session": session,
        "intent": intent,
        "status": "ok",
        "rows": chance.randrange(100),
        "rows_changed": 0,
        "changed": [],
        "truncated": False,
        "duration_us": int(chance.lognormvariate(8, 1.5)),
        "masks": [],
        "findings": [],
    }
