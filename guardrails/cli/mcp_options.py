"""What the commands that serve MCP share: the guard behind them, whose calls are whose, and whether they serve a client or a network.

Over standard input and output nothing but the protocol is written there; what is announced goes to standard error.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from guardrails.cli.identity_options import TokenOptions, asking_principal, identity_options
from guardrails.errors import IdentityError, UsageError
from guardrails.guard import Guard
from guardrails.identity.agents import AgentKey
from guardrails.model import Principal

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

    from guardrails.engines import Engine
    from guardrails.mcp_server import HttpSettings, ServerSettings
    from guardrails.mcp_server.calls import PrincipalSource

__all__ = ["ServingOptions", "require_mcp", "serving_options"]

C = TypeVar("C", bound=Callable[..., Any])

_RENEW_S = 30


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """What was given on the command line; see the options' help."""

    policy_path: str
    database_url: str | None
    ledger_url: str
    state: str | None
    agents_path: str | None
    agent: str | None
    agent_key_uri: str | None
    purpose: str | None
    principal_id: str | None
    groups: tuple[str, ...]
    principal_json: str | None
    token_env: str | None
    identity: TokenOptions
    address: str | None
    resource_url: str | None
    scopes: tuple[str, ...]
    origins: tuple[str, ...]
    is_unsafe: bool
    console_url: str | None
    told: tuple[str, ...]
    wait_s: float
    as_json: bool

    @contextmanager
    def opened(self, described: Engine | None = None) -> Iterator[tuple[Guard, PrincipalSource, ServerSettings]]:
        """Opens the guard, and says who calls and what the server is told; what every call would be refused for is said here.

        Args:
            described: The database, where a command knows it in another way than by --database.

        Raises:
            UsageError: The options do not go together.
            IdentityError: The token is not accepted.
        """
        if any(channel.partition("+")[0] in ("console", "pending", "terminal", "wait") for channel in self.told):
            message = (
                "--tell takes channels that tell people elsewhere, such as webhook+https://…; people answer in the console."
            )
            raise UsageError("usage.input_invalid", message)
        from guardrails.mcp_server import ServerSettings, principal_of

        if self.address is None and (self.resource_url or self.scopes or self.origins or self.is_unsafe):
            raise UsageError(
                "usage.input_invalid", "--resource-url, --scope, --allow-origin and --unsafe-… are of use only with --http."
            )
        key = AgentKey.load(self.agent_key_uri) if self.agent_key_uri else None
        is_named = self.address is None or self.is_unsafe
        named = (self.principal_id, self.groups, self.principal_json, self.token_env, self.identity.token_file)
        if not is_named and any(named):
            message = "Over HTTP the bearer tokens say who asks; leave --principal, --group, --token-file and the like out."
            raise UsageError("usage.input_invalid", message)
        person = _Person(self, key) if is_named else None
        settings = ServerSettings(
            agent=self.agent, agent_key=key, purpose=self.purpose, console_url=self.console_url, wait_s=self.wait_s
        )
        if (self.database_url is None) == (described is None):
            raise UsageError("usage.input_invalid", "One database has to be named.", hint="See --database.")
        places: dict[str, Any] = {"database": described or self.database_url, "ledger": self.ledger_url, "state": self.state}
        with Guard.open(self.policy_path, **places, agents=self.agents_path, approvals=self.told or None) as guard:
            who = person() if person is not None else Principal("nobody yet")
            agent = None if who.actors else self.agent
            with guard.session(principal=who, agent=agent, purpose=self.purpose, agent_key=key):
                pass
            yield guard, (lambda _: person()) if person is not None else principal_of, settings

    def serve(self, guard: Guard, server: Server[Any], stdio: Callable[[], None]) -> None:
        """Serves until the client goes or the process is interrupted.

        Args:
            guard: Behind the server.
            server: What is served over HTTP.
            stdio: Serves it over standard input and output.

        Raises:
            UsageError: The address cannot be listened on, or is not safe.
        """
        if self.address is None:
            # Whoever starts it by hand sees why nothing happens; a client shows it in its log.
            self._announce("stdio", guard, to_standard_error=True)
            stdio()
        else:
            self._http(guard, server, self.address)

    def _http(self, guard: Guard, server: Server[Any], address: str) -> None:
        from guardrails.listening import listening
        from guardrails.mcp_server import serve_http
        from guardrails.mcp_server.serving import PATH, is_loopback

        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise UsageError("usage.input_invalid", "--http takes HOST:PORT, such as 127.0.0.1:8700.")
        host = host.strip("[]")
        if self.resource_url is None and not is_loopback(host):
            raise UsageError("usage.input_invalid", "Beyond this machine, --resource-url says where clients reach the server.")
        if self.is_unsafe and not is_loopback(host):
            raise UsageError("usage.input_invalid", "Without identity the server listens on this machine only.")
        with listening(host, int(port)) as listener:
            shown = f"[{host}]" if ":" in host else host
            url = self.resource_url or f"http://{shown}:{listener.getsockname()[1]}{PATH}"
            serve_http(server, self._http_settings(url), listener, lambda: self._announce(url, guard))

    def _http_settings(self, url: str) -> HttpSettings:
        from guardrails.mcp_server import BearerVerifier, HttpSettings

        if self.is_unsafe:
            return HttpSettings(url, origins=self.origins, unsafe_without_identity=True)
        if not self.identity.issuer:
            message = "Over HTTP the server needs --issuer, whose tokens say who calls."
            raise UsageError("usage.input_invalid", message, hint="Or --unsafe-without-identity, on this machine.")
        verifier = BearerVerifier(self.identity.verifier(audience=self.identity.audience or url))
        return HttpSettings(url, self.identity.issuer, verifier, self.scopes, self.origins)

    def _announce(self, where: str, guard: Guard, *, to_standard_error: bool = False) -> None:
        facts: dict[str, Any] = {"url": where, "database": guard.database_label}
        text = json.dumps(facts) if self.as_json else f"Serving {facts['database']} over MCP: {where} (Ctrl-C ends it)."
        click.echo(text, err=to_standard_error)


