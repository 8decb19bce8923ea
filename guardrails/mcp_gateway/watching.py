"""What the upstream servers offer at this moment: listed again when one of them tells of a change, or when it was long ago.

A server can change what it says at any time and tell nobody, so that no listing is proof of what the next call meets. What holds is that
no client sees a definition, and no call is made, that differs from what was accepted as of the server's last listing. Each server is
listed on its own: one that does not answer keeps nobody from the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from guardrails.approval.printing import one_line
from guardrails.errors import EngineError, LedgerError
from guardrails.ledger import Ledger
from guardrails.mcp_gateway.config import GatewayConfig
from guardrails.mcp_gateway.definitions import Definition, DefinitionKey, Kind
from guardrails.mcp_gateway.lock import Acceptance, LockFile
from guardrails.mcp_gateway.offers import Offer, Offers, offers_of
from guardrails.mcp_gateway.upstream import Upstream

__all__ = ["Watch"]

SESSION_TYPE = "mcp.session"
"""Type of the ledger's entries that say what an upstream server listed, whenever that is not what it was before."""
_MOST_NAMED = 100
_MOST_CHARACTERS = 80
_PAUSE_S = 0.2
_NEVER = float("-inf")


@dataclass(slots=True)
class _Listing:
    """What one upstream has told, and when."""

    upstream: Upstream
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    definitions: tuple[Definition, ...] = ()
    listed_at: float = _NEVER
    told: int = 0
    recorded: frozenset[str] = frozenset()
    looking: asyncio.Task[None] | None = None


class Watch:
    """Keeps the offers of all upstreams. To be used on one event loop.

    Args:
        config: Of the gateway.
        upstreams: By name.
        lock: What was accepted.
        ledger: Where that is recorded, and where listings that are new are recorded.
        changed: Called when clients would see other offers than before.
    """

    def __init__(
        self,
        config: GatewayConfig,
        upstreams: Mapping[str, Upstream],
        lock: LockFile,
        ledger: Ledger,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._config = config
        self._listings = {name: _Listing(upstream) for name, upstream in upstreams.items()}
        self._lock = lock
        self._ledger = ledger
        self._changed = changed
        self.last = Offers(())
        """The offers as they were judged last."""
        self._shown: frozenset[tuple[str, str, str]] | None = None
        self._known: set[tuple[int, DefinitionKey, str]] = set()

    def heard(self, name: str) -> None:
        """An upstream says that something has changed: it is looked at now, and the clients are told if it concerns them."""
        listing = self._listings[name]
        listing.told += 1
        listing.listed_at = _NEVER
        # However often it says so, it is looked at once at a time.
        if listing.looking is None or listing.looking.done():
            listing.looking = asyncio.get_running_loop().create_task(self._look(listing))

    async def close(self) -> None:
        """Ends what is still being looked at."""
        looking = [listing.looking for listing in self._listings.values() if listing.looking is not None]
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)

    async def offers(self) -> Offers:
        """Has everything listed now, and returns the offers; a server that does not answer offers nothing.

        Raises:
            UsageError: The lock file cannot be read.
            LedgerError: A new listing could not be recorded.
        """
        answers = await asyncio.gather(*(self._list(listing) for listing in self._listings.values()), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, EngineError):
                raise answer
        return await self._judged()

    async def find(self, kind: Kind, shown: str) -> Offer | None:
        """Returns what has a name among clients, from a listing of its server that is recent and not known to be over.

        Raises:
            EngineError: Its server cannot be listed.
            UsageError: As `offers`.
            LedgerError: As `offers`.
        """
        known = (await self._judged()).named(kind, shown)
        names = {offer.key.upstream for offer in known} or set(self._listings)
        over = time.monotonic() - self._config.recheck
        stale = [self._listings[name] for name in names if self._listings[name].listed_at < over]
        answers = await asyncio.gather(*map(self._list, stale), return_exceptions=True)
        for answer in answers:
            # Of servers that only might have something of this name it is enough that they tell of none.
            if isinstance(answer, BaseException) and (known or not isinstance(answer, EngineError)):
                raise answer
        found = (await self._judged()).named(kind, shown)
        return next((offer for offer in found if offer.state == "accepted"), found[0] if found else None)

    async def _judged(self) -> Offers:
        listed = [definition for listing in self._listings.values() for definition in listing.definitions]
        # What was accepted counts as of now, whenever the upstreams were listed.
        found = await asyncio.to_thread(lambda: offers_of(self._config, listed, self._lock.accepted(), self._is_recorded))
        self.last = found
        before, self._shown = self._shown, found.digest
        if before is not None and before != self._shown:
            await self._changed()
        return found

    def _is_recorded(self, acceptance: Acceptance) -> bool:
        known = (acceptance.entry, acceptance.definition.key, acceptance.definition.digest)
        if known not in self._known:
            if not acceptance.is_recorded(self._ledger):
                return False
            # An entry never changes.
            self._known.add(known)
        return True

    async def _look(self, listing: _Listing) -> None:
        try:
            while listing.listed_at == _NEVER:
                await self._list(listing)
                await self._judged()
                await asyncio.sleep(_PAUSE_S)
        except (EngineError, LedgerError):
            # The listing is over, so that the next call or client that needs it meets the error itself.
            return

    async def _list(self, listing: _Listing) -> None:
        async with listing.lock:
            asked_at, told = time.monotonic(), listing.told
            try:
                listed = tuple((await listing.upstream.definitions()).values())
            except EngineError:
                listing.definitions, listing.listed_at = (), _NEVER
                raise
            await self._record(listing, listed)
            # Of a change that was told of meanwhile the listing may know nothing.
            listing.definitions, listing.listed_at = listed, asked_at if told == listing.told else _NEVER

    async def _record(self, listing: _Listing, listed: tuple[Definition, ...]) -> None:
        """Records what a server lists, before anything of it is called, whenever that is new."""
        upstream = listing.upstream
        seen = frozenset(definition.digest for definition in listed) | {upstream.server}
        if listing.recorded == seen:
            return
        named = [
            {"kind": d.key.kind, "name": one_line(d.key.name, _MOST_CHARACTERS), "definition": d.digest}
            for d in listed[:_MOST_NAMED]
        ]
        server = one_line(upstream.server, _MOST_CHARACTERS)
        entry = {"type": SESSION_TYPE, "upstream": upstream.name, "server": server, "listed": named}
        await asyncio.to_thread(self._ledger.append, entry | {"count": len(listed)})
        listing.recorded = seen
