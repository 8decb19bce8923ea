"""How a console is set up: where it is reached, which groups may do what in it, and how long a sign-in lasts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from guardrails.errors import UsageError

__all__ = ["ConsoleSettings"]

_ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Settings of one console.

    Args:
        base_url: The origin under which people reach it: scheme, host and port, nothing after them. Requests to another host are
            refused; cookies are for HTTPS alone where it is ``https``.
        title: Shown at the top of every page.
        viewer_groups: Who may look; everybody who can sign in when empty.
        approver_groups: Who may answer requests, of those that a request's own terms name; no further condition when empty.
        auditor_groups: Who may see kept values of other people's sessions; nobody when empty.
        session_s: Seconds that a sign-in lasts at most; it ends with the token that established it, if that is earlier.
        link_s: Seconds for which a one-time link is good.
        sign_in_tries: Tries to sign in from one address in a minute.
        unsafe_http: Allow plain HTTP to another machine, where whoever is on the way can take over a sign-in.

    Raises:
        UsageError: `base_url` is no origin, or is reached over a network without HTTPS (usage.input_invalid).
    """

    base_url: str = "http://127.0.0.1:8600"
    title: str = "guardrails"
    viewer_groups: frozenset[str] = frozenset()
    approver_groups: frozenset[str] = frozenset()
    auditor_groups: frozenset[str] = frozenset()
    session_s: int = 8 * 3600
    link_s: int = 300
    sign_in_tries: int = 20
    unsafe_http: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", self.base_url.rstrip("/").lower())
        if not _ORIGIN.fullmatch(self.base_url):
            raise UsageError(
                "usage.input_invalid",
                "The console's address is a scheme, a host and a port, such as https://console.example.com.",
            )
        if not (self.is_secure or self.unsafe_http or urlsplit(self.base_url).hostname in _LOOPBACK):
            raise UsageError(
                "usage.input_invalid",
                "A console that is reached from other machines needs HTTPS.",
                hint="Put a proxy that speaks TLS before it, and give its address as --base-url https://….",
            )
        for name in ("viewer_groups", "approver_groups", "auditor_groups"):
            object.__setattr__(self, name, frozenset(getattr(self, name)))

    @property
    def is_secure(self) -> bool:
        """Whether it is reached by HTTPS."""
        return self.base_url.startswith("https://")

    @property
    def host(self) -> str:
        """Host and port, as the `Host` header has them."""
        return urlsplit(self.base_url).netloc
