"""PostgreSQL databases whose row filters are set up in the database, and what runs there, raw, as the guard would run it."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from guardrails.engines import Engine, open_engine
from guardrails.engines.postgres import SCAN_SETTINGS
from guardrails.install import Installed, trusted
from guardrails.install.opening import installer
from guardrails.install.postgres import PostgresInstaller
from guardrails.model import Plan
from guardrails.policy import Policy
from tests.support.twins import KEY, Database

RULES = [{"id": "a", "effect": "allow", "actions": ["all"], "relations": ["*"], "where": "optional"}]


def policy_of(**parts: object) -> Policy:
    """A policy that allows everything, with these masks and row filters."""
    return Policy(rules=RULES, **parts)  # type: ignore[arg-type]


def installer_of(
    engine: Engine, policy: Policy, key: bytes = KEY, grantees: Sequence[str] = (), has_keys: bool = False
) -> PostgresInstaller:
    return installer(engine, policy.bind(engine.catalog()), key, grantees, has_keys=has_keys)


def installed_database(url: str, policy: Policy) -> Database:
    """Sets a policy up and returns the database with what may be used of it."""
    engine = open_engine(url)
    found = installer_of(engine, policy, has_keys=True).install()
    assert [item.state for item in found] == ["created"] * len(found), found
    return Database(engine, url, trusted(policy.bind(engine.catalog()), KEY))


def states(found: Sequence[Installed]) -> dict[str, str]:
    return {item.relation: item.state for item in found}


def explained(url: str, plan: Plan) -> str:
    """The engine's own plan for the text that the guard runs, with its values and settings."""
    with psycopg.connect(url) as connection, psycopg.RawCursor(connection) as cursor:
        for name, text in {**plan.settings, **SCAN_SETTINGS[plan.index_use], "plan_cache_mode": "force_custom_plan"}.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, text))
        cursor.execute(f"EXPLAIN {plan.sql}".encode(), list(plan.params.values()))
        return "\n".join(row[0] for row in cursor.fetchall())
