"""A ledger is signed by a key in HashiCorp Vault, AWS KMS or Google Cloud KMS, through their real clients.

The services are loopback stand-ins.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.note import Signer
from guardrails.ledger.signers import load_signer
from guardrails.ledger.signers.gcp import load_gcp_signer
from guardrails.ledger.signers.loading import Request
from guardrails.ledger.signers.passphrases import Secrets
from tests.conftest import missing
from tests.support.key_services import GCP_KEY, TOKEN, KeyService, serving, serving_gcp

NAME = "example.com/log"
AWS_SECRET = "planted-aws-secret-access-key"
URIS = {"vault": "hv:ledger/1", "aws": "awskms:alias/ledger"}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyService]:
    for package in ("hvac", "securesystemslib", "boto3"):
        if find_spec(package) is None:
            missing(f"{package} is not installed")
    with serving(KeyService()) as running:
        # Their clients take these from the process's environment and nowhere else.
        monkeypatch.setenv("VAULT_ADDR", running.url)
        monkeypatch.setenv("VAULT_TOKEN", TOKEN)
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", running.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield running


def _load(where: str, **settings: object) -> Signer:
    return load_signer(URIS[where], **({"name": NAME} | settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("where", URIS)
def test_a_ledger_is_signed_by_the_service(service: KeyService, where: str) -> None:
    signer = _load(where)
    assert signer.verifier().public_key == service.keys[0].public_key().public_bytes_raw()
    with Ledger.open("sqlite:///:memory:", signer=signer) as ledger:
        ledger.append_many({"n": n} for n in range(5))
        assert open_checkpoint(ledger.checkpoint(), signer.verifier()).size == 5


def test_two_versions_of_a_vault_key_sign_side_by_side(service: KeyService) -> None:
    for version in (1, 2):
        signer = load_signer(f"hv:ledger/{version}", name=NAME)
        assert signer.verifier().public_key == service.keys[version - 1].public_key().public_bytes_raw()
        assert signer.verifier().is_valid(b"message", signer.sign(b"message"))
    with pytest.raises(LedgerError) as caught:
        load_signer("hv:ledger/3", name=NAME)
    assert caught.value.code == "ledger.key_missing"


@pytest.mark.parametrize("fault", ["forbidden", "flipped", "ecdsa", "silent"])
@pytest.mark.parametrize("where", URIS)
def test_a_service_that_does_not_sign_as_it_must_is_refused(service: KeyService, where: str, fault: str) -> None:
    service.fault = fault
    started = time.monotonic()
    with pytest.raises(LedgerError) as caught:
        _load(where, timeout_s=1.0)
    assert caught.value.code == "ledger.signer_failed"
    assert time.monotonic() - started < 2.9
    _assert_no_secret(caught.value)


@pytest.mark.parametrize("fault", ["forbidden", "flipped", "silent"])
@pytest.mark.parametrize("where", URIS)
def test_a_service_that_breaks_later_puts_nothing_into_the_log(service: KeyService, where: str, fault: str) -> None:
    signer = _load(where, timeout_s=1.0)
    with Ledger.open("sqlite:///:memory:", signer=signer) as ledger:
        ledger.append({"n": 1})
        service.fault = fault
        with pytest.raises(LedgerError) as caught:
            ledger.append({"n": 2})
        assert caught.value.code == "ledger.signer_failed"
        _assert_no_secret(caught.value)
        assert open_checkpoint(ledger.checkpoint(), signer.verifier()).size == 1


def test_a_message_that_kms_would_not_sign_is_not_sent(service: KeyService) -> None:
    signer = _load("aws")
    sent = service.requests
    with pytest.raises(LedgerError, match="at most 4096 bytes"):
        signer.sign(b"x" * 4097)
    assert service.requests == sent
    assert signer.verifier().is_valid(b"x" * 4096, signer.sign(b"x" * 4096))


@pytest.mark.parametrize("where", URIS)
def test_a_service_knows_no_key_name(service: KeyService, where: str) -> None:
    with pytest.raises(UsageError, match="key name is needed"):
        _load(where, name=None)


@pytest.fixture
def google() -> Iterator[tuple[KeyService, Callable[[float], Signer]]]:
    try:
        import google.cloud.kms  # noqa: F401
    except ImportError:
        missing("google-cloud-kms is not installed")
    service = KeyService()
    with serving_gcp(service) as client:

        def load(timeout_s: float) -> Signer:
            return load_gcp_signer(Request(f"gcpkms:{GCP_KEY}", GCP_KEY, NAME, Secrets({}), timeout_s), client)

        yield service, load


def test_a_ledger_is_signed_by_google(google: tuple[KeyService, Callable[[float], Signer]]) -> None:
    service, load = google
    signer = load(10.0)
    assert signer.verifier().public_key == service.keys[0].public_key().public_bytes_raw()
    with Ledger.open("sqlite:///:memory:", signer=signer) as ledger:
        ledger.append_many({"n": n} for n in range(5))
        assert open_checkpoint(ledger.checkpoint(), signer.verifier()).size == 5


@pytest.mark.parametrize("fault", ["forbidden", "flipped", "silent", "ecdsa"])
def test_google_is_held_to_what_it_promises(google: tuple[KeyService, Callable[[float], Signer]], fault: str) -> None:
    service, load = google
    signer = load(1.0)
    service.fault = fault
    with pytest.raises(LedgerError) as caught:
        load(1.0)
    assert caught.value.code == "ledger.signer_failed"
    if fault != "ecdsa":
        with pytest.raises(LedgerError) as caught:
            signer.sign(b"message")
        assert caught.value.code == "ledger.signer_failed"


def _assert_no_secret(error: LedgerError) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error.diagnostics())
    assert TOKEN not in shown
    assert AWS_SECRET not in shown
