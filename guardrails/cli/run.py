"""`guardrails run`: as `check`, but what is allowed is executed on the database and everything is recorded in the ledger.

Each output line has the fields of `check`, and of what ran: columns, rows and the receipt. Exit status: 0 all ran, 1 something was
refused, failed or waits for approval, 2 usage, policy, schema or ledger error.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TypeAlias

import click

from guardrails.as_json import decision_fields, receipt_fields, refusal_fields, result_fields
from guardrails.cli.identity_options import TokenOptions, asking_principal, identity_options
from guardrails.cli.options import asking_options
from guardrails.cli.statements import Asked, asked_statements
from guardrails.errors import ApprovalRequired, Denied, EngineError, GuardrailsError
from guardrails.flow import Event
from guardrails.guard import Guard
from guardrails.identity.agents import AgentKey
from guardrails.model import Decision, Reason, Receipt

__all__ = ["run"]

JSON: TypeAlias = Any


class _Watch:
    """Keeps what the guard last decided and recorded, for lines about statements that did not end with a result."""

    def __init__(self) -> None:
        self.decision: Decision | None = None
        self.receipt: Receipt | None = None

    def __call__(self, event: Event) -> None:
        self.decision = event.decision
        self.receipt = event.receipt


@click.command()
@asking_options
@click.option("--database", "database_url", required=True, metavar="URL", help="sqlite:///shop.db or postgresql://…")
@click.option("--ledger", "ledger_url", required=True, metavar="URL", help="sqlite:///audit.db; created when missing.")
@click.option("--agent-key", "agent_key_uri", metavar="FILE_OR_URI", help="The agent's key, with which it proves itself.")
@click.option("--agents", "agents_path", metavar="FILE", help="The agents that may act; each has to show its key.")
@identity_options
def run(
    statements: tuple[str, ...],
    policy_path: str,
    is_jsonl: bool,
    principal_id: str | None,
    groups: tuple[str, ...],
    principal_json: str | None,
    purpose: str | None,
    agent: str | None,
    is_json: bool,  # noqa: ARG001  accepted as everywhere; the output is JSON anyway
    database_url: str,
    ledger_url: str,
    agent_key_uri: str | None,
    agents_path: str | None,
    identity: TokenOptions,
) -> None:
    """Decide about statements, run what is allowed, record all of it."""
    key = AgentKey.load(agent_key_uri) if agent_key_uri else None
    thumbprint = key.fingerprint if key else None
    principal = asking_principal(identity, principal_id, groups, principal_json, thumbprint=thumbprint, is_stdin_taken=is_jsonl)
    watch = _Watch()
    has_all_run = True
    with (
        Guard.open(policy_path, database=database_url, ledger=ledger_url, observer=watch, agents=agents_path) as guard,
        guard.session(principal=principal, agent=agent, purpose=purpose, agent_key=key),
    ):
        for asked in asked_statements(statements, is_jsonl=is_jsonl):
            fields = refusal_fields(asked.id, asked.problem) if asked.problem else _run_one(guard, watch, asked)
            has_all_run &= "receipt" in fields and "error" not in fields and fields["effect"] != "deny"
            click.echo(json.dumps(fields))
    sys.exit(0 if has_all_run else 1)


def _run_one(guard: Guard, watch: _Watch, asked: Asked) -> dict[str, JSON]:
    watch.decision = watch.receipt = None
    try:
        result = guard.execute(asked.sql, asked.params)
    except ApprovalRequired as error:
        return _decided(asked, watch) | {"request": {"id": error.request.id, "expires_at": error.request.expires_at}}
    except Denied as error:
        decision = error.decision or Decision("deny", (_reason(error),))
        # An approval that does not hold leaves the policy's decision as it was, and still refuses.
        fields = decision_fields(asked.id, decision) | {"effect": "deny", "code": error.code, "sql": None}
        return fields | _recorded(error.receipt or watch.receipt)
    except EngineError as error:
        failure = {"code": error.code, "message": error.message, "hint": error.hint}
        return _decided(asked, watch) | {"code": error.code, "error": failure} | _recorded(watch.receipt)
    return decision_fields(asked.id, result.decision) | result_fields(result)


def _decided(asked: Asked, watch: _Watch) -> dict[str, JSON]:
    return decision_fields(asked.id, watch.decision or Decision("deny"))


def _recorded(receipt: Receipt | None) -> dict[str, JSON]:
    return {} if receipt is None else {"receipt": receipt_fields(receipt)}


def _reason(error: GuardrailsError) -> Reason:
    return Reason(error.code, error.message, error.hint)
