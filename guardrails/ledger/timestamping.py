"""Trusted times for checkpoints: tokens of a time-stamping authority (RFC 3161) over the text of a checkpoint.

A token says that this text, and with it the tree that it commits to, existed at a time that a third party vouches for. It is kept
beside the checkpoint and verified offline. Needs the extra ``timestamps`` (the package rfc3161-client).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING

from cryptography.x509 import Certificate, load_pem_x509_certificates

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.note import Note
from guardrails.ledger.posting import post
from guardrails.ledger.text import note_error

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest, TimeStampResponse

__all__ = ["request_timestamp", "verify_timestamp"]


def request_timestamp(note: str, url: str, roots: Sequence[bytes], *, timeout_s: float = 10) -> bytes:
    """Returns a token over the text of a checkpoint, verified and fresh.

    Args:
        note: The signed checkpoint; its signature lines are not covered, so that cosignatures may be added later.
        url: The authority's.
        roots: Trusted root certificates of authorities, PEM.
        timeout_s: For each step of the exchange.

    Raises:
        LedgerError: The authority gave no token (ledger.unavailable), or one that does not hold (ledger.note_invalid).
        UsageError: The extra is missing (usage.extra_missing), or URL or certificates are malformed (usage.input_invalid).
    """
    build_request = _client().TimestampRequestBuilder
    request = build_request().data(Note.parse(note).text.encode()).build()
    try:
        answer = post(url, request.as_bytes(), "application/timestamp-query", timeout_s=timeout_s)
    except OSError as error:
        raise LedgerError("ledger.unavailable", f"The time-stamping authority did not answer: {error}") from error
    if answer.status != 200:
        raise LedgerError("ledger.unavailable", f"The time-stamping authority answered {answer.status}.")
    _verify(note, answer.body, roots, request)
    return answer.body


def verify_timestamp(note: str, token: bytes, roots: Sequence[bytes]) -> datetime:
    """Returns the time (UTC) at which an authority saw the text of a checkpoint; nothing is asked over the network.

    Args:
        note: The signed checkpoint.
        token: What `request_timestamp` returned (a DER TimeStampResp).
        roots: Trusted root certificates of authorities, PEM; one text may hold several.

    Raises:
        LedgerError: The token is malformed, of another text, or not of a trusted authority (ledger.note_invalid).
        UsageError: The extra is missing (usage.extra_missing), or the certificates are malformed (usage.input_invalid).
    """
    return _verify(note, token, roots, None)


def _verify(note: str, token: bytes, roots: Sequence[bytes], request: TimeStampRequest | None) -> datetime:
    client = _client()
    builder = client.VerifierBuilder.from_request(request) if request else client.VerifierBuilder()
    for certificate in _certificates(roots):
        builder = builder.add_root_certificate(certificate)
    try:
        response = client.decode_timestamp_response(token)
        builder.build().verify_message(response, Note.parse(note).text.encode())
        return _time(response)
    except (client.VerificationError, ValueError) as error:
        raise note_error(f"The timestamp does not hold: {error}") from error


def _time(response: TimeStampResponse) -> datetime:
    return response.tst_info.gen_time.astimezone(UTC)


def _certificates(roots: Sequence[bytes]) -> list[Certificate]:
    try:
        found = {c for pem in roots for c in load_pem_x509_certificates(pem)}
    except ValueError as error:
        raise UsageError("usage.input_invalid", "The authority's root certificates are not PEM.") from error
    if not found:
        raise UsageError("usage.input_invalid", "Name the root certificate of the authority that you trust.")
    return list(found)


def _client() -> ModuleType:
    try:
        import rfc3161_client
    except ImportError as error:
        raise UsageError(
            "usage.extra_missing", "Timestamps need rfc3161-client.", hint="pip install 'guardrails-sql[timestamps]'"
        ) from error
    return rfc3161_client
