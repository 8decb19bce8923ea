"""`guardrails agents`: make the key of an agent, show its public half, and check the proofs that agents gave to a ledger.

Exit status: 0 done and every proof holds, 1 a proof does not hold, 2 usage. No private key is ever printed.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator

import click

from guardrails.approval.channel import printable
from guardrails.errors import IdentityError
from guardrails.identity.agents import PASSPHRASE_VARIABLE, AgentKey, fingerprint, proven_key
from guardrails.identity.registry import AgentRegistry
from guardrails.ledger import Ledger

__all__ = ["agents"]

_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


@click.group()
def agents() -> None:
    """Make agents' keys, and check the proofs that agents gave."""


@agents.command()
@click.argument("name")
@click.argument("path", metavar="FILE")
@click.option("--passphrase", "is_encrypted", is_flag=True, help=f"Encrypt the file; asked for, or from {PASSPHRASE_VARIABLE}.")
@_json_option
def new(name: str, path: str, is_encrypted: bool, as_json: bool) -> None:
    """Make a key for the agent NAME in FILE, and print its public half for the file of agents."""
    passphrase = None
    if is_encrypted:
        passphrase = os.environ.get(PASSPHRASE_VARIABLE) or click.prompt(
            "Passphrase", hide_input=True, confirmation_prompt=True, err=True
        )
    _print(AgentKey.create(path, name, passphrase=passphrase), as_json)


@agents.command()
@click.argument("where", metavar="FILE_OR_URI")
@_json_option
def show(where: str, as_json: bool) -> None:
    """Print the public half of a key."""
    _print(AgentKey.load(where, ask=lambda what: str(click.prompt(what, hide_input=True, err=True))), as_json)


@agents.command()
@click.option("--ledger", "url", required=True, metavar="URL_OR_PATH", help="sqlite:///path, a path or postgresql://…")
@click.option("--agents", "path", metavar="FILE", help="The agents that may act: each has to have shown one of its keys.")
@_json_option
def verify(url: str, path: str | None, as_json: bool) -> None:
    """Check the proof of every session in which an agent acted. What signs the entries themselves, `ledger verify` checks."""
    registry = AgentRegistry.load(path) if path else None
    counts: Counter[str] = Counter()
    with Ledger.open(url, read_only=True) as ledger:
        for index, verdict, problem in _verdicts(ledger, registry):
            counts[verdict] += 1
            if problem:
                line = {"index": index, "problem": problem}
                click.echo(json.dumps(line) if as_json else f"entry {index}: {printable(problem)}", err=not as_json)
    if as_json:
        click.echo(json.dumps({name: counts[name] for name in ("proven", "unproven", "broken")}))
    else:
        click.echo(f"{counts['proven']} proven, {counts['unproven']} without a key, {counts['broken']} that do not hold")
    sys.exit(1 if counts["broken"] else 0)


def _verdicts(ledger: Ledger, registry: AgentRegistry | None) -> Iterator[tuple[int, str, str]]:
    for index, entry in enumerate(ledger.entries()):
        agent = entry.get("agent")
        if entry["type"] != "key.bind" or not isinstance(agent, dict):
            continue
        try:
            public = proven_key(entry)
            if registry is not None:
                registry.require_proof(agent.get("name"), public)
        except IdentityError as error:
            yield index, "broken", error.message
        else:
            yield index, "unproven" if public is None else "proven", ""


def _print(key: AgentKey, as_json: bool) -> None:
    shown = {"agent": key.name, "public": key.public_text, "fingerprint": fingerprint(key.public_key)}
    if as_json:
        click.echo(json.dumps(shown))
    else:
        click.echo("\n".join(f"{name:<12} {printable(text)}" for name, text in shown.items()))
