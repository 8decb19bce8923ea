"""`guardrails mcp-gateway`: serve other MCP servers' tools through a guard, and accept what those servers say of them.

Exit status: 0 done, 1 something waits to be accepted, 2 usage, policy, configuration or ledger error. While it serves, standard output
belongs to the protocol.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from guardrails.approval.printing import one_line
from guardrails.cli.identity_options import TokenOptions, identity_options, person_from
from guardrails.cli.ledger_options import json_option, ledger_option, opened_for_writing, signer_options
from guardrails.cli.mcp_options import ServingOptions, require_mcp, serving_options
from guardrails.cli.options import DIALECTS
from guardrails.errors import EngineError, UsageError

if TYPE_CHECKING:
    from guardrails.ledger import Ledger
    from guardrails.mcp_gateway import Definition, DescribedDatabase, GatewayConfig, LockFile, Offer

__all__ = ["mcp_gateway"]

C = TypeVar("C", bound=Callable[..., Any])

_WAITING_STATUS = 1


@click.group("mcp-gateway")
def mcp_gateway() -> None:
    """Stand in front of other MCP servers: their tools as accepted, every call guarded and recorded."""


def _config_options(command: C) -> C:
    lock = click.option("--lock", "lock_path", metavar="FILE", help="What was accepted; beside the configuration by default.")
    config = click.option("--config", "config_path", required=True, metavar="FILE", help="The servers behind the gateway.")
    return config(lock(command))


@mcp_gateway.command()
@_config_options
@serving_options
@click.option("--schema", "schema_path", metavar="FILE", help="Its tables and views as DDL, where only the servers reach it.")
@click.option("--dialect", metavar="NAME", help=f"One of {DIALECTS}; needed with --schema.")
def serve(
    config_path: str, lock_path: str | None, serving: ServingOptions, schema_path: str | None, dialect: str | None
) -> None:
    """Serve the client that starts this command, or, with --http, a network."""
    config, lock = _opened(config_path, lock_path)
    from guardrails.mcp_gateway import Gateway
    from guardrails.mcp_gateway.serving import serve_stdio

    described = None if schema_path is None else _described(schema_path, dialect)
    with serving.opened(described) as (guard, principal_of, settings):
        gateway = Gateway(guard, config, lock, principal_of=principal_of, settings=settings)
        serving.serve(guard, gateway.server, lambda: serve_stdio(gateway, guard.close))


@mcp_gateway.command()
@_config_options
@ledger_option
@json_option
def tools(config_path: str, lock_path: str | None, url: str, as_json: bool) -> None:
    """Print what the servers offer now, and what of it was accepted; exit with 1 when something waits."""
    config, lock = _opened(config_path, lock_path)
    listed = _listed(config)
    with _ledger(url) as ledger:
        offers = _judged(config, lock, ledger, listed)
    for name in _unknown(config, listed):
        click.echo(f"Look again: the configuration names {one_line(name, 200)}, which the server does not list.", err=True)
    for offer in offers:
        fields = {"name": str(offer.key), "kind": offer.key.kind, "shown": offer.shown, "state": offer.state}
        click.echo(json.dumps(fields | {"sha256": offer.definition.digest}) if as_json else _line(offer))
    sys.exit(_WAITING_STATUS if any(offer.state in ("unknown", "changed") for offer in offers) else 0)


@mcp_gateway.command()
@click.argument("names", nargs=-1, metavar="[SERVER.TOOL]...")
@click.option("--yes", "is_sure", is_flag=True, help="Accept without asking.")
@click.option("--by", "person", default="", metavar="ID", help="Who accepts, recorded as unverified.")
@click.option("--group", "groups", multiple=True, metavar="G", help="A group of who accepts; may be repeated.")
@_config_options
@identity_options
@signer_options
@ledger_option
@json_option
def accept(
    names: tuple[str, ...],
    config_path: str,
    lock_path: str | None,
    is_sure: bool,
    person: str,
    groups: tuple[str, ...],
    identity: TokenOptions,
    url: str,
    signer: str | None,
    previous: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what is new or has changed, and accept it: all of it, or what is named."""
    from guardrails.mcp_gateway.lock import accept as record

    by = person_from(identity, person, groups)
    config, lock = _opened(config_path, lock_path)
    listed = _listed(config)
    with _ledger(url, lambda: opened_for_writing(url, signer, previous)) as ledger:
        waiting = [offer for offer in _judged(config, lock, ledger, listed) if offer.state in ("unknown", "changed")]
        chosen = _named(waiting, names)
        for offer in chosen:
            _show(offer, lock, listed)
        if not chosen:
            click.echo("Nothing waits to be accepted.", err=True)
            return
        if not is_sure and not click.confirm(f"Accept {len(chosen)} as shown, as {by.id}?", err=True):
            sys.exit(_WAITING_STATUS)
        made = record(lock, ledger, [offer.definition for offer in chosen], by)
    for acceptance in made:
        fields = {"name": str(acceptance.definition.key), "sha256": acceptance.definition.digest, "entry": acceptance.entry}
        click.echo(json.dumps(fields | {"by": by.id}) if as_json else f"{one_line(str(fields['name']), 200)} accepted")


