"""`guardrails mcp`: a ready MCP server over one guarded database, for a client that starts it, or over HTTP.

Over standard input and output nothing but the protocol is written there; what is announced goes to standard error. Exit status: 0 ended,
2 usage, identity, policy, schema or ledger error.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from guardrails.cli.identity_options import TokenOptions, asking_principal, identity_options
from guardrails.errors import IdentityError, UsageError
from guardrails.guard import Guard
from guardrails.identity.agents import AgentKey
from guardrails.model import Principal

if TYPE_CHECKING:
    from guardrails.mcp_server import Calls, HttpSettings

__all__ = ["mcp"]

_RENEW_S = 30


@click.command()
@click.option("--policy", "policy_path", required=True, metavar="FILE", help="The policy file.")
@click.option("--database", "database_url", required=True, metavar="URL", help="sqlite:///shop.db or postgresql://…")
@click.option("--ledger", "ledger_url", required=True, metavar="URL", help="sqlite:///audit.db; created when missing.")
@click.option("--state", metavar="PATH", help="Beside which mask keys lie, where the ledger is in a server.")
@click.option("--agents", "agents_path", metavar="FILE", help="The agents that may act; each has to show its key.")
@click.option("--agent", metavar="NAME", help="The agent that calls, where the token names none.")
@click.option("--agent-key", "agent_key_uri", metavar="FILE_OR_URI", help="The agent's key, with which it proves itself.")
@click.option("--purpose", metavar="NAME", help="The declared purpose of all calls.")
@click.option("--principal", "principal_id", metavar="ID", help="Who asks; recorded as unverified.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group of the principal; may be repeated.")
@click.option("--principal-json", metavar="JSON", help='The principal as {"id", "groups", "attributes"}.')
@click.option("--token-env", metavar="NAME", help="The variable that holds the token, instead of --token-file.")
@identity_options
@click.option("--http", "address", metavar="HOST:PORT", help="Serve over HTTP; callers show bearer tokens of --issuer.")
@click.option(
    "--resource-url", metavar="URL", help="Where clients reach it, and the audience of tokens; from --http by default."
)
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="What tokens have to be good for; may be repeated.")
@click.option("--allow-origin", "origins", multiple=True, metavar="ORIGIN", help="A further origin of pages that may call.")
@click.option(
    "--unsafe-without-identity", "is_unsafe", is_flag=True, help="Over HTTP on this machine: whoever calls is the principal."
)
@click.option(
    "--console-url",
    envvar="GUARDRAILS_CONSOLE_URL",
    metavar="URL",
    help="Where people answer; the client's user is sent there.",
)
@click.option("--tell", "told", multiple=True, metavar="CHANNEL", help="webhook+https://… or slack+…: tells people who waits.")
@click.option(
    "--wait", "wait_s", default=50.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait for them."
)
@click.option("--json", "as_json", is_flag=True, help="Announce as one line of JSON.")
def mcp(
    policy_path: str,
    database_url: str,
    ledger_url: str,
    state: str | None,
    agents_path: str | None,
    agent: str | None,
    agent_key_uri: str | None,
    purpose: str | None,
    principal_id: str | None,
    groups: tuple[str, ...],
    principal_json: str | None,
    token_env: str | None,
    identity: TokenOptions,
    address: str | None,
    resource_url: str | None,
    scopes: tuple[str, ...],
    origins: tuple[str, ...],
    is_unsafe: bool,
    console_url: str | None,
    told: tuple[str, ...],
    wait_s: float,
    as_json: bool,
) -> None:
    """Serve a guarded database to MCP clients."""
    _require_extra()
    if any(channel.partition("+")[0] in ("console", "pending", "terminal", "wait") for channel in told):
        message = "--tell takes channels that tell people elsewhere, such as webhook+https://…; people answer in the console."
        raise UsageError("usage.input_invalid", message)
    from guardrails.mcp_server import Calls, ServerSettings, principal_of

    if address is None and (resource_url or scopes or origins or is_unsafe):
        raise UsageError(
            "usage.input_invalid", "--resource-url, --scope, --allow-origin and --unsafe-… are of use only with --http."
        )
    key = AgentKey.load(agent_key_uri) if agent_key_uri else None
    is_named = address is None or is_unsafe
    named = (principal_id, groups, principal_json, token_env, identity.token_file)
    if not is_named and any(named):
        message = "Over HTTP the bearer tokens say who asks; leave --principal, --group, --token-file and the like out."
        raise UsageError("usage.input_invalid", message)
    person = _Person(identity, token_env, principal_id, groups, principal_json, key) if is_named else None
    settings = ServerSettings(agent=agent, agent_key=key, purpose=purpose, console_url=console_url, wait_s=wait_s)
    with Guard.open(
        policy_path, database=database_url, ledger=ledger_url, state=state, agents=agents_path, approvals=told or None
    ) as guard:
        # What every call would be refused for is said at the start.
        who = person() if person is not None else Principal("nobody yet")
        with guard.session(principal=who, agent=None if who.actors else agent, purpose=purpose, agent_key=key):
            pass
        calls = Calls(guard, (lambda _: person()) if person is not None else principal_of, settings)
        if address is None:
            _stdio(calls, as_json)
        else:
            _http(calls, address, identity, resource_url, scopes, origins, is_unsafe=is_unsafe, as_json=as_json)


class _Person:
    """Who the command line says is asking, looked up anew when the token is about to expire: files of tokens are renewed."""

    def __init__(
        self,
        identity: TokenOptions,
        token_env: str | None,
        principal_id: str | None,
        groups: tuple[str, ...],
        principal_json: str | None,
        key: AgentKey | None,
    ) -> None:
        thumbprint = key.fingerprint if key is not None else None
        self._find: Callable[[], Principal]
        if token_env is not None:
            if identity.token_file is not None or principal_id is not None or groups or principal_json is not None:
                raise UsageError("usage.input_invalid", "--token-env says who asks; leave the other options that do so out.")
            token = os.environ.get(token_env)
            if not token:
                raise UsageError("usage.input_invalid", f"The variable {token_env} holds no token.")
            self._find = lambda: identity.principal_of(token.strip(), thumbprint=thumbprint)
        else:
            # Standard input is the client's.
            self._find = lambda: asking_principal(
                identity, principal_id, groups, principal_json, thumbprint=thumbprint, is_stdin_taken=True
            )
        self._lock = threading.Lock()
        self._found = self._find()

    def __call__(self) -> Principal:
        with self._lock:
            known = self._found
            if known.expires_at is not None and known.expires_at < time.time() + _RENEW_S:
                found = self._find()
                if (found.id, found.issuer) != (known.id, known.issuer):
                    raise IdentityError("identity.principal_mismatch", "The token is another person's than before.")
                self._found = found
            return self._found


def _stdio(calls: Calls, as_json: bool) -> None:
    from guardrails.mcp_server import make_server, serve_stdio

    def end() -> None:
        calls.close()
        calls.guard.close()

    # Whoever starts it by hand sees why nothing happens; a client shows it in its log.
    _announce("stdio", calls, as_json, to_standard_error=True)
    serve_stdio(make_server(calls), end)


def _http(
    calls: Calls,
    address: str,
    identity: TokenOptions,
    resource_url: str | None,
    scopes: tuple[str, ...],
    origins: tuple[str, ...],
    *,
    is_unsafe: bool,
    as_json: bool,
) -> None:
    from guardrails.listening import listening
    from guardrails.mcp_server import make_server, serve_http
    from guardrails.mcp_server.serving import PATH, is_loopback

    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError("usage.input_invalid", "--http takes HOST:PORT, such as 127.0.0.1:8700.")
    host = host.strip("[]")
    if resource_url is None and not is_loopback(host):
        raise UsageError("usage.input_invalid", "Beyond this machine, --resource-url says where clients reach the server.")
    if is_unsafe and not is_loopback(host):
        raise UsageError("usage.input_invalid", "Without identity the server listens on this machine only.")
    with listening(host, int(port)) as listener:
        shown = f"[{host}]" if ":" in host else host
        url = resource_url or f"http://{shown}:{listener.getsockname()[1]}{PATH}"
        settings = _http_settings(url, identity, scopes, origins, is_unsafe=is_unsafe)
        server = make_server(calls)
        serve_http(server, settings, listener, lambda: _announce(url, calls, as_json))


def _http_settings(
    url: str, identity: TokenOptions, scopes: tuple[str, ...], origins: tuple[str, ...], *, is_unsafe: bool
) -> HttpSettings:
    from guardrails.mcp_server import BearerVerifier, HttpSettings

    if is_unsafe:
        return HttpSettings(url, origins=origins, unsafe_without_identity=True)
    if not identity.issuer:
        message = "Over HTTP the server needs --issuer, whose tokens say who calls."
        raise UsageError("usage.input_invalid", message, hint="Or --unsafe-without-identity, on this machine.")
    verifier = BearerVerifier(identity.verifier(audience=identity.audience or url))
    return HttpSettings(url, identity.issuer, verifier, scopes, origins)


def _announce(where: str, calls: Calls, as_json: bool, *, to_standard_error: bool = False) -> None:
    facts: dict[str, Any] = {"url": where, "database": calls.guard.database_label}
    text = json.dumps(facts) if as_json else f"Serving {facts['database']} over MCP: {where} (Ctrl-C ends it)."
    click.echo(text, err=to_standard_error)


def _require_extra() -> None:
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        raise UsageError("usage.extra_missing", "The MCP server needs mcp.", hint="Install guardrails-sql[mcp].")
