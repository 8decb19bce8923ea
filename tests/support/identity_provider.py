"""A real OpenID provider on loopback, from the package index (`oidc-provider-mock`): discovery, keys, sign-in page, code exchange.

People sign in by a click on their name, or by typing it; who types a name that is not among `PEOPLE` has no groups.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPMessage
from typing import IO
from urllib.parse import parse_qsl, urlencode, urlsplit

from guardrails.identity import OidcSignIn

PEOPLE: Mapping[str, tuple[str, ...]] = {
    "ana@example.com": ("support",),
    "bo@example.com": ("managers",),
    "lea@example.com": ("managers", "security"),
    "kim@example.com": ("auditors",),
}
"""Who can sign in with one click, and the groups in the claim ``groups``."""


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """A provider that runs; `client_id` and `client_secret` are those of an application that may send people to it."""

    issuer: str
    client_id: str = "guardrails-console"
    client_secret: str = "console-secret"

    def sign_in(self, redirect_uri: str) -> OidcSignIn:
        """Returns the sign-in of that application."""
        return OidcSignIn(self.issuer, self.client_id, self.client_secret, redirect_uri=redirect_uri)

    def answer(self, url: str, person: str | None) -> dict[str, str]:
        """Signs a person in as a browser would (None: says no) and returns the parameters of the way back."""
        form = {"sub": person} if person else {"action": "deny"}
        request = urllib.request.Request(url, data=urlencode(form).encode())
        try:
            urllib.request.build_opener(_Stay()).open(request, timeout=10)
        except urllib.error.HTTPError as response:
            assert response.code == 302, response.read()
            return dict(parse_qsl(urlsplit(response.headers["Location"]).query))
        raise AssertionError("the provider sent nobody back")

    def id_token(self, person: str, redirect_uri: str) -> str:
        """Returns an ID token of a person, as an application of its own gets it."""
        asked = {"client_id": self.client_id, "redirect_uri": redirect_uri, "response_type": "code", "scope": "openid"}
        answer = self.answer(f"{self.issuer}/oauth2/authorize?{urlencode(asked)}", person)
        form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": redirect_uri}
        credentials = b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        request = urllib.request.Request(
            f"{self.issuer}/oauth2/token", data=urlencode(form).encode(), headers={"Authorization": f"Basic {credentials}"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            token: str = json.load(response)["id_token"]
        return token


@contextmanager
def running_provider(*, token_max_age_s: int = 3600) -> Iterator[IdentityProvider]:
    """Runs a provider in a thread of its own."""
    import oidc_provider_mock
    import werkzeug.serving

    users = [oidc_provider_mock.User(sub=sub, claims={"email": sub, "groups": list(groups)}) for sub, groups in PEOPLE.items()]
    app = oidc_provider_mock.app(user_claims=users, access_token_max_age=timedelta(seconds=token_max_age_s))
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    # The provider's library wants HTTPS of its own address, too.
    before = os.environ.get("AUTHLIB_INSECURE_TRANSPORT")
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    thread.start()
    try:
        yield IdentityProvider(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
        if before is None:
            del os.environ["AUTHLIB_INSECURE_TRANSPORT"]
        else:
            os.environ["AUTHLIB_INSECURE_TRANSPORT"] = before


class _Stay(urllib.request.HTTPRedirectHandler):
    """The way back leads to an application that need not run."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None
