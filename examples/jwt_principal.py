"""Who acts is a verified token's subject, not what a caller claims.

Run it: python examples/jwt_principal.py
"""

import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails import Guard, GuardrailsError, Policy
from guardrails.identity import JwtVerifier

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, status TEXT);
INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com'), (2, 'Bo', 'bo@example.com');
INSERT INTO orders VALUES (1, 1, 'open'), (2, 1, 'paid'), (3, 2, 'open');
"""
POLICY = """
version: 1
rules:
  - {id: read-shop, effect: allow, actions: [select], relations: [customers, orders], principals: {groups: [support]}}
columns:
  customers.email: {mask: pseudonym}
"""

ISSUER = "https://id.example.com"


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    database_url, ledger_url = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    # Stands for your identity provider; with a real one: JwtVerifier.discover(ISSUER, "shop").
    key = Ed25519PrivateKey.generate()
    verifier = JwtVerifier(ISSUER, "shop", keys={"k1": key.public_key()})
    claims = {"iss": ISSUER, "aud": "shop", "sub": "ana", "groups": ["support"], "exp": int(time.time()) + 300}
    token = jwt.encode(claims, key, "EdDSA", headers={"kid": "k1"})
    with Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard:
        with guard.session(principal=verifier.principal(token), agent="support-bot") as session:
            print(session.principal.id, session.principal.verified)
            print(guard.execute("SELECT name FROM customers ORDER BY id").rows)
        forged = jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": "k1"})
        try:
            verifier.principal(forged)
        except GuardrailsError as refusal:
            print(refusal.for_model())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
