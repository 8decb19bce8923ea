"""Agents' keys in files, and the file of agents that may act."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import AgentKey, AgentRegistry
from guardrails.identity.agents import fingerprint

PASSPHRASE = "correct horse battery staple"


def test_the_fingerprint_is_the_jwk_thumbprint() -> None:
    key = AgentKey.generate("refund-bot")
    jwk = json.loads(jwt.get_algorithm_by_name("EdDSA").to_jwk(Ed25519PublicKey.from_public_bytes(key.public_key)))
    joserfc = pytest.importorskip("joserfc.jwk")
    assert joserfc.OKPKey.import_key(jwk).thumbprint() == fingerprint(key.public_key) == key.fingerprint
    # RFC 8037, appendix A.3
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert fingerprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AgentKey]:
    """A key in a file with a passphrase, which takes its time on purpose."""
    path = tmp_path_factory.mktemp("sealed") / "sealed.key"
    return path, AgentKey.create(path, "refund-bot", passphrase=PASSPHRASE)


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_keys_are_kept_in_files(tmp_path: Path, passphrase: str | None, sealed: tuple[Path, AgentKey]) -> None:
    plain = tmp_path / "bot.key"
    path, made = sealed if passphrase else (plain, AgentKey.create(plain, "refund-bot"))
    assert path.stat().st_mode & 0o777 == 0o600
    where = f"encrypted:{path}" if passphrase else path
    environment = {"GUARDRAILS_AGENT_PASSPHRASE": PASSPHRASE}
    loaded = AgentKey.load(where, environment=environment)
    assert (loaded.name, loaded.fingerprint, loaded.public_text) == ("refund-bot", made.fingerprint, made.public_text)
    assert "PRIVATE" not in repr(loaded)
    with pytest.raises(IdentityError):
        AgentKey.create(path, "refund-bot")


def test_keys_that_cannot_be_opened(tmp_path: Path, sealed: tuple[Path, AgentKey]) -> None:
    closed, plain = sealed[0], tmp_path / "plain.key"
    AgentKey.create(plain, "refund-bot")
    plain.chmod(0o644)
    ledgers = {"GUARDRAILS_LEDGER_PASSPHRASE": PASSPHRASE}
    attempts = [
        (f"encrypted:{closed}", {}),
        (f"encrypted:{closed}", ledgers),
        (f"encrypted:{closed}", {"GUARDRAILS_AGENT_PASSPHRASE": "wrong horse battery"}),
        (plain, {}),
        (tmp_path / "missing.key", {}),
    ]
    for where, environment in attempts:
        with pytest.raises(IdentityError) as refused:
            AgentKey.load(where, environment=environment)
        assert refused.value.code == "identity.agent_key_invalid"
    for name, passphrase in (("two words", None), ("", None), ("a+b", None), ("bot", "short")):
        with pytest.raises(IdentityError):
            AgentKey.create(tmp_path / "new.key", name, passphrase=passphrase)
    assert not (tmp_path / "new.key").exists()


def test_the_file_of_agents(tmp_path: Path) -> None:
    old, new, planner = (AgentKey.generate(name) for name in ("refund-bot", "refund-bot", "planner"))
    path = tmp_path / "agents.yaml"
    path.write_text(
        f"agents:\n  refund-bot:\n    keys: ['{old.public_text}', '{new.public_text}']\n    subjects: [client-4711]\n"
        f"  planner: {{keys: ['{planner.public_text}']}}\n",
        "utf-8",
    )
    registry = AgentRegistry.load(path)
    for key in (old, new, planner):
        registry.require(key.name, key)
    assert registry.name_of("client-4711") == "refund-bot"
    assert registry.name_of("planner") == "planner"
    with pytest.raises(IdentityError):
        registry.require("planner", new)


KEY = AgentKey.generate("a").public_text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "agents: 7",
        "agents: {a: {}}",
        "agents: {a: {keys: []}}",
        "agents: {a: {keys: [x]}}",
        f"agents: {{b: {{keys: ['{KEY}']}}}}",
        f"agents: {{a: {{keys: ['{KEY}'], more: 1}}}}",
        f"agents: {{a: {{keys: ['{KEY}']}}, a: {{keys: ['{KEY}']}}}}",
        f"agents: {{a: {{keys: ['{KEY}'], subjects: ['']}}}}",
        f"agents: {{a: {{keys: ['{KEY} ']}}}}",
        f"agents: {{a: {{keys: ['{KEY}']}}}}\nmore: 1",
        f"agents: {{a: {{keys: ['{KEY}'], subjects: [x]}}, b: {{keys: ['{AgentKey.generate('b').public_text}'], subjects: [x]}}}}",
        "agents: &x {a: *x}",
        "!!python/object/apply:os.system [id]",
        "[" * 500,
        "\0",
    ],
    ids=[str(number) for number in range(16)],  # the keys are new in each process
)
def test_files_of_agents_that_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError):
        AgentRegistry.load(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        AgentRegistry.load(tmp_path / "agents.yaml")
    assert refused.value.code == "usage.file_missing"


def test_every_public_name_is_there() -> None:
    import guardrails.identity

    assert {name for name in guardrails.identity.__all__ if getattr(guardrails.identity, name).__name__ != name} == set()
    assert set(guardrails.identity.__all__) <= set(dir(guardrails.identity))
    with pytest.raises(AttributeError):
        _ = guardrails.identity.nothing
