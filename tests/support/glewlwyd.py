"""Glewlwyd (Debian package `glewlwyd`), an OpenID provider that knows nothing of us, run on loopback with a database of its own.

It demands PKCE, names itself in its answers (RFC 9207), marks access tokens (RFC 9068) and takes resource indicators (RFC 8707).
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

RESOURCE = "https://shop.example.com"
CLIENT_ID, CLIENT_SECRET = "console", "console-secret"
BACK = "http://127.0.0.1:9/signed-in"
PEOPLE: Mapping[str, tuple[str, ...]] = {"ana": ("support",), "lea": ("managers", "security")}
_SCHEMA = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
_PASSWORD = "password"  # of the one account that the package's own schema makes, and of those made here


def is_installed() -> bool:
    """Tells whether the package is there."""
    return shutil.which("glewlwyd") is not None and _SCHEMA.exists()


class Glewlwyd:
    """A provider that runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.issuer = f"{url}/api/oidc"

    def answer(self, person: str, url: str) -> str:
        """Signs a person in as its own pages do, lets them consent, and returns the query string of the way back."""
        with self._signed_in(person) as client:
            client.put(f"{self.url}/api/auth/grant/{CLIENT_ID}", json={"scope": "openid"}).raise_for_status()
            response = client.get(f"{url}&g_continue")
        assert response.headers["location"].startswith(BACK), response.headers
        return urlsplit(response.headers["location"]).query

    def tokens(self, query: str, verifier: str) -> dict[str, str]:
        """Exchanges a code for tokens, as an application of its own would."""
        form = {"grant_type": "authorization_code", "redirect_uri": BACK, "code_verifier": verifier, "resource": RESOURCE}
        response = httpx.post(
            f"{self.issuer}/token", data=form | {"code": dict(parse_qsl(query))["code"]}, auth=(CLIENT_ID, CLIENT_SECRET)
        )
        found: dict[str, str] = response.raise_for_status().json()
        return found

    def rotate(self, kid: str) -> None:
        """Replaces the signing key, as its administrator does."""
        with self._signed_in("admin") as client:
            plugin = client.get(f"{self.url}/api/mod/plugin/oidc").json()
            plugin["parameters"]["jwks-private"] = _private_keys(kid)
            client.put(f"{self.url}/api/mod/plugin/oidc", json=plugin).raise_for_status()
            client.put(f"{self.url}/api/mod/plugin/oidc/reset").raise_for_status()

    @contextmanager
    def _signed_in(self, person: str) -> Iterator[httpx.Client]:
        with httpx.Client(trust_env=False) as client:
            client.post(f"{self.url}/api/auth/", json={"username": person, "password": _PASSWORD}).raise_for_status()
            yield client


