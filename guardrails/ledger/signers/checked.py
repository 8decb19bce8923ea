"""A signer whose key is elsewhere, held to what it promises.

A hardware token or a key service may hang, fail or answer with something that is not a signature. None of that may reach the log: each
call ends within its time, and a signature leaves only when it verifies under the public key.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Generic, TypeVar

from guardrails.errors import GuardrailsError, LedgerError
from guardrails.ledger.note import Verifier

__all__ = ["CheckedSigner", "Turn"]

_SIGNATURE_BYTES = 64
_Answer = TypeVar("_Answer")


class Turn(Generic[_Answer]):
    """Runs calls to one keeper of keys, one at a time and each within a time limit.

    A call that outlasts its limit cannot be stopped from here. Its caller gets an error, and later callers wait (and fail at their own
    limit) until the keeper has answered it, so that no two calls are ever under way at once.

    Args:
        label: What messages call the keeper; holds no secret.
        timeout_s: Most seconds that a caller waits, its turn included.
    """

    __slots__ = ("_busy", "_label", "_timeout_s")

    def __init__(self, label: str, timeout_s: float) -> None:
        self._label = label
        self._timeout_s = timeout_s
        self._busy = Lock()

    def run(self, call: Callable[[], _Answer]) -> _Answer:
        """Returns what `call` returns.

        Raises:
            LedgerError: It failed or took too long (ledger.signer_failed). Errors of this library pass as they are.
        """
        deadline = monotonic() + self._timeout_s
        if not self._busy.acquire(timeout=self._timeout_s):
            raise self._failed("is still busy with an earlier call")
        answers: SimpleQueue[tuple[_Answer, None] | tuple[None, Exception]] = SimpleQueue()
        try:
            # The turn is given back by the thread and not here: it may outlive this call.
            Thread(target=self._work, args=(call, answers), name="ledger-signer", daemon=True).start()
        except RuntimeError as no_thread:
            self._busy.release()
            raise self._failed("could not be called, as no thread can be started") from no_thread
        try:
            answer, error = answers.get(timeout=max(0.0, deadline - monotonic()))
        except Empty:
            raise self._failed("did not answer in time") from None
        if isinstance(error, GuardrailsError):
            raise error
        if error is not None:
            raise self._failed("failed", cause=type(error).__name__) from error
        return answer  # type: ignore[return-value]  # None only beside an error

    def _work(self, call: Callable[[], _Answer], answers: SimpleQueue[tuple[_Answer, None] | tuple[None, Exception]]) -> None:
        try:
            answers.put((call(), None))
        except Exception as error:  # noqa: BLE001 - clients of key services raise anything; `run` raises it again
            answers.put((None, error))
        finally:
            self._busy.release()

    def _failed(self, what: str, **evidence: object) -> LedgerError:
        text = f"The signer {self._label} {what}."
        return LedgerError(
            "ledger.signer_failed", text, evidence={"signer": self._label, "timeout_s": self._timeout_s} | evidence
        )


class CheckedSigner:
    """A `guardrails.ledger.note.Signer` around a key in a token or a service; safe to use from several threads.

    At construction a text that is no note is signed, so that a key of another kind is refused before the log depends on it.

    Args:
        verifier: The public half and its name.
        sign: Asks the keeper for the Ed25519 signature of a message.
        label: What messages call the signer; holds no secret.
        timeout_s: Most seconds that one signature may take.

    Raises:
        LedgerError: The keeper does not return Ed25519 signatures that hold under the public key (ledger.signer_failed).
    """

    __slots__ = ("_label", "_sign", "_turn", "_verifier")

    def __init__(
        self,
        verifier: Verifier,
        sign: Callable[[bytes], bytes],
        *,
        label: str,
        timeout_s: float = 10.0,
    ) -> None:
        self._verifier = verifier
        self._sign = sign
        self._label = label
        self._turn: Turn[bytes] = Turn(label, timeout_s)
        self.sign(f"guardrails ledger signer test v1\nchallenge {secrets.token_hex(16)}\n".encode())

    def __repr__(self) -> str:
        return f"CheckedSigner({self._verifier.name!r}, {self._label!r})"

    def verifier(self) -> Verifier:
        """Returns the public half."""
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        """Returns the Ed25519 signature of `message`, which has been verified.

        Raises:
            LedgerError: The keeper failed, took too long or returned something else (ledger.signer_failed).
        """
        signature = self._turn.run(lambda: self._sign(message))
        if not isinstance(signature, bytes) or len(signature) != _SIGNATURE_BYTES:
            raise self._refused("returned no Ed25519 signature of 64 bytes; only Ed25519 keys can sign a ledger")
        if not self._verifier.is_valid(message, signature):
            raise self._refused("returned a signature that does not hold under its public key")
        return signature

    def _refused(self, what: str) -> LedgerError:
        return LedgerError("ledger.signer_failed", f"The signer {self._label} {what}.", evidence={"signer": self._label})
