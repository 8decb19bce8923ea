"""Options by which a command learns who gives it: a token in a file, verified, or a name on the command line, recorded as unverified."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from guardrails.cli.options import principal_from
from guardrails.errors import UsageError
from guardrails.identity.jwt import JwtVerifier, TokenKind
from guardrails.identity.spiffe import SpiffeVerifier
from guardrails.identity.static import static_principal
from guardrails.model import Principal

__all__ = ["TokenOptions", "asking_principal", "identity_options", "person_from"]

C = TypeVar("C", bound=Callable[..., Any])

_MOST_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """What was given of a token: where it is, and by whose word it counts."""

    token_file: str | None = None
    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    kind: TokenKind = "any"
    clients: tuple[str, ...] = ()
    subject_claim: str = "sub"
    groups_claim: str = "groups"
    trust_domain: str | None = None
    bundle: str | None = None

    def principal(self, *, thumbprint: str | None = None, is_stdin_taken: bool = False) -> Principal | None:
        """Returns the principal of the token, None when there is none.

        Args:
            thumbprint: Of the agent's key, for tokens that are bound to it.
            is_stdin_taken: Whether the command reads its own input there.

        Raises:
            UsageError: The options do not go together (usage.input_invalid), or the file cannot be read (usage.file_missing).
            IdentityError: The token is not accepted.
        """
        if self.token_file is None:
            if self.issuer or self.audience or self.jwks_url or self.trust_domain or self.bundle:
                raise UsageError("usage.input_invalid", "An issuer or audience is of use only with --token-file.")
            return None
        if self.token_file == "-" and is_stdin_taken:  # noqa: S105 - a place
            raise UsageError("usage.input_invalid", "The token and the statements cannot both come from standard input.")
        self._require_verifiable()
        return self.principal_of(_read(self.token_file), thumbprint=thumbprint)

    def principal_of(self, token: str, *, thumbprint: str | None = None) -> Principal:
        """Returns the principal of a token that comes from elsewhere than the file.

        Raises:
            UsageError: The options do not go together (usage.input_invalid).
            IdentityError: The token is not accepted.
        """
        self._require_verifiable()
        if self.trust_domain and self.bundle:
            return SpiffeVerifier(self.trust_domain, self.audience or "", bundle=self.bundle).principal(token)
        return self.verifier().principal(token, thumbprint=thumbprint)

    def verifier(self, audience: str | None = None) -> JwtVerifier:
        """Returns what verifies tokens of the issuer, for `audience` or the one that the options name.

        Raises:
            UsageError: There is no issuer or no audience (usage.input_invalid).
            IdentityError: What the issuer publishes of itself cannot be read (identity.key_unknown).
        """
        options: dict[str, Any] = {
            "kind": self.kind,
            "clients": self.clients,
            "subject_claim": self.subject_claim,
            "groups_claim": self.groups_claim,
        }
        issuer, named = self.issuer or "", audience or self.audience or ""
        if self.jwks_url:
            return JwtVerifier(issuer, named, jwks_url=self.jwks_url, **options)
        return JwtVerifier.discover(issuer, named, **options)

    def _require_verifiable(self) -> None:
        if not self.audience or bool(self.issuer) == bool(self.trust_domain):
            raise UsageError("usage.input_invalid", "A token needs --audience, and --issuer or --trust-domain with --bundle.")
        if bool(self.trust_domain) != bool(self.bundle) or (self.trust_domain and self.jwks_url):
            raise UsageError("usage.input_invalid", "--trust-domain and --bundle go together, without --jwks-url.")


def asking_principal(
    identity: TokenOptions,
    principal_id: str | None,
    groups: Sequence[str],
    principal_json: str | None,
    *,
    thumbprint: str | None = None,
    is_stdin_taken: bool = False,
) -> Principal:
    """Returns who asks: the token's principal, or the one of `principal_from`, unverified.

    Args:
        identity: The options of a token.
        principal_id: As for `principal_from`.
        groups: As for `principal_from`.
        principal_json: As for `principal_from`.
        thumbprint: As for `TokenOptions.principal`.
        is_stdin_taken: As for `TokenOptions.principal`.

    Raises:
        UsageError: Both are given, or the options do not go together (usage.input_invalid).
        IdentityError: The token is not accepted.
    """
    verified = identity.principal(thumbprint=thumbprint, is_stdin_taken=is_stdin_taken)
    if verified is None:
        return principal_from(principal_id, groups, principal_json)
    if principal_id is not None or groups or principal_json is not None:
        raise UsageError("usage.input_invalid", "The token says who asks; leave --principal, --group and --principal-json out.")
    return verified


def person_from(identity: TokenOptions, by: str, groups: Sequence[str]) -> Principal:
    """Returns who gives a command that is a person's word: the token's principal, or whom the command line names, unverified.

    Args:
        identity: The options of a token.
        by: The id on the command line, empty when none is there.
        groups: The groups there.

    Raises:
        UsageError: Both are given, or neither (usage.input_invalid).
        IdentityError: The token is not accepted, or the id is none.
    """
    verified = identity.principal()
    if verified is None:
        if not by:
            raise UsageError("usage.input_invalid", "Say who answers: --token-file, or --by, which is recorded as unverified.")
        return static_principal(by, groups)
    if by or groups:
        raise UsageError("usage.input_invalid", "The token says who answers, and of which groups; leave --by and --group out.")
    return verified


def identity_options(command: C) -> C:
    """Adds the options of a token to a command, which gets them as one argument, `identity` (`TokenOptions`)."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(f"token_{name}") for name in TokenOptions.__dataclass_fields__}
        return command(*args, **kwargs, identity=TokenOptions(**given))

    decorated: Any = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _option(name: str, flag: str, help_text: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(flag, f"token_{name}", help=help_text, **settings)


_OPTIONS = (
    _option("token_file", "--token-file", "A token that says who asks; - reads it from standard input.", metavar="FILE"),
    _option("issuer", "--issuer", "The OpenID issuer whose tokens count.", metavar="URL"),
    _option("audience", "--audience", "For whom its tokens have to be.", metavar="NAME"),
    _option("jwks_url", "--jwks-url", "Where its keys are, for an issuer without discovery.", metavar="URL"),
    _option(
        "kind",
        "--token-kind",
        "Accept only access tokens, or only ID tokens.",
        type=click.Choice(get_args(TokenKind)),
        default="any",
        show_default=True,
    ),
    _option("clients", "--client", "Accept tokens of this client; may be repeated.", metavar="ID", multiple=True),
    _option("subject_claim", "--subject-claim", "The claim with the id.", default="sub", show_default=True, metavar="NAME"),
    _option(
        "groups_claim", "--groups-claim", "The claim with the groups.", default="groups", show_default=True, metavar="NAME"
    ),
    _option("trust_domain", "--trust-domain", "The token is a JWT-SVID of this SPIFFE trust domain.", metavar="NAME"),
    _option("bundle", "--bundle", "The trust domain's bundle: a file or URL.", metavar="FILE_OR_URL"),
)


def _read(place: str) -> str:
    try:
        text = sys.stdin.read(_MOST_CHARACTERS) if place == "-" else Path(place).read_text("utf-8")[:_MOST_CHARACTERS]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("usage.file_missing", "The token's file cannot be read.") from error
    return text.strip()