def _described(schema_path: str, dialect: str | None) -> DescribedDatabase:
    from guardrails.cli.catalogs import catalog_from
    from guardrails.mcp_gateway import DescribedDatabase

    catalog = catalog_from(dialect, schema_path, None)
    if catalog is None:
        raise UsageError("usage.no_schema", "The schema is missing.")
    return DescribedDatabase(catalog, f"{catalog.dialect} of {Path(schema_path).name}")


def _opened(config_path: str, lock_path: str | None) -> tuple[GatewayConfig, LockFile]:
    require_mcp()
    from guardrails.mcp_gateway import GatewayConfig, LockFile

    return GatewayConfig.load(config_path), LockFile(lock_path or Path(config_path).with_suffix(".lock.json"))


def _ledger(url: str, opened: Callable[[], AbstractContextManager[Ledger]] | None = None) -> AbstractContextManager[Ledger]:
    """Opens a ledger, for reading where nothing is said; one that does not exist yet is made, as its first entries are acceptances."""
    from guardrails.ledger import Ledger
    from guardrails.ledger.location import Location

    path = Location.parse(url).path
    if path is not None and not path.exists():
        return Ledger.open(url)
    return Ledger.open(url, read_only=True) if opened is None else opened()


def _listed(config: GatewayConfig) -> list[Definition]:
    """What all servers list now.

    Raises:
        EngineError: One cannot be reached.
    """
    from guardrails.mcp_gateway import Upstream

    async def listed() -> list[Definition]:
        found: list[Definition] = []
        for name, upstream in config.upstreams.items():
            async with Upstream(name, upstream) as opened:
                found += (await opened.definitions()).values()
        return found

    try:
        return asyncio.run(listed())
    except EngineError as error:
        raise UsageError(
            error.code, error.message, hint="See that it starts with the command and environment given."
        ) from error


def _unknown(config: GatewayConfig, listed: Sequence[Definition]) -> list[str]:
    """What the configuration says something of and no server lists: most likely a slip."""
    known = {str(definition.key) for definition in listed if definition.key.kind == "tool"}
    named = {f"{name}.{tool}" for name, upstream in config.upstreams.items() for tool in upstream.tools}
    return sorted(named - known)


def _judged(config: GatewayConfig, lock: LockFile, ledger: Ledger, listed: Sequence[Definition]) -> list[Offer]:
    from guardrails.mcp_gateway.offers import offers_of

    offers = offers_of(config, listed, lock.accepted(), lambda acceptance: acceptance.is_recorded(ledger))
    return sorted(offers.all, key=lambda offer: offer.key)


def _named(waiting: list[Offer], names: tuple[str, ...]) -> list[Offer]:
    if missing := set(names) - {str(offer.key) for offer in waiting}:
        raise UsageError("usage.input_invalid", f"Nothing of the name {sorted(missing)[0]!r} waits to be accepted.")
    return [offer for offer in waiting if not names or str(offer.key) in names]


def _show(offer: Offer, lock: LockFile, listed: Sequence[Definition]) -> None:
    """Writes the difference to standard error, as standard output is for what was done."""
    from guardrails.mcp_gateway.comparing import difference, warnings

    before = lock.accepted().get(offer.key)
    click.echo(_line(offer), err=True)
    for line in difference(before.definition if before else None, offer.definition):
        click.echo(f"  {line}", err=True)
    for warning in warnings(offer.definition, listed):
        click.echo(f"  Look again: {warning}", err=True)


def _line(offer: Offer) -> str:
    return one_line(f"{offer.state:9} {offer.key} {offer.definition.digest[:12]}", 300)