class _Person:
    """Who the command line says is asking, looked up anew when the token is about to expire: files of tokens are renewed."""

    def __init__(self, given: ServingOptions, key: AgentKey | None) -> None:
        thumbprint = key.fingerprint if key is not None else None
        self._find: Callable[[], Principal]
        who = given.principal_id, given.groups, given.principal_json
        if given.token_env is not None:
            if given.identity.token_file is not None or any(part is not None and part != () for part in who):
                raise UsageError("usage.input_invalid", "--token-env says who asks; leave the other options that do so out.")
            token = os.environ.get(given.token_env)
            if not token:
                raise UsageError("usage.input_invalid", f"The variable {given.token_env} holds no token.")
            self._find = lambda: given.identity.principal_of(token.strip(), thumbprint=thumbprint)
        else:
            # Standard input is the client's.
            self._find = lambda: asking_principal(given.identity, *who, thumbprint=thumbprint, is_stdin_taken=True)
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


def serving_options(command: C) -> C:
    """Adds the options to a command, which gets them as one argument, `serving` (`ServingOptions`)."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in ServingOptions.__dataclass_fields__}
        return command(*args, **kwargs, serving=ServingOptions(**given))

    decorated: Any = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--policy", "policy_path", required=True, metavar="FILE", help="The policy file."),
    click.option("--database", "database_url", metavar="URL", help="sqlite:///shop.db or postgresql://…"),
    click.option("--ledger", "ledger_url", required=True, metavar="URL", help="sqlite:///audit.db; created when missing."),
    click.option("--state", metavar="PATH", help="Beside which mask keys lie, where the ledger is in a server."),
    click.option("--agents", "agents_path", metavar="FILE", help="The agents that may act; each has to show its key."),
    click.option("--agent", metavar="NAME", help="The agent that calls, where the token names none."),
    click.option("--agent-key", "agent_key_uri", metavar="FILE_OR_URI", help="The agent's key, with which it proves itself."),
    click.option("--purpose", metavar="NAME", help="The declared purpose of all calls."),
    click.option("--principal", "principal_id", metavar="ID", help="Who asks; recorded as unverified."),
    click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group of the principal; may be repeated."),
    click.option("--principal-json", metavar="JSON", help='The principal as {"id", "groups", "attributes"}.'),
    click.option("--token-env", metavar="NAME", help="The variable that holds the token, instead of --token-file."),
    identity_options,
    click.option("--http", "address", metavar="HOST:PORT", help="Serve over HTTP; callers show bearer tokens of --issuer."),
    click.option(
        "--resource-url", metavar="URL", help="Where clients reach it, and the audience of tokens; from --http by default."
    ),
    click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="What tokens have to be good for; may be repeated."),
    click.option("--allow-origin", "origins", multiple=True, metavar="ORIGIN", help="A further origin of pages that may call."),
    click.option(
        "--unsafe-without-identity",
        "is_unsafe",
        is_flag=True,
        help="Over HTTP on this machine: whoever calls is the principal.",
    ),
    click.option(
        "--console-url",
        envvar="GUARDRAILS_CONSOLE_URL",
        metavar="URL",
        help="Where people answer; the client's user is sent there.",
    ),
    click.option(
        "--tell", "told", multiple=True, metavar="CHANNEL", help="webhook+https://… or slack+…: tells people who waits."
    ),
    click.option(
        "--wait", "wait_s", default=50.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait for them."
    ),
    click.option("--json", "as_json", is_flag=True, help="Announce as one line of JSON."),
)


def require_mcp() -> None:
    """Raises UsageError (usage.extra_missing) where the `mcp` package is not installed."""
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        raise UsageError("usage.extra_missing", "The MCP server needs mcp.", hint="Install guardrails-sql[mcp].")