@contextmanager
def running_glewlwyd(folder: Path) -> Iterator[Glewlwyd]:
    """Runs the provider with its files in a folder; its log is there, too."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    provider = Glewlwyd(f"http://127.0.0.1:{port}")
    _fill(folder / "glewlwyd.db", provider.issuer)
    settings = folder / "glewlwyd.conf"
    settings.write_text(_settings(folder, port), "utf-8")
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(["glewlwyd", "--config-file", settings], stdout=output, stderr=output)
    try:
        _wait_until_it_answers(provider, process)
        yield provider
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_it_answers(provider: Glewlwyd, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        assert process.poll() is None, "glewlwyd has ended"
        try:
            httpx.get(f"{provider.issuer}/jwks", trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("glewlwyd does not answer")


def _private_keys(kid: str) -> str:
    key = jwt.get_algorithm_by_name("ES256").to_jwk(ec.generate_private_key(ec.SECP256R1()))
    return json.dumps({"keys": [json.loads(key) | {"kid": kid, "alg": "ES256"}]})


def _fill(path: Path, issuer: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_SCHEMA.read_text("utf-8"))
        database.execute(
            "INSERT INTO g_plugin_module_instance (gpmi_module, gpmi_name, gpmi_parameters) VALUES ('oidc', 'oidc', ?)",
            (json.dumps(_plugin(issuer)),),
        )
        (modules,) = database.execute("SELECT gumi_parameters FROM g_user_module_instance").fetchone()
        module = json.loads(modules)
        module["data-format"]["groups"] = {"multiple": True, "read": True, "write": True}
        database.execute("UPDATE g_user_module_instance SET gumi_parameters = ?", (json.dumps(module),))
        (password,) = database.execute("SELECT guw_password FROM g_user_password").fetchone()
        (scope,) = database.execute("INSERT INTO g_user_scope (gus_name) VALUES ('openid') RETURNING gus_id").fetchone()
        for name, groups in PEOPLE.items():
            row = (name, name, f"{name}@example.com")
            user = database.execute("INSERT INTO g_user (gu_username, gu_name, gu_email) VALUES (?, ?, ?)", row).lastrowid
            database.execute("INSERT INTO g_user_password (gu_id, guw_password) VALUES (?, ?)", (user, password))
            database.execute("INSERT INTO g_user_scope_user (gu_id, gus_id) VALUES (?, ?)", (user, scope))
            properties = [(user, "groups", group) for group in groups]
            database.executemany("INSERT INTO g_user_property (gu_id, gup_name, gup_value) VALUES (?, ?, ?)", properties)
        client = database.execute("INSERT INTO g_client (gc_client_id, gc_confidential) VALUES (?, 1)", (CLIENT_ID,)).lastrowid
        facts = {
            "redirect_uri": BACK,
            "authorization_type": "code",
            "client_secret": CLIENT_SECRET,
            "token_endpoint_auth_method": "client_secret_basic",
        }
        database.executemany(
            "INSERT INTO g_client_property (gc_id, gcp_name, gcp_value) VALUES (?, ?, ?)",
            [(client, name, value) for name, value in facts.items()],
        )
        database.commit()


def _plugin(issuer: str) -> dict[str, object]:
    claim = {"type": "string", "mandatory": True, "scope": []}
    return {
        "iss": issuer,
        "jwks-private": _private_keys("first"),
        "jwks-show": True,
        "jwt-type": "ecdsa",
        "jwt-key-size": "256",
        "subject-type": "public",
        "allow-non-oidc": True,
        "auth-type-code-enabled": True,
        "auth-type-code-revoke-replayed": True,
        "auth-type-refresh-enabled": True,
        "access-token-duration": 3600,
        "refresh-token-duration": 3600,
        "code-duration": 600,
        "pkce-allowed": True,
        "pkce-required": True,
        "oauth-as-iss-id": True,
        "allowed-scope": ["openid"],
        "resource-allowed": True,
        "resource-scope": {"openid": [RESOURCE]},
        "claims": [
            claim | {"name": "groups", "user-property": "groups"},
            claim | {"name": "preferred_username", "user-property": "username"},
        ],
        "additional-parameters": [
            {"user-parameter": "groups", "token-parameter": "groups"},
            {"user-parameter": "username", "token-parameter": "preferred_username"},
        ],
        "address-claim": {"type": "no"},
    }


def _settings(folder: Path, port: int) -> str:
    return f"""
port = {port}
bind_address = "127.0.0.1"
external_url = "http://127.0.0.1:{port}"
login_url = "login.html"
api_prefix = "api"
log_mode = "file"
log_level = "INFO"
log_file = "{folder / "glewlwyd.log"}"
cookie_secure = 0
session_key = "GLEWLWYD_SESSION"
admin_scope = "g_admin"
profile_scope = "g_profile"
user_module_path = "/usr/lib/glewlwyd/user"
client_module_path = "/usr/lib/glewlwyd/client"
user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
plugin_module_path = "/usr/lib/glewlwyd/plugin"
use_secure_connection = false
secure_connection_key_file = "{folder / "none.key"}"
secure_connection_pem_file = "{folder / "none.pem"}"
hash_algorithm = "SHA512"
database = {{ type = "sqlite3" path = "{folder / "glewlwyd.db"}" }};
"""
